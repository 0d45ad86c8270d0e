//! No circle of names: each file can be read after those that it names.
//!
//! An edge is a path in a file (`crate::`, `super::`, `self::`, or one that begins with a module of its own), to the file where
//! what it names is at home, through re-exports. A re-export that the file itself has no use for is no edge, nor is what only
//! tests need. What has no name in a path is not seen: methods that are called through a type, of which another file may have
//! an `impl`; what a macro makes up.

use super::tokens::{behind, sources, tokens, without_tests};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

/// The names of a path.
type Names = Vec<String>;

/// What a file says.
#[derive(Default)]
struct File {
    path: String,
    /// What it names, as it is written.
    named: Vec<Names>,
    /// What it gives on: under which name, and what that is, as it is written.
    exported: BTreeMap<String, Names>,
    /// Its modules that only tests have.
    of_tests: Vec<String>,
    /// A module that has no file of its own, and names what is around it.
    climbing: Option<String>,
}

/// The module that a file is: `[backend, file]` for `backend/file.rs`, none for `lib.rs`.
fn module(path: &str) -> Names {
    let mut names: Names = path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if matches!(names.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        names.pop();
    }
    names
}

/// The paths of a `use` whose tree begins at `at`, each with the name that it has in the file; the place behind it.
fn tree(tokens: &[String], mut at: usize, before: &[String], found: &mut Vec<(Names, String)>) -> usize {
    let word = |at: usize| tokens.get(at).map_or("", String::as_str);
    let mut path = before.to_vec();
    loop {
        if word(at) == "{" {
            at += 1;
            while !matches!(word(at), "}" | "") {
                at = tree(tokens, at, &path, found);
                at += usize::from(word(at) == ",");
            }
            return at + 1;
        }
        path.push(word(at).to_owned());
        at += 1;
        if word(at) != "::" {
            break;
        }
        at += 1;
    }
    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    let mut name = path.last().cloned().unwrap_or_default();
    if word(at) == "as" {
        name = word(at + 1).to_owned();
        at += 2;
    }
    found.push((path, name));
    at
}

impl File {
    /// `is_module`: whether the file has a module of this name.
    fn read(path: &str, source: &str, is_module: impl Fn(&str) -> bool) -> File {
        let (tokens, of_tests) = without_tests(&tokens(source));
        let opens = |at: &usize| tokens[*at] == "mod" && tokens.get(at + 2).is_some_and(|token| token == "{");
        let climbs = |at: &usize| {
            tokens[at + 2..behind(&tokens, at + 2)].windows(2).any(|two| two[0] == "super" && two[1] == "::")
        };
        let climbing = (0..tokens.len()).filter(opens).find(climbs).map(|at| tokens[at + 1].clone());
        let word = |at: usize| tokens.get(at).map_or("", String::as_str);
        let mut file = File { path: path.to_owned(), of_tests, climbing, ..File::default() };
        let (mut given_on, mut words, mut at) = (Vec::new(), BTreeSet::new(), 0);
        while at < tokens.len() {
            let last = at.checked_sub(1).map_or("", word);
            if word(at) == "use" {
                let mut found = Vec::new();
                at = tree(&tokens, at + 1, &[], &mut found);
                // `pub use`, or `pub(crate) use`.
                let is_given_on = matches!(last, "pub" | ")");
                for (path, name) in found {
                    if is_given_on {
                        file.exported.insert(name.clone(), path.clone());
                        given_on.push((name, path));
                    } else {
                        file.named.push(path);
                    }
                }
                continue;
            }
            let begins = matches!(word(at), "crate" | "super" | "self") || is_module(word(at));
            // Not that of a visibility, nor one that is longer.
            if begins && word(at + 1) == "::" && !matches!(last, "in" | "::") {
                let mut path = vec![word(at).to_owned()];
                while word(at + 1) == "::" {
                    path.push(word(at + 2).to_owned());
                    at += 2;
                }
                words.extend(path.iter().cloned());
                file.named.push(path);
            }
            words.insert(word(at).to_owned());
            at += 1;
        }
        let is_used = |name: &str| name == "*" || words.contains(name);
        file.named.extend(given_on.into_iter().filter(|(name, _)| is_used(name)).map(|(_, path)| path));
        file
    }
}

/// The files of a crate.
struct Files(BTreeMap<Names, File>);

impl Files {
    fn read(all: &[(String, String)]) -> Files {
        let modules: BTreeSet<Names> = all.iter().map(|(path, _)| module(path)).collect();
        let mut files = BTreeMap::new();
        for (path, source) in all {
            let own = module(path);
            let is_module = |name: &str| modules.contains(&[&own[..], &[name.to_owned()]].concat());
            files.insert(own.clone(), File::read(path, source, is_module));
        }
        let of_tests = files.iter().flat_map(|(own, file): (&Names, &File)| {
            file.of_tests.iter().map(move |name| [&own[..], std::slice::from_ref(name)].concat())
        });
        let of_tests: Vec<Names> = of_tests.collect();
        files.retain(|own, _| !of_tests.iter().any(|tests| own.starts_with(tests)));
        for file in files.values() {
            // It is one level deeper than its file.
            assert_eq!(file.climbing, None, "src/{}: give that module a file of its own", file.path);
        }
        Files(files)
    }

    /// A path as the root sees it; `None`: it is another crate's, or no path of modules.
    fn absolute(&self, own: &[String], path: &[String]) -> Option<Names> {
        let supers = path.iter().take_while(|name| *name == "super").count();
        Some(match path.first()?.as_str() {
            "crate" => path[1..].to_vec(),
            "self" => [own, &path[1..]].concat(),
            "super" => [&own[..own.len().checked_sub(supers)?], &path[supers..]].concat(),
            first => {
                let child = [own, &[first.to_owned()]].concat();
                self.0.contains_key(&child).then(|| [own, path].concat())?
            }
        })
    }

    /// The file where what a path names is at home.
    fn home(&self, path: &[String], steps: usize) -> Option<Names> {
        let depth = (0..=path.len()).rev().find(|&depth| self.0.contains_key(&path[..depth]))?;
        let (own, rest) = path.split_at(depth);
        let exported = rest.first().and_then(|name| self.0[own].exported.get(name)).filter(|_| steps > 0);
        match exported.and_then(|from| self.absolute(own, from)) {
            Some(from) => self.home(&[&from[..], &rest[1..]].concat(), steps - 1),
            None => Some(own.to_vec()),
        }
    }

    /// The files that each names, and by which path.
    fn edges(&self) -> BTreeMap<&str, BTreeMap<&str, String>> {
        let mut edges: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
        for (own, file) in &self.0 {
            let named = edges.entry(&file.path).or_default();
            for path in &file.named {
                let home = self.absolute(own, path).and_then(|path| self.home(&path, 8));
                if let Some(home) = home.filter(|home| home != own) {
                    named.entry(&self.0[&home].path).or_insert_with(|| path.join("::"));
                }
            }
        }
        edges
    }
}

/// The files that are in a circle, each with the shortest way around.
fn circles(all: &[(String, String)]) -> BTreeMap<String, String> {
    let files = Files::read(all);
    let edges = files.edges();
    let mut found = BTreeMap::new();
    for &start in edges.keys() {
        let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
        let mut next = VecDeque::from([start]);
        while let Some(at) = next.pop_front() {
            for &to in edges[at].keys() {
                if !came_from.contains_key(to) {
                    came_from.insert(to, at);
                    next.push_back(to);
                }
            }
        }
        let (mut to, mut way) = (start, String::new());
        while let Some(&from) = came_from.get(to) {
            way = format!("\n    {from} names {} of {to}{way}", edges[from][to]);
            to = from;
            if to == start {
                found.insert(start.to_owned(), way);
                break;
            }
        }
    }
    found
}

#[test]
fn no_file_is_in_a_circle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&root, &mut paths);
    let all: Vec<(String, String)> = paths
        .iter()
        .map(|path| {
            let name = path.strip_prefix(&root).expect("below src").to_string_lossy().into_owned();
            (name, std::fs::read_to_string(path).expect("a source"))
        })
        // The binary is a crate of its own.
        .filter(|(name, _)| name != "main.rs" && name != "cli.rs")
        .collect();
    assert!(all.len() > 10, "the sources are not where they were");
    let found = circles(&all);
    let mut wrong = String::new();
    for (path, way) in found {
        wrong += &format!("src/{path} is in a circle of files:{way}\n");
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

fn circles_of(files: &[(&str, &str)]) -> Vec<String> {
    let all: Vec<(String, String)> =
        files.iter().map(|(path, source)| ((*path).to_owned(), (*source).to_owned())).collect();
    circles(&all).into_keys().collect()
}

#[test]
fn circles_are_found() {
    let (a, b) = ("disk/a.rs", "disk/b.rs");
    let facade = ("disk/mod.rs", "mod a; mod b; pub use a::A; pub(crate) use b::{B as Other, inner};");
    for (one, other) in [
        ("use super::b::B; pub struct A;", "use super::a::A; pub struct B;"),
        ("use crate::disk::{b::{self}, b}; pub struct A;", "fn f(_: crate::disk::a::A) {}"),
        // Behind what only tests have.
        (
            "use super::Other; pub struct A;",
            "#[cfg(test)] const fn f() -> Vec<u8> { [] } fn g() { super::A } pub struct B;",
        ),
        // Through what the facade gives on.
        ("use super::Other; pub struct A;", "use super::{A}; pub struct B;"),
        ("fn f() { super::inner(); }", "use crate::disk::A as X; pub fn inner() {}"),
    ] {
        assert_eq!(circles_of(&[facade, (a, one), (b, other)]), [a, b], "{one} {other}");
    }
    // What a facade uses, or has in it, is its own need.
    let uses = ("disk/mod.rs", "mod a; pub use a::A; pub struct Disk(A);");
    assert_eq!(circles_of(&[uses, (a, "use super::Disk; pub struct A;")]), [a, "disk/mod.rs"]);
    let three = [("x.rs", "use crate::y::Y;"), ("y.rs", "use crate::z::Z;"), ("z.rs", "use crate::x::X;")];
    assert_eq!(circles_of(&three), ["x.rs", "y.rs", "z.rs"]);
}

#[test]
fn what_is_no_circle_passes() {
    let (a, b) = ("disk/a.rs", "disk/b.rs");
    let facade = ("disk/mod.rs", "mod a; mod b; pub use a::A; pub use b::B;");
    for (one, other) in [
        ("use super::B; pub struct A;", "pub struct B; // use super::A;"),
        ("use super::B; pub struct A;", "pub struct B; #[cfg(test)] mod tests { use super::super::A; }"),
        ("use super::B; pub struct A;", "#[cfg(test)] use super::A; pub struct B { #[cfg(test)] a: super::A, b: u8 }"),
        ("use super::B; pub struct A;", "pub(in crate::disk) struct B; use std::{a, b::A};"),
        (
            "use super::B;",
            "#[cfg(test)] const fn f(a: u8, b: u8) -> impl Iterator<Item = u8> { super::A } pub struct B;",
        ),
    ] {
        assert_eq!(circles_of(&[facade, (a, one), (b, other)]), [""; 0], "{one} {other}");
    }
    let tests = ("disk/b/tests.rs", "use crate::disk::{A, B};");
    let tested = (b, "pub struct B; #[cfg(test)] mod tests;");
    assert_eq!(circles_of(&[facade, (a, "use super::B;"), tested, tests]), [""; 0]);
}
