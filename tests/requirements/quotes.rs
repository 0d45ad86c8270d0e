//! The quotes of RFCs in this repository's Rust files, and whether each stands above code or above a test.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A `//= RFC n section s` with its `//# ...` lines.
#[derive(Debug)]
pub struct Quote {
    /// Relative to the repository's root.
    pub file: String,
    /// Of the `//=` line, counted from 1.
    pub line: usize,
    /// `7143`.
    pub rfc: String,
    /// `11.4.2`, or `C` of an appendix.
    pub section: String,
    /// As it stands there, joined by spaces.
    pub text: String,
    /// It stands in a test, or in what is compiled for tests only.
    pub in_test: bool,
}

/// All quotes below `src`, `tests`, `benches` and `fuzz`; and what is wrong with their form.
pub fn all(root: &Path) -> (Vec<Quote>, Vec<String>) {
    let mut files = Vec::new();
    for folder in ["src", "tests", "benches", "fuzz"] {
        rust_files(&root.join(folder), &mut files);
    }
    files.sort();
    let sources: Vec<(PathBuf, String)> =
        files.into_iter().map(|f| (f.clone(), std::fs::read_to_string(&f).expect("a source file"))).collect();
    let test_modules: BTreeSet<PathBuf> = sources.iter().flat_map(|(f, text)| test_modules(f, text)).collect();
    let (mut quotes, mut faults) = (Vec::new(), Vec::new());
    for (path, text) in &sources {
        let name = path.strip_prefix(root).unwrap_or(path).display().to_string();
        let whole = name.starts_with("tests/")
            || name.starts_with("benches/")
            || test_modules.iter().any(|m| path == &m.with_extension("rs") || path.starts_with(m));
        of_file(&name, text, whole, &mut quotes, &mut faults);
    }
    (quotes, faults)
}

fn rust_files(folder: &Path, into: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|e| e.path()) {
        if path.is_dir() {
            if !path.ends_with("target") {
                rust_files(&path, into);
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

/// The modules that `#[cfg(test)] mod name;` of this file declares, without the extension of their file.
fn test_modules(file: &Path, text: &str) -> Vec<PathBuf> {
    let root = file.file_name().is_some_and(|n| n == "mod.rs" || n == "lib.rs" || n == "main.rs");
    let folder = if root { file.parent().unwrap_or(file).to_owned() } else { file.with_extension("") };
    let mut lines = text.lines().map(str::trim);
    let mut modules = Vec::new();
    while let Some(line) = lines.next() {
        if line != "#[cfg(test)]" {
            continue;
        }
        let declared = lines.by_ref().find(|l| !l.starts_with("#[") && !l.starts_with("//")).unwrap_or_default();
        let name = declared.rsplit("mod ").next().and_then(|n| n.strip_suffix(';'));
        if let (Some(name), true) = (name, declared.contains("mod ")) {
            modules.push(folder.join(name));
        }
    }
    modules
}

/// The quotes of one file. `whole`: all of it is test.
pub fn of_file(name: &str, text: &str, whole: bool, quotes: &mut Vec<Quote>, faults: &mut Vec<String>) {
    let lines: Vec<&str> = text.lines().collect();
    let tests = if whole { vec![true; lines.len()] } else { test_lines(&lines) };
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at].trim_start();
        let (number, in_test) = (at + 1, tests[at]);
        at += 1;
        if line.starts_with("//#") {
            faults.push(format!("{name}:{number}: a quote without the section that it comes from"));
        }
        let Some(source) = line.strip_prefix("//=") else { continue };
        let mut quoted = String::new();
        while let Some(more) = lines.get(at).and_then(|l| l.trim_start().strip_prefix("//#")) {
            quoted.push_str(more);
            quoted.push('\n');
            at += 1;
        }
        let words: Vec<&str> = source.split_whitespace().collect();
        match words[..] {
            ["RFC", rfc, "section" | "appendix", section] if !quoted.trim().is_empty() => quotes.push(Quote {
                file: name.to_owned(),
                line: number,
                rfc: rfc.to_owned(),
                section: section.to_owned(),
                text: quoted,
                in_test,
            }),
            _ => faults.push(format!("{name}:{number}: expected `//= RFC n section s` and lines of `//# ...`")),
        }
    }
}

/// Which lines lie in a `#[cfg(test)]` or `#[test]` item, or in the comments right above one. Relies on rustfmt: an item
/// ends at the first closing brace that is indented as it is.
fn test_lines(lines: &[&str]) -> Vec<bool> {
    let mut tests = vec![false; lines.len()];
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at].trim();
        if line != "#[cfg(test)]" && line != "#[test]" {
            at += 1;
            continue;
        }
        let begin = (0..at).rev().take_while(|&n| lines[n].trim_start().starts_with("//")).last().unwrap_or(at);
        let indent = lines[at].len() - lines[at].trim_start().len();
        let ends = |l: &&str| {
            let own = l.len() - l.trim_start().len() == indent && !l.trim().is_empty();
            own && (l.trim_start().starts_with('}') || l.trim_end().ends_with(';') || l.trim_end().ends_with('}'))
        };
        let end = lines[at..].iter().position(ends).map_or(lines.len() - 1, |n| at + n);
        tests[begin..=end].fill(true);
        at = end + 1;
    }
    tests
}
