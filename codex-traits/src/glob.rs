//! Redis's glob matching: the results of `stringmatchlen` in redis-server 7.0, in polynomial time.

/// The maximum number of runs of stars that are followed by another token. Beyond it, Redis gives
/// up and reports no match.
const MAX_STARS: u32 = 1000;

/// Returns whether `text` matches `pattern`.
///
/// Every token except `*` matches exactly one byte, so backtracking to the last `*` suffices: an
/// earlier `*` could only offer the later tokens the same bytes again.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    if text.is_empty() {
        // Redis's matcher never enters its loop for an empty text, so `**` fails. SCAN itself
        // treats a lone `*` as every key.
        return pattern.is_empty() || pattern == b"*";
    }
    let (mut at, mut read, mut stars) = (0, 0, 0);
    let mut last_star = None;
    while read < text.len() {
        if pattern.get(at) == Some(&b'*') {
            at += pattern[at..].iter().take_while(|&&byte| byte == b'*').count();
            if at == pattern.len() {
                return true;
            }
            stars += 1;
            if stars > MAX_STARS {
                return false;
            }
            last_star = Some((at, read));
            continue;
        }
        if let Some(next) = match_one(pattern, at, text[read]) {
            at = next;
            read += 1;
        } else if let Some((after_star, taken)) = last_star {
            at = after_star;
            read = taken + 1;
            last_star = Some((after_star, read));
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

/// Matches the token at `at`, which is not a `*`, against `byte`. Returns the start of the next
/// token.
fn match_one(pattern: &[u8], at: usize, byte: u8) -> Option<usize> {
    match *pattern.get(at)? {
        b'?' => Some(at + 1),
        b'[' => {
            let (matched, next) = match_class(pattern, at + 1, byte);
            matched.then_some(next)
        }
        b'\\' if at + 1 < pattern.len() => (pattern[at + 1] == byte).then_some(at + 2),
        literal => (literal == byte).then_some(at + 1),
    }
}

/// Matches the class whose first byte after the `[` is at `at`. Returns the start of the next
/// token.
fn match_class(pattern: &[u8], mut at: usize, byte: u8) -> (bool, usize) {
    let negated = pattern.get(at) == Some(&b'^');
    if negated {
        at += 1;
    }
    let mut found = false;
    loop {
        match &pattern[at..] {
            [] => return (found != negated, at),
            [b'\\', escaped, ..] => {
                found |= *escaped == byte;
                at += 2;
            }
            [b']', ..] => return (found != negated, at + 1),
            [from, b'-', to, ..] => {
                // Redis compares the bounds as `char`, which is signed on x86-64.
                let (from, to, byte) = (from.cast_signed(), to.cast_signed(), byte.cast_signed());
                found |= (from.min(to)..=from.max(to)).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                found |= *literal == byte;
                at += 1;
            }
        }
    }
}
