//! The hundred testable items of an iSCSI target, each of which has at least one test named after it.
//!
//! An item is a rule that implementations get wrong, numbered 1 to 100 (login and text 1-28, discovery 29-35, sequencing
//! 36-45, data transfer 46-61, errors 62-68, task management 69-75, NOP, logout and asynchronous messages 76-84, security
//! 85-90, SCSI 91-100). A test that shows item 7 is a function `item_07_what_it_shows`, anywhere below `src` or `tests`.
//! `requirements/items-missing.txt` lists the items that have none yet; it only gets shorter, and `REQUIREMENTS_WRITE=1` in
//! the environment writes it anew.

use std::collections::BTreeSet;
use std::path::Path;

/// Items that there are.
const ITEMS: std::ops::RangeInclusive<u32> = 1..=100;

const HEAD: &str = "# Testable items without a test `item_NN_...`. REQUIREMENTS_WRITE=1 writes this file anew.\n";

/// The items that the tests in this Rust source are named after: functions below `#[test]`, or in `proptest!`.
fn named(source: &str) -> BTreeSet<u32> {
    let mut test = false;
    let mut items = BTreeSet::new();
    for line in source.lines().map(str::trim) {
        if let Some((_, name)) = line.split_once("fn item_").filter(|(before, _)| !before.contains("//")) {
            let digits: String = name.chars().take_while(char::is_ascii_digit).collect();
            let well_formed = digits.len() >= 2 && name[digits.len()..].starts_with('_');
            items.extend(digits.parse().ok().filter(|n| test && well_formed && ITEMS.contains(n)));
        }
        test = line == "#[test]" || test && (line.starts_with("#[") || line.starts_with("//"));
    }
    items
}

fn below(folder: &Path, items: &mut BTreeSet<u32>) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            below(&path, items);
        } else if path.extension().is_some_and(|e| e == "rs") {
            items.extend(named(&std::fs::read_to_string(&path).expect("a source file")));
        }
    }
}

#[test]
fn every_item_has_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let list = root.join("tests/requirements/items-missing.txt");
    let mut tested = BTreeSet::new();
    below(&root.join("src"), &mut tested);
    below(&root.join("tests"), &mut tested);
    let missing: BTreeSet<u32> = ITEMS.filter(|n| !tested.contains(n)).collect();
    if std::env::var_os("REQUIREMENTS_WRITE").is_some() {
        let lines: String = missing.iter().map(|n| format!("{n}\n")).collect();
        std::fs::write(list, format!("{HEAD}{lines}")).expect("items-missing.txt");
        return;
    }
    let listed = std::fs::read_to_string(list).expect("items-missing.txt");
    let lines = listed.lines().filter(|l| !l.is_empty() && !l.starts_with('#'));
    let listed: BTreeSet<u32> = lines.map(|l| l.trim().parse().expect("a number of an item")).collect();
    let lost: Vec<_> = missing.difference(&listed).collect();
    let found: Vec<_> = listed.difference(&missing).collect();
    assert!(lost.is_empty(), "items without a test, and not in items-missing.txt: {lost:?}");
    assert!(
        found.is_empty(),
        "take off items-missing.txt (REQUIREMENTS_WRITE=1 does), for they have a test: {found:?}"
    );
}

#[test]
fn only_tests_count() {
    let source = "#[test]\nfn item_07_a() {}\nfn item_08_b() {}\n#[test]\n// why\n#[ignore]\n    fn item_100_c() {}\n\
                  #[test]\nfn item_9_d() {}\n#[test]\nfn item_101_e() {}\n#[test]\n// fn item_10_f\nfn item_11() {}\n";
    assert_eq!(named(source), BTreeSet::from([7, 100]));
}
