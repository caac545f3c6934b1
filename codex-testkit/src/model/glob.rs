//! A second implementation of Redis's glob, by exhaustive search: slow and easy to follow.

/// Returns whether `text` matches `pattern`, as SCAN decides.
pub(super) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    // Redis treats a lone star as "all". Otherwise the empty key matches only the empty pattern.
    if text.is_empty() {
        return matches!(pattern, [] | [b'*']);
    }
    matches_rest(pattern, text)
}

fn matches_rest(pattern: &[u8], text: &[u8]) -> bool {
    let (first, rest) = match pattern {
        [] => return text.is_empty(),
        [b'*', rest @ ..] => return (0..=text.len()).any(|taken| matches_rest(rest, &text[taken..])),
        [b'?', rest @ ..] => (Token::Any, rest),
        [b'[', rest @ ..] => Token::class(rest),
        [b'\\', byte, rest @ ..] | [byte, rest @ ..] => (Token::Byte(*byte), rest),
    };
    match text {
        [byte, text @ ..] => first.takes(*byte) && matches_rest(rest, text),
        [] => false,
    }
}

enum Token {
    Any,
    Byte(u8),
    Class { is_negated: bool, ranges: Vec<(u8, u8)> },
}

impl Token {
    /// Returns the class that begins with `pattern`, and the rest of the pattern. An unclosed class
    /// ends with the pattern.
    fn class(pattern: &[u8]) -> (Self, &[u8]) {
        let (is_negated, mut rest) = match pattern {
            [b'^', rest @ ..] => (true, rest),
            _ => (false, pattern),
        };
        let mut ranges = Vec::new();
        loop {
            let (range, after) = match rest {
                [] => break,
                [b']', after @ ..] => {
                    rest = after;
                    break;
                }
                [b'\\', byte, after @ ..] => ((*byte, *byte), after),
                [from, b'-', to, after @ ..] => ((*from, *to), after),
                [byte, after @ ..] => ((*byte, *byte), after),
            };
            ranges.push(range);
            rest = after;
        }
        (Self::Class { is_negated, ranges }, rest)
    }

    fn takes(&self, byte: u8) -> bool {
        // Bounds are compared as C's `char`, which is signed on most machines.
        let signed = u8::cast_signed;
        match self {
            Self::Any => true,
            Self::Byte(own) => *own == byte,
            Self::Class { is_negated, ranges } => {
                let holds = ranges.iter().any(|&(one, other)| {
                    let (low, high) = (signed(one).min(signed(other)), signed(one).max(signed(other)));
                    (low..=high).contains(&signed(byte))
                });
                holds != *is_negated
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use codex_traits::Pattern;

    use super::matches;
    use crate::random::Random;

    /// Another test compares the contract's own matcher with the server's, pair by pair. This test
    /// compares the model's matcher with the contract's.
    #[test]
    fn agrees_with_the_matcher_of_the_contract() {
        const BYTES: &[u8] = b"ab-^]\\[*?\x80\xff";
        let mut random = Random::new(7);
        let mut draw = |longest: u64| {
            let length = random.below(longest + 1);
            let bytes = (0..length).map(|_| BYTES[usize::try_from(random.below(BYTES.len() as u64)).unwrap()]);
            bytes.collect::<Vec<u8>>()
        };
        let mut matched = 0;
        for _ in 0..50_000 {
            let (pattern, text) = (draw(6), draw(3));
            let expected = Pattern::glob(&pattern).matches(&text);
            assert_eq!(matches(&pattern, &text), expected, "{pattern:?} {text:?}");
            matched += u32::from(expected);
        }
        assert!(matched > 1_000, "{matched} matched, too few to say anything");
    }
}
