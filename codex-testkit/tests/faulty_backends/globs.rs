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
