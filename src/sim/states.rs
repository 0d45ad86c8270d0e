//! The state tables against those that stand in the RFC, and all that they have reached by scripts.

use super::target::{NAME, Target};
use super::tests::{level, play};
use super::trace::Trace;
use crate::session::login::negotiate::Offer;
use crate::session::state::{CONNECTION, SESSION, reached};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

/// From, by, to.
type Row = (String, String, String);

fn rfc() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/requirements/rfc7143.txt")).unwrap()
}

/// The lines of a section, without its subsections.
fn section<'a>(rfc: &'a str, number: &str) -> Vec<&'a str> {
    let begins = format!("{number}.  ");
    let heading = |line: &&str| line.starts_with(|c: char| c.is_ascii_digit()) && line.contains(".  ");
    let lines: Vec<&str> =
        rfc.lines().skip_while(|l| !l.starts_with(&begins)).skip(1).take_while(|l| !heading(l)).collect();
    assert!(lines.len() > 10, "section {number}");
    lines
}

fn cells(line: &str) -> Vec<&str> {
    line.split('|').map(str::trim).filter(|c| !c.is_empty()).collect()
}

/// The transition table of a section: rows are the state left, columns the state entered.
fn table(lines: &[&str]) -> Vec<Row> {
    let begin = lines.iter().position(|l| l.contains("transition table")).expect("a table");
    let mut rows = lines[begin..].iter().filter(|l| l.contains('|') && !l.contains("--"));
    let columns = cells(rows.next().expect("its head"));
    let mut found = Vec::new();
    for row in rows {
        let row = cells(row);
        for (step, to) in row[1..].iter().zip(&columns).filter(|(step, _)| **step != "-") {
            found.push((row[0].to_owned(), (*step).to_owned(), (*to).to_owned()));
        }
    }
    found
}

/// Whether this is what the RFC calls a state or transition of one of these kinds: a letter and a number.
fn is_symbol(word: &str, kinds: &str) -> bool {
    let number = word.trim_start_matches(|c| kinds.contains(c));
    word.len() == number.len() + 1 && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
}

/// The descriptions of states or transitions: symbol, and what stands behind it; without those that are illegal for a
/// target.
fn described(lines: &[&str], kinds: &str) -> BTreeMap<String, String> {
    let (mut found, mut current) = (BTreeMap::new(), Vec::new());
    for line in lines.iter().map(|l| l.trim()) {
        if let Some((head, rest)) = line.split_once(':')
            && head.split(", ").all(|word| is_symbol(word, kinds))
        {
            current = head.split(", ").map(str::to_owned).collect();
            let name = rest.split(" (").next().unwrap_or_default().trim();
            found.extend(current.iter().map(|symbol| (symbol.clone(), name.to_owned())));
        } else if line == "- target: Illegal." {
            found.retain(|symbol, _| !current.contains(symbol));
        }
    }
    found
}

/// A name as the RFC writes it: LoggedIn is LOGGED_IN.
fn name(state: &impl Debug) -> String {
    let mut name = String::new();
    for c in format!("{state:?}").chars() {
        if c.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_uppercase());
    }
    name
}

fn ours<S: Debug, T: Debug>(table: &[(S, T, S)]) -> BTreeSet<Row> {
    table.iter().map(|(from, step, to)| (name(from), format!("{step:?}"), name(to))).collect()
}

/// With the names of the states in place of their symbols.
fn named(rows: Vec<Row>, states: &BTreeMap<String, String>) -> BTreeSet<Row> {
    let named = |symbol: &String| states.get(symbol).unwrap_or_else(|| panic!("no state {symbol}")).clone();
    rows.into_iter().map(|(from, step, to)| (named(&from), step, named(&to))).collect()
}

fn states_of(rows: &BTreeSet<Row>) -> BTreeSet<String> {
    rows.iter().flat_map(|(from, _, to)| [from.clone(), to.clone()]).collect()
}

fn steps_of(rows: &BTreeSet<Row>) -> BTreeSet<String> {
    rows.iter().map(|(_, step, _)| step.clone()).collect()
}

#[test]
fn the_connection_table_is_that_of_section_8_1_4() {
    let rfc = rfc();
    let states = described(&section(&rfc, "8.1.1"), "S");
    let theirs = named(table(&section(&rfc, "8.1.4")), &states);
    let mut ours = ours(CONNECTION);
    ours.retain(|(_, step, _)| !step.starts_with('M'));
    assert_eq!(ours, theirs);
    // Every state and transition that is described and not illegal for a target is there, and no other.
    assert_eq!(states_of(&ours), states.into_values().collect());
    assert_eq!(steps_of(&ours), described(&section(&rfc, "8.1.2"), "T").into_keys().collect());
    assert_eq!(ours.len(), 15);
}

#[test]
fn the_cleanup_table_is_that_of_section_8_2() {
    /// What has no row of its own: the tasks of a lost connection are taken off it at once, so that it is free, and wait
    /// in the session for the logout that M2 to M4 are about.
    const NOT_OURS: [(&str, &str, &str); 3] =
        [("CLEANUP_WAIT", "M2", "IN_CLEANUP"), ("IN_CLEANUP", "M3", "CLEANUP_WAIT"), ("IN_CLEANUP", "M4", "FREE")];
    let rfc = rfc();
    let states = described(&section(&rfc, "8.2.1"), "R");
    let theirs = named(table(&section(&rfc, "8.2")), &states);
    assert_eq!(steps_of(&theirs), described(&section(&rfc, "8.2.2"), "M").into_keys().collect());
    let mut ours = ours(CONNECTION);
    ours.retain(|(_, step, _)| step.starts_with('M'));
    ours.extend(NOT_OURS.map(|(from, step, to)| (from.to_owned(), step.to_owned(), to.to_owned())));
    assert_eq!(ours, theirs);
}

#[test]
fn the_session_table_is_that_of_section_8_3_2() {
    let rfc = rfc();
    let states = described(&section(&rfc, "8.3.3"), "Q");
    let theirs = named(table(&section(&rfc, "8.3.2")), &states);
    let ours = ours(SESSION);
    assert_eq!(ours, theirs);
    assert_eq!(states_of(&ours), states.into_values().collect());
    assert_eq!(steps_of(&ours), described(&section(&rfc, "8.3.4"), "N").into_keys().collect());
    assert_eq!(ours.len(), 10);
}

/// Whether a login goes from one stage to another: `from` is the code of CSG, `None` before the first request.
fn goes(from: Option<u8>, to: u8) -> bool {
    let mut trace = Trace::new(Target::new(Offer::default(), 8, 1));
    let names = format!("text=InitiatorName=iqn.2001-04.com.example:host,TargetName={NAME},SessionType=Normal");
    let stages = match from {
        None => format!("T=0 csg={to}"),
        Some(from) => format!("T csg={from} nsg={to}"),
    };
    trace.play(&format!("open 0\n> 0 Login I {stages} {names}\n< 0 Login-Response status=$status"));
    let class = trace.word("status") >> 8;
    if class != 0 {
        assert_eq!(class, 2, "an initiator's error");
        trace.play("closed 0");
        return false;
    }
    let accepted = match from {
        None => format!("!T csg={to}"),
        Some(from) => format!("T csg={from} nsg={to}"),
    };
    // The same question once more, to another target: this answer is looked at whole.
    let mut trace = Trace::new(Target::new(Offer::default(), 8, 1));
    trace.play(&format!("open 0\n> 0 Login I {stages} {names}\n< 0 Login-Response status=0 {accepted}"));
    true
}

#[test]
fn the_stages_of_a_login_are_those_of_section_6_3() {
    //= RFC 7143 section 6.3
    //# Stage transitions during login (including entering and exit) are only
    //# possible as outlined in the following table:
    let code = |stage: &str| match stage {
        "(start)" => None,
        "Security" => Some(0),
        "Operational" => Some(1),
        "FullFeature" => Some(3),
        _ => panic!("what is stage {stage}?"),
    };
    let rfc = rfc();
    let lines = section(&rfc, "6.3");
    let head = lines.iter().find(|l| l.contains("|From")).map(|l| cells(l)).expect("the table");
    let rows = lines.iter().filter(|l| l.contains("| yes") || l.contains("| no"));
    let mut count = 0;
    for row in rows.map(|l| cells(l)) {
        for (to, answer) in head[1..].iter().zip(&row[1..]) {
            let to_code = code(to).expect("a stage to go to");
            assert_eq!(goes(code(row[0]), to_code), *answer == "yes", "from {} to {to}", row[0]);
            count += 1;
        }
    }
    assert_eq!(count, 9);
}

/// Transitions that no script can reach, and why.
const UNREACHED: &[(&str, &str)] = &[
    ("(Free, T3, XptUp)", UNTIL_LOGGED_IN),
    ("(XptUp, T6, Free)", UNTIL_LOGGED_IN),
    ("(XptUp, T4, InLogin)", UNTIL_LOGGED_IN),
    ("(InLogin, T7, Free)", UNTIL_LOGGED_IN),
    ("(InLogin, T5, LoggedIn)", UNTIL_LOGGED_IN),
    ("(InLogout, T17, CleanupWait)", "a Logout is carried out and answered in one turn: nothing can fail in between"),
    ("(Free, N1, Active)", LEADING_LOGIN),
    ("(Active, N2, LoggedIn)", LEADING_LOGIN),
    ("(Active, N9, Free)", LEADING_LOGIN),
    ("(InContinue, N8, Failed)", CONTINUED),
    ("(InContinue, N11, Free)", CONTINUED),
];
const UNTIL_LOGGED_IN: &str =
    "a connection gets a state of this table when its login is done; before that it has a stage of section 6.3";
const LEADING_LOGIN: &str = "there is a session when the login of its leading connection is done, and not before";
const CONTINUED: &str = "a login that continues a session changes nothing until it is done: InContinue is left at once";

#[test]
fn every_transition_is_reached_but_those_that_are_listed() {
    let four = || Offer { max_connections: 4, ..Offer::default() };
    let two = "login 0 cid=0 MaxConnections=4\nlogin 1 cid=1\n";
    let log_out = "> 0 Logout I reason=0 itt=9\n< 0 Logout-Response itt=9 response=0\nclosed 0\n";
    reached::take();
    // T9, T13, T8, N3.
    play(four(), &format!("{two}{log_out}closed 1"));
    // T11, T12, T10, T13, T18.
    let mut trace = play(four(), two);
    for _ in 0..2 {
        trace.peer.ask_for_logout();
        trace.play("< 0 Async event=1\n< 1 Async event=1");
    }
    trace.play(&format!("{log_out}closed 1"));
    // T16, M1, T15, N5, N6.
    let mut trace = play(four(), two);
    trace.peer.ask_for_logout();
    trace.play("< 0 Async event=1\n< 1 Async event=1\ncut 1\nwait 1");
    play(four(), "login 0\ncut 0\nwait 1");
    // N5, N7, N10; and N6 because nobody comes.
    let lost = "login 0 cid=0 ErrorRecoveryLevel=2 DefaultTime2Retain=20 InitialR2T=Yes ImmediateData=No
         > 0 SCSI-Command F W itt=1 edtl=512 cdb=2a000000020000000100
         < 0 R2T itt=1 ttt=$t
         cut 0
         wait 1000
        ";
    play(level(2), &format!("{lost}login 0 cid=0"));
    play(level(2), &format!("{lost}wait 30000"));
    let found = reached::take();
    let listed: BTreeSet<String> = UNREACHED.iter().map(|(row, _)| (*row).to_owned()).collect();
    assert!(found.is_disjoint(&listed), "reached, though listed: {:?}", found.intersection(&listed));
    let all = CONNECTION.iter().map(|row| format!("{row:?}")).chain(SESSION.iter().map(|row| format!("{row:?}")));
    assert_eq!(found.union(&listed).cloned().collect::<BTreeSet<_>>(), all.collect());
}
