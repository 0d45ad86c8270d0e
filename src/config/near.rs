//! What was meant, perhaps, by a name that is not known.

/// The known name that is near to what was written, if one is.
pub fn nearest<'k>(known: impl IntoIterator<Item = &'k str>, written: &str) -> Option<&'k str> {
    let (steps, name) = known.into_iter().map(|name| (distance(name, written), name)).min()?;
    (steps <= 1 + name.len() / 3).then_some(name)
}

/// The target that is near to a name, or to what a name has behind its last colon: so much of it as was written.
pub fn nearest_target<'k>(names: impl IntoIterator<Item = &'k str> + Clone, written: &str) -> Option<&'k str> {
    let end = |name: &'k str| name.rsplit(':').next().unwrap_or(name);
    let near = nearest(names.clone(), written).or_else(|| nearest(names.into_iter().map(end), written))?;
    // Of a name that shares no letter with it one of one letter is no further away than any other.
    (distance(near, written) < written.chars().count()).then_some(near)
}

/// Levenshtein's distance between a known name and what was written. Long input is cut: it is not near anyway.
fn distance(name: &str, written: &str) -> usize {
    let written: Vec<char> = written.chars().flat_map(char::to_lowercase).take(64).collect();
    let mut row: Vec<usize> = (0..=written.len()).collect();
    for (i, a) in name.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(&written) {
            let change = diagonal + usize::from(a != *b && !(a == '-' && *b == '_'));
            diagonal = *cell;
            left = change.min(*cell + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_steps() {
        for (name, written, steps) in [
            ("size", "size", 0),
            ("size", "sise", 1),
            ("size", "sze", 1),
            ("size", "", 4),
            ("physical-block", "physical_block", 0),
            ("kind", "KIND", 0),
            ("alias", "aliases", 2),
        ] {
            assert_eq!(distance(name, written), steps, "{name} {written}");
        }
    }

    #[test]
    fn targets_are_near_by_their_ends_too() {
        let names = ["iqn.2026-11.io.example:db", "iqn.2026-11.io.example:web-1"];
        for (written, near) in [
            ("iqn.2026-11.io.exmple:db", Some(names[0])),
            ("dbb", Some("db")),
            ("web1", Some("web-1")),
            ("x", None),
            ("backup", None),
            ("", None),
        ] {
            assert_eq!(nearest_target(names, written), near, "{written}");
        }
        assert_eq!(nearest_target([], "db"), None);
    }
}
