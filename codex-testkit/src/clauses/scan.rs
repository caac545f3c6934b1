//! SCAN, and removal by pattern.

mod matching;

use std::{collections::BTreeSet, future::Future, time::Duration};

use codex_traits::{Cursor, ErrorKind, Expiry, KvBackend, Pattern, ScanPage, ScanRequest, SetOptions};

use crate::{
    Harness, OutageKind,
    cases::values::{LARGE, letters},
    context::{Context, Store},
    failure::{Checked, Failure, ensure, ensure_eq, ensure_kind},
};

pub(crate) use matching::{
    scan_09_keys_that_are_not_utf8_are_left_alone, scan_11_a_prefix_matches_by_bytes,
    scan_12_del_matching_removes_what_matched,
};

fn named(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{prefix}{number:05}")).collect()
}

fn refs(keys: &[String]) -> Vec<&str> {
    keys.iter().map(String::as_str).collect()
}

/// Scans page by page, and runs `meanwhile` between pages.
async fn scan_while<B, F, Fut>(
    store: &Store<B>,
    count_hint: usize,
    most_pages: usize,
    mut meanwhile: F,
) -> Checked<BTreeSet<String>>
where
    B: KvBackend,
    F: FnMut(usize) -> Fut,
    Fut: Future<Output = Checked> + Send,
{
    let pattern = Pattern::all();
    let mut found = BTreeSet::new();
    let mut request = ScanRequest::new(&pattern).with_count_hint(count_hint);
    for page_number in 0..most_pages {
        let page = store.scan(request).await?;
        found.extend(page.keys);
        let Some(next) = page.next else {
            return Ok(found);
        };
        meanwhile(page_number).await?;
        request = ScanRequest::new(&pattern).with_count_hint(count_hint).with_cursor(next);
    }
    Err(Failure::Broken(format!(
        "a scan with a hint of {count_hint} did not end in {most_pages} pages"
    )))
}

pub(crate) async fn scan_01_what_stays_is_found_while_others_come_and_go<H: Harness>(cx: &Context<'_, H>) -> Checked {
    const HINT: usize = 25;
    const MOST_PAGES: usize = 20_000;
    // The two kinds of keys are interleaved by name and by hash.
    let names = |from: usize, to: usize, kind: &str| -> Vec<String> {
        (from..to)
            .map(|number| format!("{:05} {kind}", number * 7919 % 100_003))
            .collect()
    };
    let stay = names(0, 1000, "stays");
    let others = names(0, 10_000, "comes and goes");

    // The table grows during the scan.
    let store = cx.store().await;
    store.fill(&stay).await?;
    let mut coming = others.chunks(400);
    let found = scan_while(&store, HINT, MOST_PAGES, |_| {
        let (store, come) = (store.clone(), coming.next());
        async move { store.fill(come.unwrap_or_default()).await }
    })
    .await?;
    has_all(&found, &stay, "while 10,000 keys came")?;

    // The table shrinks: keys before and after the scan's position are removed.
    store.fill(&others).await?;
    let mut going = others.chunks(400);
    let found = scan_while(&store, HINT, MOST_PAGES, |_| {
        let (store, go) = (store.clone(), going.next());
        async move {
            store.del(&refs(go.unwrap_or_default())).await?;
            Ok(())
        }
    })
    .await?;
    has_all(&found, &stay, "while 10,000 keys went")?;

    // The table grows and shrinks, and values are replaced too.
    let store = cx.store().await;
    store.fill(&others[..5000]).await?;
    store.fill(&stay).await?;
    let found = scan_while(&store, HINT, MOST_PAGES, |page| {
        let store = store.clone();
        let at = (page * 100) % 5000;
        let (come, go, rewritten) = (
            &others[5000 + at..5100 + at],
            &others[at..at + 100],
            &stay[at / 5..at / 5 + 20],
        );
        async move {
            store.fill(come).await?;
            store.del(&refs(go)).await?;
            store.fill(rewritten).await
        }
    })
    .await?;
    has_all(&found, &stay, "while 10,000 keys came and went")?;
    what_a_page_shows_is_used(cx).await?;
    two_scans_at_a_time(cx).await
}

/// Scans as most programs do, which read, change or remove what a page shows before they ask for
/// the next page.
async fn what_a_page_shows_is_used<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    let (stay, go) = (named("stays ", 300), named("goes ", 300));
    let alternating: Vec<String> = stay
        .iter()
        .zip(&go)
        .flat_map(|(stay, go)| [stay.clone(), go.clone()])
        .collect();
    store.fill(&alternating).await?;
    let pattern = Pattern::all();
    let mut found = BTreeSet::new();
    let mut request = ScanRequest::new(&pattern).with_count_hint(7);
    for number in 0..4 * alternating.len() {
        let page = store.scan(request).await?;
        let going: Vec<&str> = page
            .keys
            .iter()
            .map(String::as_str)
            .filter(|key| key.starts_with("goes"))
            .collect();
        store.del(&going).await?;
        // Keys that the scan has shown, and keys that it has yet to show.
        let ahead = &stay[number * 11 % stay.len()];
        for key in page
            .keys
            .iter()
            .filter(|key| key.starts_with("stays"))
            .take(2)
            .chain([ahead])
        {
            match number % 4 {
                0 => {
                    store.get(key).await?;
                }
                1 => {
                    store.expire(key, Expiry::After(Duration::from_secs(1000))).await?;
                }
                2 => store.put(key, number.to_string()).await?,
                _ => {
                    let keep = SetOptions::new().with_expiry(Expiry::Keep);
                    store.write(key, "1", keep).await?;
                }
            }
        }
        found.extend(page.keys);
        let Some(next) = page.next else {
            return has_all(
                &found,
                &stay,
                "while what each page showed was read, changed or removed",
            );
        };
        request = ScanRequest::new(&pattern).with_count_hint(7).with_cursor(next);
    }
    Err(Failure::Broken(
        "a scan during which its keys are changed does not end".to_owned(),
    ))
}

/// Advances two scans in turn.
async fn two_scans_at_a_time<H: Harness>(cx: &Context<'_, H>) -> Checked {
    const MOST_PAGES: usize = 4000;
    let store = cx.store().await;
    let keys = named("key ", 500);
    store.fill(&keys).await?;
    let pattern = Pattern::all();
    let mut found = [BTreeSet::new(), BTreeSet::new()];
    let mut cursors = [Some(Cursor::start()), Some(Cursor::start())];
    for number in 0..MOST_PAGES {
        let at = number % 2;
        let Some(cursor) = cursors[at].take() else { continue };
        let request = ScanRequest::new(&pattern)
            .with_count_hint(5 + at * 6)
            .with_cursor(cursor);
        let page = store.scan(request).await?;
        found[at].extend(page.keys);
        cursors[at] = page.next;
    }
    ensure!(
        cursors.iter().all(Option::is_none),
        "two scans at a time of 500 keys did not end in {MOST_PAGES} pages"
    );
    for found in &found {
        has_all(found, &keys, "in one of two scans at a time")?;
    }
    Ok(())
}

fn has_all(found: &BTreeSet<String>, expected: &[String], when: &str) -> Checked {
    let missed = expected.iter().filter(|key| !found.contains(*key)).count();
    ensure!(
        missed == 0,
        "{missed} of {} keys that stayed were not returned {when}",
        expected.len()
    );
    Ok(())
}

pub(crate) async fn scan_02_only_what_is_there_is_returned<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    let stay = named("stays ", 50);
    store.fill(&stay).await?;
    for number in 0..20 {
        store.put_for(&format!("expired {number}"), "v", cx.short()).await?;
        store.put(&format!("removed {number}"), "v").await?;
        ensure_eq!(store.del(&[&format!("removed {number}")]).await?, 1, "del");
    }
    let mut expected: BTreeSet<String> = stay.into_iter().collect();
    // A store may keep large values elsewhere, or in pieces. Each is one key all the same.
    for (key, length) in [("empty", 0), ("large", LARGE), ("larger", 1 << 20)] {
        store.put(key, letters(length, 0)).await?;
        expected.insert(key.to_owned());
    }
    cx.outlive(cx.short()).await;
    for hint in [1, 10, 1000] {
        let found = store.keys(&Pattern::all(), hint).await?;
        ensure_eq!(found, expected, "keys with a hint of {hint}");
    }
    // A scan with a pattern must not return expired keys either.
    ensure_eq!(
        store.keys(&Pattern::prefix("expired"), 10).await?.len(),
        0,
        "expired keys"
    );
    ensure_eq!(
        store.del_matching(&Pattern::prefix("large")).await?,
        2,
        "del_matching of two large values"
    );
    Ok(())
}

pub(crate) async fn scan_03_only_a_page_without_a_cursor_ends_it<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    let hay = named("hay ", 3000);
    let (before, after) = hay.split_at(1500);
    let needles = named("needle ", 5);
    store.fill(before).await?;
    store.fill(&needles).await?;
    store.fill(after).await?;
    let expected: BTreeSet<String> = needles.into_iter().collect();
    // Most pages of these scans are empty.
    for hint in [1, 10, 100] {
        let found = store.keys(&Pattern::prefix("needle "), hint).await?;
        ensure_eq!(found, expected, "keys with a hint of {hint}");
    }
    ensure_eq!(
        store.keys(&Pattern::glob("hay 0*"), 10).await?.len(),
        3000,
        "number of keys, when every page but one has some"
    );
    ensure_eq!(
        store.del_matching(&Pattern::prefix("needle ")).await?,
        5,
        "del_matching of a few among many"
    );
    ensure_eq!(
        store.keys(&Pattern::all(), 1000).await?.len(),
        3000,
        "number of keys left"
    );
    Ok(())
}

pub(crate) async fn scan_04_it_ends_while_keys_are_added<H: Harness>(cx: &Context<'_, H>) -> Checked {
    const ADDED: usize = 10_000;
    let start = named("key ", 500);
    // Added after all other keys, before them, and in between.
    for prefix in ["zzz ", "aaa ", "key 00100 "] {
        let store = cx.store().await;
        store.fill(&start).await?;
        let added = named(prefix, ADDED);
        let mut adding = added.chunks(20);
        // Even one page per key is within the limit.
        let most_pages = start.len() + ADDED + 1;
        let found = scan_while(&store, 10, most_pages, |_| {
            let (store, add) = (store.clone(), adding.next());
            async move { store.fill(add.unwrap_or_default()).await }
        })
        .await?;
        has_all(&found, &start, "while keys were added")?;
    }
    Ok(())
}

pub(crate) async fn scan_05_the_count_is_a_hint<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    let pattern = Pattern::all();
    let zero = || ScanRequest::new(&pattern).with_count_hint(0);
    ensure_kind(
        store.scan(zero()).await,
        ErrorKind::InvalidArgument,
        "scan of nothing with a hint of 0",
    )?;
    let keys = named("key ", 5000);
    store.fill(&keys).await?;
    ensure_kind(
        store.scan(zero()).await,
        ErrorKind::InvalidArgument,
        "scan with a hint of 0",
    )?;

    let expected: BTreeSet<String> = keys.into_iter().collect();
    // The last ones are zero if they are cut to 16 or to 32 bits.
    let wide = usize::try_from(1_u64 << 32).unwrap_or(usize::MAX);
    for hint in [1, 7, 100, 5000, 1_000_000, usize::MAX, 1 << 16, wide] {
        let mut found = BTreeSet::new();
        let mut longest = 0;
        let pages = store
            .walk(&pattern, hint, |page: ScanPage| {
                longest = longest.max(page.keys.len());
                found.extend(page.keys);
            })
            .await?;
        ensure!(
            found == expected,
            "a scan with a hint of {hint} found {} of 5,000 keys",
            found.len()
        );
        // The factor allows for stores that return a whole bucket or node.
        let most = hint.saturating_mul(20).max(200);
        ensure!(
            longest <= most,
            "a scan with a hint of {hint} has a page of {longest} keys; at most {most} are expected"
        );
        ensure!(hint > 100 || pages > 1, "a scan with a hint of {hint} is one page");
    }
    hints_can_change(&store, &expected).await
}

/// Scans with another hint for each page.
async fn hints_can_change<B: KvBackend>(store: &Store<B>, expected: &BTreeSet<String>) -> Checked {
    let pattern = Pattern::all();
    let mut found = BTreeSet::new();
    let mut request = ScanRequest::new(&pattern).with_count_hint(100);
    for hint in [1, 250, 30, 7, 400, 90].into_iter().cycle().take(2 * expected.len()) {
        let page = store.scan(request).await?;
        found.extend(page.keys);
        let Some(next) = page.next else {
            ensure!(
                found == *expected,
                "a scan with another hint for each page found {} of {} keys",
                found.len(),
                expected.len()
            );
            return Ok(());
        };
        let zero = ScanRequest::new(&pattern).with_count_hint(0).with_cursor(next.clone());
        ensure_kind(
            store.scan(zero).await,
            ErrorKind::InvalidArgument,
            "scan of a later page with a hint of 0",
        )?;
        request = ScanRequest::new(&pattern).with_count_hint(hint).with_cursor(next);
    }
    Err(Failure::Broken(
        "a scan with another hint for each page does not end".to_owned(),
    ))
}

pub(crate) async fn scan_06_a_cursor_is_text<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    let keys = named("key ", 500);
    store.fill(&keys).await?;
    let all: BTreeSet<String> = keys.into_iter().collect();
    // Also through another handle, if the harness provides one.
    let second = cx.harness.reopen(store.backend()).map(|backend| cx.adopt(backend));
    for reader in std::iter::once(&store).chain(&second) {
        let found = walk_by_text(&store, reader, None).await?;
        ensure!(
            found == all,
            "a scan resumed from text found {} of {} keys",
            found.len(),
            all.len()
        );
    }

    let pattern = Pattern::all();
    let first = store.scan(ScanRequest::new(&pattern).with_count_hint(10)).await?;
    if let Some(cursor) = &first.next {
        // A cursor that was written down is good later too, and again if an answer was lost.
        if cx.virtual_time().is_some() {
            cx.pass(Duration::from_secs(3600)).await;
        }
        for time in ["the first", "the second"] {
            resumes(&store, &first.keys, cursor, &all, time).await?;
        }
    }
    let genuine = first.next.map(|cursor| cursor.to_string()).unwrap_or_default();
    let mut made_up: Vec<String> = [
        "0",
        "1",
        "-1",
        "00",
        "1.5",
        "+1",
        "abc",
        "!",
        "cursor",
        "null",
        "None",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "340282366920938463463374607431768211456",
        "0:0",
        "1:1",
        "a:b:c",
        ":",
        "::",
        "/",
        "../..",
        "{}",
        "{\"a\":1}",
        "%00",
        "ffffffffffffffff",
        "zzzz",
        "==",
        "AAAA",
        "'",
        "\"",
        "*",
    ]
    .map(str::to_owned)
    .into();
    made_up.push("9".repeat(Cursor::MAX_LEN));
    made_up.push(format!("{genuine}0"));
    made_up.push(format!("{genuine}{genuine}"));
    made_up.push(genuine.chars().rev().collect());
    for end in 1..genuine.len() {
        made_up.push(genuine[..end].to_owned());
    }
    for at in 0..genuine.len() {
        for with in ["0", "9", "z", ":"] {
            made_up.push(format!("{}{with}{}", &genuine[..at], &genuine[at + 1..]));
        }
    }
    for text in made_up {
        let Ok(cursor) = text.parse::<Cursor>() else {
            continue; // not valid as the text of a cursor, so no store ever sees it
        };
        let found = walk_by_text(&store, &store, Some(cursor)).await?;
        ensure!(
            found.is_subset(&all),
            "the made-up cursor {text:?} found keys that were never there"
        );
    }
    Ok(())
}

/// Resumes a scan from the cursor of its first page, for the first or the second `time`.
async fn resumes<B: KvBackend>(
    store: &Store<B>,
    first: &[String],
    cursor: &Cursor,
    all: &BTreeSet<String>,
    time: &str,
) -> Checked {
    let pattern = Pattern::all();
    let mut found: BTreeSet<String> = first.iter().cloned().collect();
    let mut request = ScanRequest::new(&pattern)
        .with_count_hint(10)
        .with_cursor(cursor.clone());
    for _ in 0..2 * all.len() {
        let page = store.scan(request).await?;
        found.extend(page.keys);
        let Some(next) = page.next else { break };
        request = ScanRequest::new(&pattern).with_count_hint(10).with_cursor(next);
    }
    ensure!(
        found == *all,
        "a scan that is resumed from one cursor, {time} time: found {} of {} keys",
        found.len(),
        all.len()
    );
    Ok(())
}

/// Scans from `cursor`, or from the beginning. Every cursor is printed and parsed again, and
/// `writer` and `reader` take turns. A made-up cursor may be refused.
async fn walk_by_text<B: KvBackend>(
    writer: &Store<B>,
    reader: &Store<B>,
    cursor: Option<Cursor>,
) -> Checked<BTreeSet<String>> {
    const MOST_PAGES: usize = 2000;
    let pattern = Pattern::all();
    let made_up = cursor.is_some();
    let mut cursor = cursor.unwrap_or_default();
    let mut found = BTreeSet::new();
    for page_number in 0..MOST_PAGES {
        let store = if page_number % 2 == 0 { writer } else { reader };
        let request = ScanRequest::new(&pattern)
            .with_count_hint(10)
            .with_cursor(cursor.clone());
        let page = match store.scan(request).await {
            Err(error) if made_up && error.kind() == ErrorKind::InvalidArgument => return Ok(found),
            page => page?,
        };
        found.extend(page.keys);
        let Some(next) = page.next else {
            return Ok(found);
        };
        cursor = next.to_string().parse()?;
        ensure!(
            cursor == next,
            "a cursor is not the same when it is read back from its text"
        );
    }
    Err(Failure::Broken(format!(
        "{} did not end in {MOST_PAGES} pages",
        if made_up {
            "a scan from a made-up cursor"
        } else {
            "a scan of 500 keys"
        }
    )))
}

pub(crate) async fn scan_07_abandoned_scans_leak_nothing<H: Harness>(cx: &Context<'_, H>) -> Checked {
    const BATCHES: usize = 10;
    /// Less than the leak of a batch at 32 bytes per scan.
    const FLAT: u64 = 256 * 1024;
    /// More than any store of a thousand keys needs.
    const ENOUGH: u64 = 512 << 20;
    let store = cx.store().await;
    let keys = named("key ", 1000);
    store.fill(&keys).await?;
    let pattern = Pattern::all();
    let begun = store.scan(ScanRequest::new(&pattern).with_count_hint(10)).await?;
    // 100,000 scans, or 10,000 on a real server, where each scan is a round trip.
    let batch = if cx.virtual_time().is_some() { 10_000 } else { 1_000 };
    let before = abandon(cx, &store, batch).await?;
    let mut last = before;
    let mut flat = 0;
    for _ in 0..BATCHES {
        let now = abandon(cx, &store, batch).await?;
        let grown = now.saturating_sub(last);
        flat += usize::from(grown < FLAT);
        last = now;
        ensure!(
            now.saturating_sub(before) < ENOUGH,
            "memory grew by {} MiB",
            now.saturating_sub(before) >> 20
        );
    }
    // Other tests may share the process, so its memory can grow for other reasons. Only a leak
    // grows it in every batch.
    for _ in 0..50 {
        if flat > 0 {
            break;
        }
        crate::runtime::sleep(std::time::Duration::from_millis(100)).await;
        let start = abandon(cx, &store, 0).await?;
        let now = abandon(cx, &store, batch).await?;
        flat += usize::from(now.saturating_sub(start) < FLAT);
        ensure!(
            now.saturating_sub(before) < ENOUGH,
            "memory grew by {} MiB",
            now.saturating_sub(before) >> 20
        );
    }
    ensure!(
        flat > 0,
        "memory grew by {} KiB and more with every {batch} abandoned scans",
        FLAT >> 10
    );
    ensure_eq!(
        store.keys(&Pattern::all(), 10).await?.len(),
        1000,
        "number of keys afterwards"
    );
    // The abandoned scans have not displaced the one that began before them.
    let mut found: BTreeSet<String> = begun.keys.into_iter().collect();
    let mut next = begun.next;
    for _ in 0..4 * keys.len() {
        let Some(cursor) = next else { break };
        let page = store
            .scan(ScanRequest::new(&pattern).with_count_hint(10).with_cursor(cursor))
            .await?;
        found.extend(page.keys);
        next = page.next;
    }
    has_all(&found, &keys, "in a scan that began before the abandoned ones")
}

/// Begins `count` scans, abandons them after their first page, and returns the memory in use
/// afterwards.
async fn abandon<H: Harness>(cx: &Context<'_, H>, store: &Store<H::Backend>, count: usize) -> Checked<u64> {
    let pattern = Pattern::all();
    for _ in 0..count {
        let page = store.scan(ScanRequest::new(&pattern).with_count_hint(10)).await?;
        ensure!(
            page.next.is_some(),
            "a scan of 1,000 keys with a hint of 10 is one page"
        );
    }
    let memory = cx.harness.memory_in_use(store.backend()).await;
    memory.ok_or(Failure::NotApplicable("the harness cannot report the memory in use"))
}

pub(crate) async fn scan_08_an_empty_store_is_one_empty_page<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    for pattern in [Pattern::all(), Pattern::glob(""), Pattern::prefix("x")] {
        for hint in [1, 1000] {
            let page = store.scan(ScanRequest::new(&pattern).with_count_hint(hint)).await?;
            ensure_eq!(page.keys, [""; 0], "keys of an empty store");
            ensure!(page.next.is_none(), "the first page of an empty store has a cursor");
        }
        ensure_eq!(store.del_matching(&pattern).await?, 0, "del_matching in an empty store");
    }
    Ok(())
}

pub(crate) async fn scan_10_across_every_node<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    let keys = named("key ", 3000);
    store.fill(&keys).await?;
    let expected: BTreeSet<String> = keys.into_iter().collect();
    let found = store.keys(&Pattern::all(), 100).await?;
    ensure!(
        found == expected,
        "a scan of the cluster found {} of 3,000 keys",
        found.len()
    );

    let outage = cx.outage().await;
    let Some(outage) = outage.filter(|outage| outage.kinds().contains(&OutageKind::NodeDown)) else {
        return Err(Failure::NotApplicable(
            "the harness cannot take one node of the cluster away",
        ));
    };
    outage.begin(OutageKind::NodeDown).await;
    let found = store.keys(&Pattern::all(), 100).await;
    let removed = store.del_matching(&Pattern::prefix("key ")).await;
    outage.end().await;
    ensure!(
        found.is_err(),
        "with one node down, a scan found {} of 3,000 keys and no error",
        found.map_or(0, |found| found.len())
    );
    ensure!(removed.is_err(), "with one node down, del_matching gave no error");
    Ok(())
}
