//! A matcher with optional faults.

use codex_traits::Pattern;

use super::faults::Fault;

/// Returns whether `key` matches as `Pattern` would decide, apart from the fault.
pub(crate) fn matches(fault: Option<Fault>, pattern: &Pattern, key: &[u8]) -> bool {
    let glob = pattern.as_bytes();
    let changed = |glob: Vec<u8>| Pattern::glob(glob).matches(key);
    match fault {
        Some(Fault::PrefixNotEscaped) => changed(glob.iter().copied().filter(|byte| *byte != b'\\').collect()),
        Some(Fault::EscapeIsLiteral) => changed(replaced(glob, b"\\", b"\\\\")),
        Some(Fault::BangNegates) => changed(replaced(glob, b"[!", b"[^")),
        Some(Fault::DashIsLiteralAtTheEnd) => changed(replaced(glob, b"-]", b"\\-]")),
        Some(Fault::UnclosedIsLiteral) if !glob.contains(&b']') => changed(replaced(glob, b"[", b"\\[")),
        Some(Fault::ReversedRangeIsEmpty) => changed(replaced(glob, b"c-a", b"")),
        Some(Fault::EmptyPatternIsAll) if glob.is_empty() => true,
        Some(Fault::QuestionTakesACharacter) => match (std::str::from_utf8(glob), std::str::from_utf8(key)) {
            // Each character becomes a single byte, so that `?` matches a whole character. The
            // clause has no such characters in classes.
            (Ok(glob), Ok(key)) => Pattern::glob(narrow(glob)).matches(narrow(key)),
            _ => pattern.matches(key),
        },
        Some(Fault::BracesChoose) => match glob {
            [b'{', inner @ .., b'}'] => inner.split(|byte| *byte == b',').any(|choice| choice == key),
            _ => pattern.matches(key),
        },
        Some(Fault::StarsBacktrack) => backtrack(glob, key),
        Some(Fault::RangeContinues) => changed(replaced(glob, b"[a-c-e]", b"[a-e]")),
        Some(Fault::ReversedNegationIsEmpty) => changed(replaced(glob, b"[^c-a]", b"[^]")),
        Some(Fault::DashEndsNoRange) => changed(replaced(glob, b"+--]", b"+\\-]")),
        Some(Fault::BracketBeginsClass) if glob.ends_with(b"a]") => {
            changed(replaced(&replaced(glob, b"[]", b"[\\]"), b"[^]", b"[^\\]"))
        }
        Some(Fault::NamedClasses) => changed(replaced(glob, b"[:alpha:]", b"a-zA-Z")),
        Some(Fault::RangeEndIsEscaped) => changed(replaced(glob, b"-\\", b"-")),
        Some(Fault::PartsOverlap | Fault::PartsInAnyOrder) if glob.iter().all(|byte| !b"?[\\".contains(byte)) => {
            let parts: Vec<&[u8]> = glob.split(|byte| *byte == b'*').collect();
            match (fault, &parts[..]) {
                (Some(Fault::PartsOverlap), [first, last]) if !key.is_empty() => {
                    key.starts_with(first) && key.ends_with(last)
                }
                (Some(Fault::PartsInAnyOrder), [first, middle @ .., last]) if middle.len() > 1 => {
                    let ends = key.strip_prefix(*first).and_then(|rest| rest.strip_suffix(*last));
                    let contains = |part: &[u8]| {
                        part.is_empty() || ends.is_some_and(|rest| rest.windows(part.len()).any(|at| at == part))
                    };
                    ends.is_some() && !key.is_empty() && middle.iter().all(|part| contains(part))
                }
                _ => pattern.matches(key),
            }
        }
        _ => pattern.matches(key),
    }
}

fn narrow(text: &str) -> Vec<u8> {
    text.chars()
        .map(|character| if character.is_ascii() { character as u8 } else { 0x80 })
        .collect()
}

fn replaced(glob: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = glob;
    while let [first, tail @ ..] = rest {
        if let Some(after) = rest.strip_prefix(from) {
            out.extend(to);
            rest = after;
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    out
}

/// Matches `*`, `?` and literals only.
fn backtrack(glob: &[u8], key: &[u8]) -> bool {
    match (glob, key) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=key.len()).any(|taken| backtrack(rest, &key[taken..])),
        ([b'?', rest @ ..], [_, tail @ ..]) => backtrack(rest, tail),
        ([first, rest @ ..], [byte, tail @ ..]) => first == byte && backtrack(rest, tail),
        _ => false,
    }
}
