//! The RFCs' requirements, held against the quotes in the code (`//= RFC 7143 section 7.8`, then `//# the sentence`).
//!
//! - Every quote stands literally in the section that it names.
//! - Every sentence of RFC 7143 and 7144 with a key word of RFC 2119 is in `sentences.txt`, with whom it
//!   binds: a guess, overruled by `classes.txt`.
//! - Every MUST that binds a target is quoted above code and above a test, or stands in `exceptions.txt` with
//!   a reason, or in `missing.txt`. The latter only gets shorter: what is covered must be taken off.
//!
//! `REQUIREMENTS_WRITE=1` in the environment writes the two generated files, sentences.txt and missing.txt, anew.
//! `report` prints each requirement with the places that quote it.

mod classify;
mod items;
mod quotes;
mod rfc;

use classify::Class;
use quotes::Quote;
use rfc::{Level, Rfc, Sentence, normalised};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

const RFCS: &[(&str, &str)] = &[("7143", include_str!("rfc7143.txt")), ("7144", include_str!("rfc7144.txt"))];

/// Subjects that may be excepted.
const MOST_EXCEPTIONS: usize = 15;

/// One sentence that binds somebody, and who quotes it.
struct Requirement {
    section: String,
    sentence: Sentence,
    class: Class,
    /// `file:line` of the quotes above code, and above tests.
    code: Vec<String>,
    tests: Vec<String>,
    /// The heading in exceptions.txt.
    exception: Option<String>,
}

impl Requirement {
    /// What it still lacks: `code`, `test`, both or nothing.
    fn lacks(&self) -> Option<&'static str> {
        match (self.code.is_empty(), self.tests.is_empty()) {
            _ if self.exception.is_some() || !self.class.binds_target() => None,
            (true, true) => Some("code,test"),
            (true, false) => Some("code"),
            (false, true) => Some("test"),
            (false, false) => None,
        }
    }
}

/// Everything read.
struct Requirements {
    all: Vec<Requirement>,
    /// What is wrong with the quotes and the committed files.
    faults: Vec<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn committed(name: &str) -> (PathBuf, String) {
    let path = root().join("tests/requirements").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    (path, text)
}

/// The lines of a committed file that say something, with their numbers.
fn entries(file: &str) -> impl Iterator<Item = (usize, &str)> {
    file.lines().enumerate().map(|(n, l)| (n + 1, l.trim())).filter(|(_, l)| !l.is_empty() && !l.starts_with('#'))
}

fn read() -> Requirements {
    let rfcs: BTreeMap<&str, Rfc> = RFCS.iter().map(|(number, text)| (*number, Rfc::read(number, text))).collect();
    let (quotes, mut faults) = quotes::all(root());
    let (mut code, mut tests) = (BTreeMap::<String, Vec<String>>::new(), BTreeMap::<String, Vec<String>>::new());
    for quote in &quotes {
        match covered(&rfcs, quote) {
            Ok(ids) => {
                let into = if quote.in_test { &mut tests } else { &mut code };
                for id in ids {
                    into.entry(id).or_default().push(format!("{}:{}", quote.file, quote.line));
                }
            }
            Err(fault) => faults.push(fault),
        }
    }
    let (classes, wrong) = classify::overrides(&committed("classes.txt").1);
    faults.extend(wrong);
    let exceptions = exceptions(&committed("exceptions.txt").1, &mut faults);
    let mut used = BTreeSet::new();
    let mut all = Vec::new();
    for rfc in rfcs.into_values() {
        for (name, section) in rfc.in_order() {
            for sentence in section.sentences {
                let class = classes.get(&sentence.id).copied().unwrap_or_else(|| classify::guess(&sentence));
                let exception = exceptions.iter().find(|(pattern, _)| matches(pattern, &sentence.id));
                used.extend(exception.map(|(pattern, _)| pattern.clone()));
                all.push(Requirement {
                    section: name.clone(),
                    class,
                    code: code.remove(&sentence.id).unwrap_or_default(),
                    tests: tests.remove(&sentence.id).unwrap_or_default(),
                    exception: exception.map(|(_, heading)| heading.clone()),
                    sentence,
                });
            }
        }
    }
    let known: BTreeSet<&str> = all.iter().map(|r| r.sentence.id.as_str()).collect();
    faults.extend(
        classes.keys().filter(|id| !known.contains(id.as_str())).map(|id| format!("classes.txt: no sentence {id}")),
    );
    faults.extend(exceptions.keys().filter(|p| !used.contains(*p)).map(|p| format!("exceptions.txt: no sentence {p}")));
    Requirements { all, faults }
}

/// The sentences of which a quote has a key word; or where the quote is wrong.
fn covered(rfcs: &BTreeMap<&str, Rfc>, quote: &Quote) -> Result<Vec<String>, String> {
    let place = format!("{}:{}", quote.file, quote.line);
    let rfc = rfcs.get(quote.rfc.as_str()).ok_or_else(|| format!("{place}: RFC {} is not here", quote.rfc))?;
    let text = normalised(&quote.text);
    let found: Vec<String> = match rfc.sections.get(&quote.section) {
        None => Err(format!("{place}: RFC {} has no section {}", quote.rfc, quote.section)),
        Some(section) => {
            let places: Vec<_> = section.find(&text).collect();
            if places.is_empty() {
                let elsewhere: Vec<&str> = rfc
                    .sections
                    .iter()
                    .filter(|(_, s)| s.find(&text).next().is_some())
                    .map(|(n, _)| n.as_str())
                    .collect();
                let hint = if elsewhere.is_empty() {
                    "nor elsewhere".into()
                } else {
                    format!("but in {}", elsewhere.join(", "))
                };
                return Err(format!("{place}: not in RFC {} section {}, {hint}: {text}", quote.rfc, quote.section));
            }
            let within =
                |s: &&Sentence| s.keywords.iter().any(|k| places.iter().any(|p| p.start <= k.start && k.end <= p.end));
            Ok(section.sentences.iter().filter(within).map(|s| s.id.clone()).collect())
        }
    }?;
    Ok(found)
}

/// `exceptions.txt`: `[subject] reason`, then the ids that it excepts; an id may end in `*`. By id.
fn exceptions(file: &str, faults: &mut Vec<String>) -> BTreeMap<String, String> {
    let mut by_id = BTreeMap::new();
    let (mut heading, mut subjects) = (String::new(), 0);
    for (number, line) in entries(file) {
        if let Some((subject, reason)) = line.strip_prefix('[').and_then(|l| l.split_once(']')) {
            subjects += 1;
            heading = subject.to_owned();
            if reason.trim().is_empty() {
                faults.push(format!("exceptions.txt:{number}: an exception wants a reason"));
            }
        } else if heading.is_empty() || line.contains(' ') {
            faults.push(format!("exceptions.txt:{number}: expected `[subject] reason`, then one id a line"));
        } else if by_id.insert(line.to_owned(), heading.clone()).is_some() {
            faults.push(format!("exceptions.txt:{number}: {line} stands there twice"));
        }
    }
    if subjects > MOST_EXCEPTIONS {
        faults.push(format!("exceptions.txt: {subjects} exceptions, at most {MOST_EXCEPTIONS} are agreed upon"));
    }
    by_id
}

fn matches(pattern: &str, id: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == id, |start| id.starts_with(start))
}

fn writing() -> bool {
    std::env::var_os("REQUIREMENTS_WRITE").is_some()
}

#[test]
fn every_quote_stands_in_its_section() {
    let faults = read().faults;
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn the_list_of_sentences_is_the_one_committed() {
    let mut list = String::from(
        "# Made from the RFCs and classes.txt with REQUIREMENTS_WRITE=1. id, key word, whom it binds, sentence.\n",
    );
    for r in &read().all {
        let level = if r.sentence.level == Level::Must { "MUST" } else { "SHOULD" };
        let _ = writeln!(list, "{} {level} {} | {}", r.sentence.id, r.class.name(), r.sentence.text);
    }
    let (path, was) = committed("sentences.txt");
    if writing() {
        std::fs::write(path, list).expect("sentences.txt");
    } else {
        let differing = was.lines().zip(list.lines()).find(|(a, b)| a != b);
        assert!(
            was == list,
            "sentences.txt is not what the RFCs and classes.txt give: REQUIREMENTS_WRITE=1; {differing:?}"
        );
    }
}

#[test]
fn what_is_missing_only_gets_less() {
    let all = read().all;
    let lacking = || all.iter().filter(|r| r.sentence.level == Level::Must).filter_map(|r| Some((r, r.lacks()?)));
    let (path, file) = committed("missing.txt");
    if writing() {
        let mut list = String::from(
            "# MUSTs of a target that no code or no test quotes yet. REQUIREMENTS_WRITE=1 takes off what is covered.\n",
        );
        for (r, lacks) in lacking() {
            let _ = writeln!(list, "{} {lacks} | {}", r.sentence.id, r.sentence.text);
        }
        std::fs::write(path, list).expect("missing.txt");
        return;
    }
    let listed: BTreeMap<&str, &str> =
        entries(&file).filter_map(|(_, l)| l.split(" | ").next()?.split_once(' ')).collect();
    let now: BTreeMap<&str, &str> = lacking().map(|(r, lacks)| (r.sentence.id.as_str(), lacks)).collect();
    let parts = |of: &BTreeMap<&str, &str>| -> BTreeSet<(String, String)> {
        of.iter().flat_map(|(id, lacks)| lacks.split(',').map(|l| ((*id).to_owned(), l.to_owned()))).collect()
    };
    let (listed, now) = (parts(&listed), parts(&now));
    let mut faults: Vec<String> =
        now.difference(&listed).map(|(id, what)| format!("{id} is without {what}, and not in missing.txt")).collect();
    faults.extend(listed.difference(&now).map(|(id, what)| {
        format!("{id} is no longer without {what}: take it off missing.txt (REQUIREMENTS_WRITE=1 does)")
    }));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Writes past the capture of output, so that every run of the tests says how far it is.
#[test]
fn report() {
    let all = read().all;
    let mut out = String::new();
    for (level, name) in [(Level::Must, "MUST"), (Level::Should, "SHOULD")] {
        let of: Vec<&Requirement> =
            all.iter().filter(|r| r.sentence.level == level && r.class.binds_target()).collect();
        let share = |n: usize| format!("{n} ({:.1} %)", 100.0 * n as f64 / of.len().max(1) as f64);
        let count = |what: &dyn Fn(&&&Requirement) -> bool| share(of.iter().filter(what).count());
        let _ = writeln!(
            out,
            "requirements: of {} {name}s that bind a target {} have code, {} a test, {} both, {} are excepted, {} are settled",
            of.len(),
            count(&|r| !r.code.is_empty()),
            count(&|r| !r.tests.is_empty()),
            count(&|r| !r.code.is_empty() && !r.tests.is_empty()),
            count(&|r| r.exception.is_some()),
            count(&|r| r.lacks().is_none()),
        );
    }
    if std::env::var_os("REQUIREMENTS_REPORT").is_some() {
        let mut section = "";
        for r in &all {
            if section != r.section {
                section = &r.section;
                let _ = writeln!(out, "\n== section {section}");
            }
            let state = match (&r.exception, r.class.binds_target(), r.lacks()) {
                (Some(subject), ..) => format!("excepted: {subject}"),
                (_, false, _) => format!("binds {}", r.class.name()),
                (_, _, Some(lacks)) => format!("WITHOUT {}", lacks.replace(',', " AND ")),
                _ => "done".into(),
            };
            let _ = writeln!(out, "{} [{state}] {}", r.sentence.id, r.sentence.text);
            for (what, places) in [("code", &r.code), ("test", &r.tests)] {
                for place in places {
                    let _ = writeln!(out, "    {what} {place}");
                }
            }
        }
    }
    let _ = std::io::stderr().write_all(out.as_bytes());
}

mod tool {
    use super::*;

    const TEXT: &str = "RFC 1\n\n1. Contents ... 1\n\n1.  First\n\n   The target MUST do it, e.g. Now.  It MUST NOT\n   do an-\n   other thing.\n\nAuthor, et al.   Standards Track   [Page 1]\n\x0c\nRFC 1   Things   April 2014\n\n\n   The initiator MAY.\n\n1.1.  Second\n\n   - Initiators SHOULD\n     rest.\n   - no word: MUSTARD\n\nAppendix C.  Third\n\n   All is REQUIRED\n";

    fn sample() -> Rfc {
        Rfc::read("1", TEXT)
    }

    #[test]
    fn sentences_are_found_with_their_sections() {
        let rfc = sample();
        assert_eq!(rfc.sections.keys().map(String::as_str).collect::<Vec<_>>(), ["1", "1.1", "C"]);
        let found: Vec<(String, String)> = rfc
            .in_order()
            .into_iter()
            .flat_map(|(n, s)| s.sentences.into_iter().map(move |s| (n.clone(), s.text)))
            .collect();
        let found: Vec<(&str, &str)> = found.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
        assert_eq!(
            found,
            [
                ("1", "The target MUST do it, e.g. Now."),
                ("1", "It MUST NOT do an-other thing."),
                ("1.1", "- Initiators SHOULD rest."),
                ("C", "All is REQUIRED"),
            ]
        );
    }

    #[test]
    fn a_quote_is_held_to_its_section() {
        let rfcs = BTreeMap::from([("1", sample())]);
        let quote = |section: &str, text: &str| Quote {
            file: "f".into(),
            line: 1,
            rfc: "1".into(),
            section: section.into(),
            text: text.into(),
            in_test: false,
        };
        let hits = |q: &Quote| covered(&rfcs, q).map(|ids| ids.len());
        assert_eq!(hits(&quote("1", "MUST do it,\n e.g. Now.  It MUST")), Ok(2));
        assert_eq!(hits(&quote("1", "do an-\nother thing. The initiator MAY.")), Ok(0));
        assert!(hits(&quote("1.1", "The target MUST do it")).unwrap_err().contains("but in 1:"));
        assert!(hits(&quote("1", "The target must do it")).unwrap_err().contains("nor elsewhere"));
        assert!(hits(&quote("2", "The target MUST do it")).unwrap_err().contains("no section 2"));
    }

    #[test]
    fn quotes_in_tests_are_told_from_those_in_code() {
        let source = "//= RFC 1 section 1\n//# a\nfn f() {}\n\n#[cfg(test)]\nmod tests {\n    //= RFC 1 appendix C\n    //# b\n    //# c\n    fn g() {}\n}\n\n//= RFC 1 section 2\n//# d\nfn h() {}\n//= RFC 1\n//# x\n//\n//# y\n";
        let (mut quotes, mut faults) = (Vec::new(), Vec::new());
        quotes::of_file("f", source, false, &mut quotes, &mut faults);
        let seen: Vec<_> = quotes.iter().map(|q| (q.section.as_str(), q.text.trim(), q.in_test, q.line)).collect();
        assert_eq!(seen, [("1", "a", false, 1), ("C", "b\n c", true, 7), ("2", "d", false, 13)]);
        assert_eq!(faults.len(), 2, "{faults:?}");
    }

    #[test]
    fn the_subject_decides_whom_a_sentence_binds() {
        let class = |text: &str| {
            let rfc = Rfc::read("1", &format!("1.  S\n\n   {text}\n"));
            classify::guess(&rfc.sections["1"].sentences[0])
        };
        assert_eq!(class("The target that hears an initiator, the target MUST answer."), Class::Target);
        assert_eq!(class("If the target asks, the initiator MUST answer."), Class::Initiator);
        assert_eq!(class("Initiators and targets MUST agree."), Class::Both);
        assert_eq!(class("The field MUST be zero."), Class::Both);
    }
}
