//! An RFC as plain text: its sections without page headers and footers, and the sentences in them that bind.

use std::collections::BTreeMap;
use std::ops::Range;

/// How strongly a sentence binds (RFC 2119).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// MUST, MUST NOT, SHALL, SHALL NOT, REQUIRED.
    Must,
    /// SHOULD, SHOULD NOT.
    Should,
}

/// A sentence with a key word in it.
#[derive(Debug)]
pub struct Sentence {
    /// `<RFC>-<section>-<hash of the text>`: stays the same as long as the sentence does.
    pub id: String,
    /// The strongest of its key words.
    pub level: Level,
    pub text: String,
    /// Where its key words lie in the text of the section.
    pub keywords: Vec<Range<usize>>,
}

/// One section, without its subsections.
#[derive(Debug, Default)]
pub struct Section {
    /// Words separated by single spaces.
    pub text: String,
    /// Where sentences begin in it.
    starts: Vec<usize>,
    pub sentences: Vec<Sentence>,
}

/// One RFC: sections by their number (`11.4.2`), appendices by their letter (`C`, `E.1`).
#[derive(Debug)]
pub struct Rfc {
    pub sections: BTreeMap<String, Section>,
}

impl Rfc {
    pub fn read(number: &str, text: &str) -> Rfc {
        let mut rfc = Rfc { sections: BTreeMap::new() };
        let mut section = String::new();
        let mut paragraph = true;
        let mut toc = true;
        for (line, turned) in without_page_breaks(text) {
            if let Some(heading) = heading(line) {
                // What stands before the first section is the abstract and the table of contents.
                toc = false;
                section = heading;
                paragraph = true;
                rfc.sections.entry(section.clone()).or_default();
                continue;
            }
            if toc {
                continue;
            }
            let into = rfc.sections.entry(section.clone()).or_default();
            if line.trim().is_empty() {
                paragraph = true;
                continue;
            }
            if turned {
                paragraph = into.text.ends_with(['.', ':', ';']);
            }
            // A line of a table's frame ends what was before, and begins a row.
            let frame = line.trim_start().starts_with("+-");
            into.line(line, paragraph || frame || is_item(line));
            paragraph = frame;
        }
        for (name, section) in &mut rfc.sections {
            section.find_sentences(number, name);
        }
        rfc
    }

    /// The sections in the order of their numbers.
    pub fn in_order(self) -> Vec<(String, Section)> {
        let mut sections: Vec<_> = self.sections.into_iter().collect();
        sections.sort_by_key(|(name, _)| order(name));
        sections
    }
}

impl Section {
    fn line(&mut self, line: &str, begins: bool) {
        for (nth, word) in line.split_whitespace().enumerate() {
            push_word(&mut self.text, word);
            let at = self.text.len() - word.len();
            if (nth == 0 && begins) || at == 0 || ends_sentence(&self.text[..at], word) {
                self.starts.push(at);
            }
        }
    }

    fn find_sentences(&mut self, rfc: &str, name: &str) {
        let ends = self.starts.iter().skip(1).copied().chain([self.text.len()]);
        for (start, end) in self.starts.iter().copied().zip(ends) {
            let text = self.text[start..end].trim_end();
            let found = keywords(text);
            let Some(level) = found.iter().map(|(_, level)| *level).min_by_key(|l| *l as u8) else { continue };
            let id = format!("{rfc}-{name}-{:08x}", fnv(text));
            let keywords = found.into_iter().map(|(r, _)| r.start + start..r.end + start).collect::<Vec<_>>();
            match self.sentences.iter_mut().find(|s| s.id == id) {
                // The same sentence twice in one section is one requirement.
                Some(twice) => twice.keywords.extend(keywords),
                None => self.sentences.push(Sentence { id, level, text: text.to_owned(), keywords }),
            }
        }
    }

    /// Every place at which `quote` (normalised) stands in this section.
    pub fn find<'a>(&'a self, quote: &'a str) -> impl Iterator<Item = Range<usize>> + 'a {
        self.text.match_indices(quote).map(|(at, q)| at..at + q.len())
    }
}

/// Single spaces, and no space where a hyphenated word was broken: what quotes and the RFC's text are compared as.
pub fn normalised(text: &str) -> String {
    let mut out = String::new();
    text.split_whitespace().for_each(|word| push_word(&mut out, word));
    out
}

fn push_word(text: &mut String, word: &str) {
    let mut last = text.chars().rev();
    let hyphenated = last.next() == Some('-') && last.next().is_some_and(char::is_alphanumeric);
    if !text.is_empty() && !hyphenated {
        text.push(' ');
    }
    text.push_str(word);
}

/// The lines that are not page headers, footers or the blanks around them; and whether a page was turned before each.
fn without_page_breaks(text: &str) -> Vec<(&str, bool)> {
    let mut lines: Vec<(&str, bool)> = Vec::new();
    let mut turned = false;
    for line in text.lines() {
        let footer = line.trim_end().ends_with(']') && line.contains("[Page ");
        let header = line.starts_with("RFC ") && line.trim_end().ends_with(|c: char| c.is_ascii_digit()) && turned;
        if footer {
            while lines.last().is_some_and(|(l, _)| l.trim().is_empty()) {
                lines.pop();
            }
            turned = true;
        } else if !(header || line.contains('\x0c') || turned && line.trim().is_empty()) {
            lines.push((line, turned));
            turned = false;
        }
    }
    lines
}

/// `4.2.1.  Title` and `Appendix C.  Title`, at the left margin.
fn heading(line: &str) -> Option<String> {
    let words = line.strip_prefix("Appendix ").unwrap_or(line);
    let (number, title) = words.split_once(' ')?;
    let number = number.strip_suffix('.')?;
    let mut parts = number.split('.');
    let first = parts.next()?;
    let letter = first.len() == 1 && first.starts_with(|c: char| c.is_ascii_uppercase());
    let numbered = !first.is_empty() && first.chars().all(|c| c.is_ascii_digit());
    let rest = parts.all(|p| !p.is_empty() && p.chars().all(|c| c.is_ascii_digit()));
    ((letter || numbered) && rest && !title.trim().is_empty()).then(|| number.to_owned())
}

/// `- text`, `a) text`, `1. text`: begins a sentence of its own.
fn is_item(line: &str) -> bool {
    let Some((mark, _)) = line.trim_start().split_once(' ') else { return false };
    match mark {
        "-" | "o" | "*" | "+" => true,
        _ => {
            mark.len() <= 5
                && mark.ends_with([')', '.'])
                && mark
                    .trim_end_matches([')', '.'])
                    .chars()
                    .all(|c| c.is_ascii_digit() || c == '.' || c.is_ascii_lowercase())
                && (mark.starts_with(|c: char| c.is_ascii_digit()) || mark.len() == 2 || mark.ends_with(')'))
        }
    }
}

/// Whether a sentence ends before `word`.
fn ends_sentence(before: &str, word: &str) -> bool {
    const ABBREVIATIONS: &[&str] = &["e.g.", "i.e.", "(e.g.", "(i.e.", "al.", "vs.", "cf.", "(cf.", "No."];
    let before = before.trim_end();
    let last = before.rsplit(' ').next().unwrap_or(before);
    let stop = last.trim_end_matches([')', '"', '\'', ']']);
    stop.ends_with(['.', '?', '!'])
        && !ABBREVIATIONS.contains(&last)
        && word.trim_start_matches(['(', '"', '\'', '[']).starts_with(|c: char| c.is_uppercase() || c.is_ascii_digit())
}

/// The key words of RFC 2119 that bind.
fn keywords(text: &str) -> Vec<(Range<usize>, Level)> {
    const WORDS: &[(&str, Level)] =
        &[("MUST", Level::Must), ("SHALL", Level::Must), ("REQUIRED", Level::Must), ("SHOULD", Level::Should)];
    let mut found = Vec::new();
    for (word, level) in WORDS {
        for (at, _) in text.match_indices(word) {
            let alone = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || c == '_');
            if alone(text[..at].chars().next_back()) && alone(text[at + word.len()..].chars().next()) {
                found.push((at..at + word.len(), *level));
            }
        }
    }
    found
}

/// Sorts `4.2` before `4.10`, and appendices last.
fn order(section: &str) -> Vec<(u8, u32, String)> {
    let part = |p: &str| p.parse().map_or((1, 0, p.to_owned()), |n| (0, n, String::new()));
    section.split('.').map(part).collect()
}

/// FNV-1a, 32 bits.
fn fnv(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
