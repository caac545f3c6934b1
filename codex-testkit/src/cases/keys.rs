//! Classes of keys. A careless store confuses the keys of one class.

/// The name of a class, and its distinct keys.
pub type Class = (&'static str, Vec<String>);

/// Returns every class.
pub fn classes() -> Vec<Class> {
    let mut classes: Vec<Class> = CLASSES
        .iter()
        .map(|(name, keys)| (*name, keys.iter().map(|&key| key.to_owned()).collect()))
        .collect();
    classes.push(("long keys", long()));
    classes
}

/// Returns long keys that differ in the first, the middle or the last byte or in length, at lengths
/// where stores truncate.
fn long() -> Vec<String> {
    let mut keys = Vec::new();
    for length in [63, 64, 128, 250, 255, 256, 512, 1024, 4096, 65_535, 65_536, 100_001] {
        let middle = "k".repeat(length - 2);
        keys.extend([
            format!("a{middle}a"),
            format!("a{middle}b"),
            format!("b{middle}a"),
            format!("a{middle}A"),
            format!("a{}K{}a", &middle[..length / 2 - 1], &middle[length / 2..]),
        ]);
    }
    keys
}

const CLASSES: &[(&str, &[&str])] = &[
    ("blank keys", &["", " ", "  ", "\t", "\n", "\r\n", "\u{a0}", "\u{3000}"]),
    (
        "spaces at either end",
        &[
            "s",
            " s",
            "s ",
            " s ",
            "s  ",
            "  s",
            "\ts",
            "s\t",
            "\ns",
            "s\n",
            "s\r\n",
            "\u{a0}s",
            "s\u{a0}",
            "s\u{2003}",
            "s s",
            "s  s",
        ],
    ),
    (
        "case pairs",
        &[
            "key",
            "Key",
            "KEY",
            "kEY",
            "straße",
            "STRASSE",
            "strasse",
            "STRAẞE",
            "é",
            "É",
            "ı",
            "I",
            "İ",
            "i",
            "i\u{307}",
            "ς",
            "σ",
            "Σ",
            "ǆ",
            "ǅ",
            "Ǆ",
            "\u{212a}ey",
        ],
    ),
    ("NUL", &["n", "n\0", "n\0\0", "\0n", "n\0n", "n\0m", "\0", "\0\0"]),
    (
        "normalisation pairs",
        &[
            "é",
            "e\u{301}",
            "Å",
            "A\u{30a}",
            "\u{212b}",
            "ﬁ",
            "fi",
            "½",
            "1\u{2044}2",
            "①",
            "1",
            "한",
            "\u{1112}\u{1161}\u{11ab}",
            "ａ",
            "a",
            "\u{feff}a",
            "a\u{200b}",
        ],
    ),
    (
        "glob characters",
        &[
            "g", "g*", "g?", "g[", "g]", "g[h]", "g[^h]", "g\\", "g\\*", "g\\\\", "gh", "ghh", "*", "?", "[g]", "\\g",
            "g-h", "g^", "g!",
        ],
    ),
    (
        "braces",
        &[
            "b", "{b}", "{b}b", "b{b}", "{}", "{}b", "{b", "b}", "{{b}}", "{b}{c}", "{c}{b}", "{b,c}", "}b{",
        ],
    ),
    (
        "separators",
        &[
            "a:b", "a:b:", ":a:b", "a::b", "a/b", "a//b", "a/./b", "/a/b", "a\\b", "a.b", "a%3Ab", "a+b", "a b",
            "a%20b", "a;b", "a,b", "a|b", "a=b", "a#b", "a?b",
        ],
    ),
    (
        "numbers",
        &[
            "1", "01", "+1", "1.0", "1e0", "-0", "0", "00", "٠", "1_0", "0x1", "true", "null",
        ],
    ),
    (
        "quotes and controls",
        &[
            "q",
            "\"q\"",
            "'q'",
            "`q`",
            "q\u{1b}[0m",
            "q\u{7f}",
            "q\u{8}",
            "\u{1}q",
            "q\u{85}",
            "q\u{2028}",
            "🦀",
            "🦀\u{fe0f}",
        ],
    ),
    ("prefixes", &["p", "pp", "ppp", "p:", "p:p", "P", "pq", "q"]),
    (
        "paths",
        &[
            ".", "b", "..", "a", "a/", "a.", "./a", "../a", "a/.", "a/..", "a/../b", "a/./b", ".a", "...",
        ],
    ),
    (
        "percent signs",
        &[
            "%", "%2", "%%", "a%", "%25", "%2525", "%zz", "25", "2", "%zzz", "a%a", "%41", "A",
        ],
    ),
    (
        "ends of the code space",
        &[
            "z\u{e000}",
            "z",
            "z\u{7f}",
            "z\u{10ffff}",
            "z\u{d7ff}",
            "z🦀",
            "z\u{ffff}",
            "z\u{10ffff}z",
            "z\u{10000}",
            "z🦀z",
            "\u{10ffff}",
            "z\u{7f}z",
            "z\u{d7ff}z",
        ],
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_keys_of_a_class_are_all_different() {
        for (name, keys) in classes() {
            let different: BTreeSet<&String> = keys.iter().collect();
            assert_eq!(different.len(), keys.len(), "{name}");
            assert!(keys.len() > 5, "{name}");
        }
    }
}
