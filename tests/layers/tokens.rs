//! Source files, and their tokens.

use std::path::{Path, PathBuf};

/// All files with the ending `.rs` below a directory.
pub fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("a directory of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// A word, a number, or one character of punctuation; `::` is one token.
pub fn tokens(source: &str) -> Vec<String> {
    let text: Vec<char> = source.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let word = rest.iter().take_while(|c| c.is_alphanumeric() || **c == '_').count();
        at += match (rest[0], rest.get(1)) {
            ('/', Some('/')) => rest.iter().take_while(|c| **c != '\n').count(),
            ('/', Some('*')) => block_comment(rest),
            ('r' | 'b' | 'c', Some('"' | '#' | 'r')) if raw_string(rest).is_some() => raw_string(rest).unwrap_or(1),
            ('"', _) => string(rest),
            ('\'', _) => character(rest),
            (':', Some(':')) => {
                tokens.push("::".to_owned());
                2
            }
            (c, _) if word == 0 => {
                if !c.is_whitespace() {
                    tokens.push(c.to_string());
                }
                1
            }
            _ => {
                tokens.push(rest[..word].iter().collect());
                word
            }
        };
    }
    tokens
}

/// Length of a block comment; they nest.
fn block_comment(text: &[char]) -> usize {
    let (mut at, mut depth) = (0, 0);
    while at < text.len() {
        match (text[at], text.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// Length of `r"..."`, `r#"..."#`, `br"..."`, ...; `None` if it is none (a raw identifier, a word).
fn raw_string(text: &[char]) -> Option<usize> {
    let prefix = text.iter().take_while(|c| matches!(c, 'b' | 'c' | 'r')).count();
    if prefix > 2 || text[prefix - 1] != 'r' {
        return None;
    }
    let hashes = text[prefix..].iter().take_while(|c| **c == '#').count();
    let start = prefix + hashes;
    (text.get(start) == Some(&'"')).then_some(())?;
    let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let body = text[start + 1..].windows(end.len()).position(|window| window == end)?;
    Some(start + 1 + body + end.len())
}

/// Length of `"..."`.
fn string(text: &[char]) -> usize {
    let mut at = 1;
    while at < text.len() && text[at] != '"' {
        at += if text[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// Length of a character literal, or of the tick of a lifetime.
fn character(text: &[char]) -> usize {
    match (text.get(1), text.get(2)) {
        (Some('\\'), _) => 3 + text.iter().skip(3).take_while(|c| **c != '\'').count() + 1,
        (Some(_), Some('\'')) => 3,
        _ => 1,
    }
}

/// The place behind the bracket that opens at `open`.
pub fn behind(tokens: &[String], open: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

/// The place behind the item, field or statement that begins at `at`.
fn behind_item(tokens: &[String], mut at: usize) -> usize {
    let ends = |word: &String| matches!(word.as_str(), ";" | "{" | "=" | ",");
    let head = tokens[at..].iter().take_while(|word| !ends(word));
    let has_body =
        head.clone().any(|word| matches!(word.as_str(), "fn" | "impl" | "mod" | "struct" | "enum" | "trait"));
    let mut ends_with_brace =
        has_body || !head.clone().any(|word| matches!(word.as_str(), "use" | "const" | "static" | "let"));
    while let Some(token) = tokens.get(at) {
        match token.as_str() {
            "," if has_body => at += 1,
            ";" | "," => return at + 1,
            "}" => return at,
            "=" if !has_body => (ends_with_brace, at) = (false, at + 1),
            "{" | "(" | "[" => {
                at = behind(tokens, at);
                if token == "{" && ends_with_brace {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    at
}

/// The tokens without what only tests have, and the modules in files of their own among that.
pub fn without_tests(tokens: &[String]) -> (Vec<String>, Vec<String>) {
    const TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut kept, mut of_tests, mut at) = (Vec::new(), Vec::new(), 0);
    while at < tokens.len() {
        if tokens.len() - at >= TEST.len() && (0..TEST.len()).all(|n| tokens[at + n] == TEST[n]) {
            at += TEST.len();
            while tokens.get(at).is_some_and(|token| token == "#") {
                at = behind(tokens, at + 1);
            }
            let end = behind_item(tokens, at);
            if let Some(word) = tokens[at..end].iter().position(|token| token == "mod") {
                of_tests.extend(tokens.get(at + word + 1).cloned());
            }
            at = end;
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    (kept, of_tests)
}
