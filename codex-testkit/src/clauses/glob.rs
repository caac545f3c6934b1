//! Redis's glob, through `scan` and `del_matching`.

use std::{collections::BTreeSet, pin::pin, time::Duration};

use codex_traits::{KvBackend, Pattern};
use futures_util::future::{Either, select};
use tokio::runtime::Handle;

use crate::{
    Harness,
    context::Context,
    failure::{Checked, Failure, ensure_eq},
    runtime::{join, runtime, sleep},
};

/// Checks that each pattern matches exactly its listed `keys`, in a scan and in a removal.
async fn matches<H: Harness>(cx: &Context<'_, H>, keys: &[&str], table: &[(&[u8], &[&str])]) -> Checked {
    let store = cx.store().await;
    let all: BTreeSet<String> = keys.iter().map(|key| (*key).to_owned()).collect();
    store.fill(&all).await?;
    for (glob, matching) in table {
        let (pattern, shown) = (Pattern::glob(glob), glob.escape_ascii());
        let expected: BTreeSet<String> = matching.iter().map(|key| (*key).to_owned()).collect();
        ensure_eq!(
            store.keys(&pattern, 100).await?,
            expected,
            "keys that match \"{shown}\""
        );
        ensure_eq!(
            store.del_matching(&pattern).await?,
            expected.len() as u64,
            "number of keys that del_matching removed for \"{shown}\""
        );
        let left: BTreeSet<String> = all.difference(&expected).cloned().collect();
        ensure_eq!(
            store.keys(&Pattern::all(), 100).await?,
            left,
            "keys that del_matching left for \"{shown}\""
        );
        store.fill(&expected).await?;
    }
    Ok(())
}

pub(crate) async fn glob_01_star_and_question_mark<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let keys = [
        "a", "ab", "abc", "abbc", "ac", "b", "é", "aé", "éb", "日", "AB", "", "a\nb",
    ];
    matches(
        cx,
        &keys,
        &[
            (b"a*", &["a", "ab", "abc", "abbc", "ac", "aé", "a\nb"]),
            (b"*b", &["ab", "b", "éb", "a\nb"]),
            (b"a*c", &["abc", "abbc", "ac"]),
            (b"*b*", &["ab", "abc", "abbc", "b", "éb", "a\nb"]),
            (b"a**c", &["abc", "abbc", "ac"]),
            (b"a*b*c", &["abc", "abbc"]),
            (b"?", &["a", "b"]),
            (b"??", &["ab", "ac", "é", "AB"]),
            (b"a?", &["ab", "ac"]),
            (b"a?c", &["abc"]),
            (b"a??", &["abc", "aé", "a\nb"]),
            (b"???", &["abc", "aé", "éb", "日", "a\nb"]),
            (b"?*?c", &["abc", "abbc"]),
            (
                b"?*",
                &["a", "ab", "abc", "abbc", "ac", "b", "é", "aé", "éb", "日", "AB", "a\nb"],
            ),
            (b"ab", &["ab"]),
            (b"AB", &["AB"]),
        ],
    )
    .await?;
    // The parts between stars do not overlap, and come in order.
    let keys = [
        "a", "aa", "ab", "abc", "abbc", "abcbc", "aba", "ababa", "abaaba", "axyc", "ayxc", "axbyc",
    ];
    matches(
        cx,
        &keys,
        &[
            (b"ab*bc", &["abbc", "abcbc"]),
            (b"aba*aba", &["abaaba"]),
            (b"a*a", &["aa", "aba", "ababa", "abaaba"]),
            (b"*ab*ba*", &["ababa", "abaaba"]),
            (b"a*x*y*c", &["axyc", "axbyc"]),
        ],
    )
    .await
}

pub(crate) async fn glob_02_classes_and_ranges<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let keys = [
        "hallo", "hbllo", "hcllo", "hdllo", "hello", "hAllo", "hllo", "haello", "h-llo",
    ];
    matches(
        cx,
        &keys,
        &[
            (b"h[ae]llo", &["hallo", "hello"]),
            (b"h[a-c]llo", &["hallo", "hbllo", "hcllo"]),
            (b"h[c-a]llo", &["hallo", "hbllo", "hcllo"]),
            (b"h[b-b]llo", &["hbllo"]),
            (b"h[a-bd-e]llo", &["hallo", "hbllo", "hdllo", "hello"]),
            // A range does not continue: `-` and `e` are two more bytes.
            (b"h[a-c-e]llo", &["hallo", "hbllo", "hcllo", "hello", "h-llo"]),
            (b"h[A-Z]llo", &["hAllo"]),
            (b"h[a][e]llo", &["haello"]),
            (b"[f-h]*", &keys),
        ],
    )
    .await
}

pub(crate) async fn glob_03_negated_classes<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let keys = ["hallo", "hello", "h!llo", "h^llo", "hbllo", "hllo", "heello"];
    matches(
        cx,
        &keys,
        &[
            (b"h[^e]llo", &["hallo", "h!llo", "h^llo", "hbllo"]),
            (b"h[!e]llo", &["hello", "h!llo"]),
            (b"h[a^]llo", &["hallo", "h^llo"]),
            (b"h[^a-e]llo", &["h!llo", "h^llo"]),
            (b"h[^c-a]llo", &["hello", "h!llo", "h^llo"]),
            (b"h[^^]llo", &["hallo", "hello", "h!llo", "hbllo"]),
            // No byte is excluded, so any byte matches.
            (b"h[^]llo", &["hallo", "hello", "h!llo", "h^llo", "hbllo"]),
            (b"h[^e][^a]llo", &[]),
            (b"h[^x][^x]llo", &["heello"]),
        ],
    )
    .await
}

pub(crate) async fn glob_04_a_bracket_can_end_a_range<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let keys = [
        "hallo", "ha", "hl", "ho", "h^", "h]", "h_", "h`", "ha]", "hb", "hz", "h-", "h\\", "hA", "-", "a", "b", "-llo",
        "h-llo",
    ];
    // `a-]` is the range from `]` to `a`. The class continues after it and ends with the pattern.
    matches(
        cx,
        &keys,
        &[
            (b"h[a-]llo", &["ha", "hl", "ho", "h^", "h]", "h_", "h`"]),
            (b"[-a]", &["-", "a"]),
            (b"[-a]llo", &["-llo"]),
            (b"h[-a]llo", &["hallo", "h-llo"]),
            (b"[a-", &["-", "a"]),
        ],
    )
    .await?;
    // A dash can end a range too.
    matches(cx, &["h+", "h,", "h-", "h.", "h]"], &[(b"h[+--]", &["h+", "h,", "h-"])]).await
}

pub(crate) async fn glob_05_empty_and_unclosed_classes<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let keys = ["", "a", "b", "c", "d", "[", "]", "[]", "a[", "ab", "[abc", "a]", "^"];
    matches(
        cx,
        &keys,
        &[
            (b"[]", &[]),
            (b"[]a", &[]),
            (b"a[]", &[]),
            (b"[abc", &["a", "b", "c"]),
            (b"[a-c", &["a", "b", "c"]),
            (b"[^abc", &["d", "[", "]", "^"]),
            (b"a[", &[]),
            (b"[", &[]),
            (b"[^", &["a", "b", "c", "d", "[", "]", "^"]),
            (b"[^]", &["a", "b", "c", "d", "[", "]", "^"]),
            (b"]", &["]"]),
            (b"a]", &["a]"]),
            // As in Redis, and not as in POSIX: `]` ends the class also at its beginning, and there
            // are no named classes.
            (b"[]a]", &[]),
            (b"[^]a]", &[]),
            (b"[[:alpha:]]", &["[]", "a]"]),
        ],
    )
    .await
}

pub(crate) async fn glob_06_escapes<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let keys = [
        "*", "a", "a*", "ab", "]", "[", "[a]", "-", "b", "c", "\\", "a\\", "a\\b", "\\*", "?", "^", "\\a", "n", "\n",
    ];
    matches(
        cx,
        &keys,
        &[
            (b"\\*", &["*"]),
            (b"a\\*", &["a*"]),
            (b"\\?", &["?"]),
            (b"[a\\]]", &["a", "]"]),
            (b"[\\a-c]", &["a", "-", "c"]),
            (b"[\\^a]", &["^", "a"]),
            (b"[\\]]", &["]"]),
            (b"\\[a\\]", &["[a]"]),
            (b"\\[", &["["]),
            (b"\\\\", &["\\"]),
            (b"a\\", &["a\\"]),
            (b"\\", &["\\"]),
            (b"\\a", &["a"]),
            (b"\\n", &["n"]),
            (b"a\\\\b", &["a\\b"]),
            (b"\\\\\\*", &["\\*"]),
            (b"[\\", &["\\"]),
            (b"[\\\\]", &["\\"]),
            // A backslash that ends a range is itself.
            (b"[a-\\c]", &["a", "]", "^", "\\", "c"]),
        ],
    )
    .await
}

pub(crate) async fn glob_07_the_empty_pattern_and_the_lone_star<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let keys = ["", "a", " ", "\0", "*", "é", "a/b", ".a"];
    matches(
        cx,
        &keys,
        &[
            (b"", &[""]),
            (b"*", &keys),
            // Redis's matcher rejects an empty text. SCAN handles a lone `*` before it calls the
            // matcher.
            (b"**", &["a", " ", "\0", "*", "é", "a/b", ".a"]),
            (b"?", &["a", " ", "\0", "*"]),
        ],
    )
    .await
}

pub(crate) async fn glob_08_every_other_byte_is_itself<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let keys = [
        "{a,b}", "a", "b", "\0", "a\0b", "a\0c", "é", "è", "ê", "ÿ", "日本", "日木", "+(a)", "aa", "a|b", "a.b", "axb",
        "(a)", "$", "^a",
    ];
    matches(
        cx,
        &keys,
        &[
            (b"{a,b}", &["{a,b}"]),
            (b"+(a)", &["+(a)"]),
            (b"(a)", &["(a)"]),
            (b"a|b", &["a|b"]),
            (b"a.b", &["a.b"]),
            (b"$", &["$"]),
            (b"^a", &["^a"]),
            (b"a\0b", &["a\0b"]),
            (b"a\0*", &["a\0b", "a\0c"]),
            (b"\0", &["\0"]),
            (b"[\0]", &["\0"]),
            (b"\xc3\xa9", &["é"]),
            (b"\xc3?", &["é", "è", "ê", "ÿ"]),
            (b"\xc3*", &["é", "è", "ê", "ÿ"]),
            // A class consists of bytes, so each of the two bytes of `é` needs a class.
            (b"[\xc3\xa9]", &[]),
            (b"[\xc3][\xa8-\xaa]", &["é", "è", "ê"]),
            (b"\xc3[^\xa9]", &["è", "ê", "ÿ"]),
            (b"*\xac", &["日本"]),
            (b"*\xff", &[]),
        ],
    )
    .await
}

/// A thousand times what a sound matcher needs on a slow machine.
const AT_ONCE: Duration = Duration::from_secs(10);

pub(crate) async fn glob_09_many_stars_answer_at_once<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let (long, hit) = ("a".repeat(300), format!("{}b", "a".repeat(300)));
    let mut many = b"a*".repeat(20);
    many.push(b'b');
    let table = [
        (many, vec![hit.clone()]),
        (b"*a".repeat(20), vec![long.clone()]),
        (b"*?".repeat(40), vec![long.clone(), hit.clone()]),
    ];
    let store = cx.store().await;
    if let Some(reason) = cx.harness.avoids_many_stars(store.backend()).await {
        return Err(Failure::Avoided(reason));
    }
    store.fill(&[long, hit, "aab".to_owned(), "b".to_owned()]).await?;
    for (glob, expected) in table {
        let (pattern, store) = (Pattern::glob(&glob), store.clone());
        let expected: BTreeSet<String> = expected.into_iter().collect();
        // On a separate thread, because backtracking into every star takes years.
        let keys = move || Handle::current().block_on(store.keys(&pattern, 100));
        let found = pin!(join(runtime().spawn_blocking(keys)));
        let Either::Left((found, _)) = select(found, pin!(sleep(AT_ONCE))).await else {
            return Err(Failure::Broken(format!(
                "\"{}\" has no answer in {AT_ONCE:?}",
                glob.escape_ascii()
            )));
        };
        ensure_eq!(found?, expected, "keys that match \"{}\"", glob.escape_ascii());
    }
    Ok(())
}
