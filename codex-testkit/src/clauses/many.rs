//! Calls with many keys.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use codex_traits::{Capability, Expiry, KvBackend, Pattern, Ttl, parse_integer};

use super::matrix::set_manys;
use crate::{
    Foreign, Harness,
    cases::{
        lists::{self, COUNTS, FEW_COUNTS},
        values::{LARGE, letters},
    },
    context::{Context, Store},
    failure::{Checked, Failure, ensure, ensure_eq, ensure_same},
    runtime::{Contest, join, race, spawn},
};

#[expect(clippy::unnecessary_wraps, reason = "answers are options")]
fn value(text: &'static str) -> Option<Bytes> {
    Some(Bytes::from_static_str(text))
}

pub(crate) async fn many_01_answers_in_the_order_asked<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    for key in ["a", "b", "c", ""] {
        store.put(key, format!("value of {key}")).await?;
    }
    let got = store.get_many(&["c", "x", "a", "c", "", "y", "b", "x", "a"]).await?;
    let expected = [
        value("value of c"),
        None,
        value("value of a"),
        value("value of c"),
        value("value of "),
        None,
        value("value of b"),
        None,
        value("value of a"),
    ];
    ensure_eq!(got, expected, "get_many of c x a c \"\" y b x a");
    ensure_eq!(store.get_many(&["x"]).await?, [None], "get_many of one missing key");
    ensure_eq!(
        store.get_many(&["x", "x"]).await?,
        [None, None],
        "get_many of a missing key twice"
    );
    for count in COUNTS {
        Box::pin(are_in_order(cx, count)).await?;
    }
    // Large values may arrive later than small values.
    let (one, two) = (letters(LARGE, 1), letters(LARGE, 2));
    store.put("one", one.clone()).await?;
    store.put("two", two.clone()).await?;
    let got = store.get_many(&["one", "a", "x", "two", "b", "one"]).await?;
    let expected = [
        Some(one.clone()),
        value("value of a"),
        None,
        Some(two),
        value("value of b"),
        Some(one),
    ];
    ensure_eq!(got.len(), 6, "number of answers of get_many of large and small values");
    for (at, (got, expected)) in got.iter().zip(&expected).enumerate() {
        let what = format!("get_many of large and small values, answer {at}");
        ensure_same(got.as_ref(), expected.as_ref(), &what)?;
    }
    Ok(())
}

/// Checks `get_many` of `count` keys, every third of which is missing, in a list that names many
/// keys twice.
async fn are_in_order<H: Harness>(cx: &Context<'_, H>, count: usize) -> Checked {
    let store = cx.store().await;
    let other = cx.second(&store);
    let keys = lists::keys("key", count);
    store
        .fill(
            keys.iter()
                .enumerate()
                .filter(|(at, _)| at % 3 != 1)
                .map(|(_, key)| key),
        )
        .await?;
    // Exactly as many keys as `count` says, and then a list that names many of them twice.
    for places in [(0..count).collect(), lists::with_duplicates(count)] {
        answers_match(&other, &keys, places).await?;
    }
    Ok(())
}

/// Checks `get_many` of the keys at `places`, every third of which is missing.
async fn answers_match<B: KvBackend>(store: &Store<B>, keys: &[String], places: Vec<usize>) -> Checked {
    let count = keys.len();
    let asked: Vec<&str> = places.iter().map(|at| keys[*at].as_str()).collect();
    let got = store.get_many(&asked).await?;
    ensure_eq!(
        got.len(),
        asked.len(),
        "number of answers of get_many of {} places",
        asked.len()
    );
    for (place, (at, got)) in places.into_iter().zip(got).enumerate() {
        let expected = (at % 3 != 1).then(|| Bytes::copy_from_slice(keys[at].as_bytes()));
        let what = format!("get_many of {} places, {count} different, answer {place}", asked.len());
        ensure_same(got.as_ref(), expected.as_ref(), &what)?;
    }
    Ok(())
}

pub(crate) async fn many_02_nothing_asked_is_nothing_done<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    store.put("", "v").await?;
    ensure_eq!(store.get_many(&[]).await?, [], "get_many of no keys");
    store.set_many(&[], Expiry::Never).await?;
    store.set_many(&[], Expiry::After(Duration::from_secs(1))).await?;
    store.set_many(&[], Expiry::Keep).await?;
    store.holds("", "v").await?;
    store.is_persistent("").await?;
    ensure_eq!(store.keys(&Pattern::all(), 10).await?.len(), 1, "number of keys");
    Ok(())
}

pub(crate) async fn many_03_set_many_writes_all_with_one_expiry<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    let ttl = Duration::from_secs(100);
    let old = store.put_for("old", "0", Duration::from_secs(50)).await?;
    store.put("other", "0").await?;
    let entries = ["1", "2", "3", "4", "5"].map(Bytes::from_static_str);
    let entries: Vec<(&str, Bytes)> = ["a", "twice", "b", "twice", "old"].into_iter().zip(entries).collect();
    let expected = [("a", "1"), ("b", "3"), ("twice", "4"), ("old", "5")];

    store.set_many(&entries, Expiry::Keep).await?;
    for (key, value) in expected {
        store.holds(key, value).await?;
    }
    store.has_ttl("old", Duration::from_secs(50), old).await?;
    for key in ["a", "b", "twice"] {
        store.is_persistent(key).await?;
    }

    let ((), set) = store.timed(store.set_many(&entries, Expiry::After(ttl))).await?;
    for (key, value) in expected {
        store.holds(key, value).await?;
        store.has_ttl(key, ttl, set).await?;
    }
    store.set_many(&entries, Expiry::Never).await?;
    for (key, value) in expected {
        store.holds(key, value).await?;
        store.is_persistent(key).await?;
    }
    store.holds("other", "0").await?;
    ensure_eq!(store.keys(&Pattern::all(), 10).await?.len(), 5, "number of keys");
    Box::pin(set_manys(cx)).await?;
    for count in COUNTS {
        Box::pin(all_are_written(cx, count)).await?;
    }
    callers_do_not_block_each_other(cx).await
}

/// Checks calls of several tasks on the same keys in opposite orders. A store that locks the keys
/// in the order given deadlocks.
async fn callers_do_not_block_each_other<H: Harness>(cx: &Context<'_, H>) -> Checked {
    const TASKS: usize = 4;
    const ROUNDS: usize = 100;
    let store = cx.store().await;
    let handles = [store.clone(), cx.second(&store)];
    // Beyond the deadline of a call, because a remote store waits for locks on the server.
    let patience = cx.deadline() + Duration::from_secs(3);
    let keys = lists::keys("contended", 8);
    let racing = keys.clone();
    // The other rounds would wait as long.
    let is_blocked = Arc::new(AtomicBool::new(false));
    race(TASKS, ROUNDS, move |task, round| {
        let (store, is_blocked) = (handles[task % 2].clone(), is_blocked.clone());
        let mut keys = racing.clone();
        async move {
            if is_blocked.load(Ordering::SeqCst) {
                return Ok(());
            }
            if task >= TASKS / 2 {
                keys.reverse();
            }
            let names: Vec<&str> = keys.iter().map(String::as_str).collect();
            let value = Bytes::from(task.to_string());
            let entries: Vec<(&str, Bytes)> = names.iter().map(|key| (*key, value.clone())).collect();
            let calls = async {
                store.set_many(&entries, Expiry::Never).await?;
                if round % 2 == 0 {
                    store.del(&names).await?;
                } else {
                    store.get_many(&names).await?;
                }
                Checked::Ok(())
            };
            tokio::time::timeout(patience, calls).await.map_err(|_| {
                is_blocked.store(true, Ordering::SeqCst);
                Failure::Broken(format!(
                    "set_many, del and get_many of {TASKS} tasks on the same keys, in opposite orders, do not end"
                ))
            })?
        }
    })
    .await?;
    let names: Vec<&str> = keys.iter().map(String::as_str).collect();
    let left = store.get_many(&names).await?;
    ensure_eq!(
        left.iter().flatten().count(),
        names.len(),
        "number of keys that were written"
    );
    Ok(())
}

/// Checks that `set_many` writes each of `count` entries, including the last, with its expiry.
async fn all_are_written<H: Harness>(cx: &Context<'_, H>, count: usize) -> Checked {
    let store = cx.store().await;
    let other = cx.second(&store);
    let keys = lists::keys("key", count);
    let entries: Vec<(&str, Bytes)> = keys
        .iter()
        .map(|key| (key.as_str(), Bytes::copy_from_slice(key.as_bytes())))
        .collect();
    let ttl = Duration::from_secs(100);
    for expiry in [Expiry::After(ttl), Expiry::Keep, Expiry::Never] {
        let ((), written) = store.timed(store.set_many(&entries, expiry)).await?;
        let names: Vec<&str> = keys.iter().map(String::as_str).collect();
        let got = other.get_many(&names).await?;
        let lost = got
            .iter()
            .zip(&entries)
            .position(|(got, (_, value))| got.as_ref() != Some(value));
        ensure!(
            lost.is_none() && got.len() == count,
            "set_many of {count} entries with {expiry:?}: entry {lost:?} is not there, of {} answers",
            got.len()
        );
        let ends = keys
            .iter()
            .take(2)
            .chain(keys.get(count / 2))
            .chain(keys.iter().rev().take(2));
        for key in ends {
            match expiry {
                Expiry::Never => other.is_persistent(key).await?,
                Expiry::After(_) => other.has_ttl(key, ttl, written).await?,
                // The values from the previous round.
                Expiry::Keep => ensure!(
                    matches!(other.ttl(key).await?, Ttl::Remaining(left) if left <= ttl && left > ttl / 2),
                    "set_many of {count} entries with Keep drops or changes the TTL of {key:?}"
                ),
            }
        }
    }
    // Every entry has its time to live, not only those whose rest was read.
    if count > 100 {
        store.set_many(&entries, Expiry::After(cx.short())).await?;
        cx.outlive(cx.short()).await;
        let names: Vec<&str> = keys.iter().map(String::as_str).collect();
        let got = other.get_many(&names).await?;
        let stays = got.iter().position(Option::is_some);
        ensure!(
            stays.is_none(),
            "set_many of {count} entries for {:?}: entry {stays:?} is still there afterwards",
            cx.short()
        );
    }
    Ok(())
}

/// `Bytes::from_static` for text, as a function that `map` accepts.
trait FromStaticStr {
    fn from_static_str(text: &'static str) -> Self;
}

impl FromStaticStr for Bytes {
    fn from_static_str(text: &'static str) -> Self {
        Self::from_static(text.as_bytes())
    }
}

pub(crate) async fn many_04_ten_thousand_keys_in_one_call<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    let keys: Vec<String> = (0..10_000).map(|number| format!("{{{number}}} key")).collect();
    let entries: Vec<(&str, Bytes)> = keys
        .iter()
        .enumerate()
        .filter(|(number, _)| number % 10 != 0)
        .map(|(_, key)| (key.as_str(), Bytes::copy_from_slice(key.as_bytes())))
        .collect();
    store.set_many(&entries, Expiry::Never).await?;
    let asked: Vec<&str> = keys.iter().map(String::as_str).collect();
    let got = store.get_many(&asked).await?;
    ensure_eq!(got.len(), 10_000, "number of answers");
    for (number, (key, got)) in keys.iter().zip(got).enumerate() {
        let expected = (number % 10 != 0).then(|| Bytes::copy_from_slice(key.as_bytes()));
        ensure_eq!(got, expected, "answer for key {number}");
    }
    Ok(())
}

pub(crate) async fn many_05_every_value_was_there_at_some_moment<H: Harness>(cx: &Context<'_, H>) -> Checked {
    const WRITES: u64 = 3000;
    /// More keys than most stores take in one step.
    const LONG_LIST: usize = 1100;
    let store = cx.store().await;
    let snapshot = store.capabilities().contains(Capability::AtomicMany);
    store.put("first", "0").await?;
    store.put("second", "0").await?;
    // `begun` is raised before either key is written, and `done` after both are, so that a reader
    // knows the range in which it must find the numbers.
    let begun = Arc::new(AtomicU64::new(0));
    let done = Arc::new(AtomicU64::new(0));
    let stopped = Arc::new(AtomicBool::new(false));
    let overlaps = Arc::new(AtomicU64::new(0));
    let contest = Contest::of(WRITES);
    let writer = spawn({
        let (store, begun, done, stopped) = (store.clone(), begun.clone(), done.clone(), stopped.clone());
        let overlaps = overlaps.clone();
        async move {
            let mut checked = Ok(());
            for number in 1.. {
                if contest.is_decided(number - 1, overlaps.load(Ordering::SeqCst)) {
                    break;
                }
                begun.store(number, Ordering::SeqCst);
                checked = write_both(&store, number).await;
                if checked.is_err() {
                    break;
                }
                done.store(number, Ordering::SeqCst);
            }
            stopped.store(true, Ordering::SeqCst);
            checked
        }
    });
    let mut reads = 0;
    // Missing keys in between, so that a store that divides long lists takes several steps.
    let between = lists::keys("missing", if snapshot { LONG_LIST } else { 0 });
    let few = ["second", "first", "second"];
    let mut many = vec!["second"];
    many.extend(between.iter().map(String::as_str));
    many.extend(["first", "second"]);
    while !stopped.load(Ordering::SeqCst) || reads == 0 {
        let least = done.load(Ordering::SeqCst);
        let before = begun.load(Ordering::SeqCst);
        let asked = if reads % 4 == 1 { &many[..] } else { &few };
        let got = store.get_many(asked).await?;
        let most = begun.load(Ordering::SeqCst);
        reads += 1;
        overlaps.fetch_add(u64::from(most > before), Ordering::SeqCst);
        let numbers: Vec<u64> = got.into_iter().filter_map(number).collect();
        ensure_eq!(numbers.len(), 3, "number of values that are a number which was written");
        for &number in &numbers {
            ensure!(
                (least..=most).contains(&number),
                "get_many answered {number}, while {least} to {most} were there"
            );
        }
        if snapshot {
            let (second, first, again) = (numbers[0], numbers[1], numbers[2]);
            ensure!(
                second == again && (first == second || first == second + 1),
                "get_many is declared to be one snapshot, and answered second = {second}, first = {first}, second = {again}, \
                 where first is written before second"
            );
        }
        tokio::task::yield_now().await;
    }
    join(writer).await
}

async fn write_both<B: KvBackend>(store: &Store<B>, number: u64) -> Checked {
    store.put("first", number.to_string()).await?;
    store.put("second", number.to_string()).await
}

fn number(value: Option<Bytes>) -> Option<u64> {
    u64::try_from(parse_integer(&value?)?).ok()
}

pub(crate) async fn many_06_another_type_is_none<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    let list = Foreign::List { key: "list".to_owned() };
    if !cx.harness.plant(store.backend(), &list).await {
        return Err(Failure::NotApplicable("the harness cannot plant a key of another type"));
    }
    store.put("a", "1").await?;
    store.put("b", "2").await?;
    let got = store.get_many(&["a", "list", "b", "list"]).await?;
    ensure_eq!(
        got,
        [value("1"), None, value("2"), None],
        "get_many with a list among the keys"
    );
    ensure_eq!(store.get_many(&["list"]).await?, [None], "get_many of a list");
    ensure!(
        cx.harness.is_planted(store.backend(), &list).await,
        "get_many removed the list"
    );
    Ok(())
}

pub(crate) async fn many_07_of_duplicates_the_last_value_stays<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let ttl = Duration::from_secs(100);
    for count in FEW_COUNTS.into_iter().chain([1000]) {
        for expiry in [Expiry::Never, Expiry::After(ttl)] {
            let store = cx.store().await;
            let other = cx.second(&store);
            let keys = lists::keys("key", count);
            let places = lists::with_duplicates(count);
            let entries: Vec<(&str, Bytes)> = places
                .iter()
                .enumerate()
                .map(|(number, at)| (keys[*at].as_str(), format!("entry {number}").into()))
                .collect();
            let last: BTreeMap<&str, &Bytes> = entries.iter().map(|(key, value)| (*key, value)).collect();
            let ((), written) = store.timed(store.set_many(&entries, expiry)).await?;
            let names: Vec<&str> = keys.iter().map(String::as_str).collect();
            let got = other.get_many(&names).await?;
            ensure_eq!(got.len(), count, "number of answers of get_many");
            for (key, got) in names.iter().zip(&got) {
                let what = format!(
                    "get_many of {key:?} after set_many of {} entries for {count} keys",
                    entries.len()
                );
                ensure_same(got.as_ref(), last.get(key).copied(), &what)?;
            }
            for key in names.iter().take(2).chain(names.iter().rev().take(2)) {
                match expiry {
                    Expiry::After(ttl) => store.has_ttl(key, ttl, written).await?,
                    _ => store.is_persistent(key).await?,
                }
            }
            ensure_eq!(store.keys(&Pattern::all(), 1000).await?.len(), count, "number of keys");
        }
    }
    // Large values may be written in another way than small values.
    let store = cx.store().await;
    let (large, small) = (letters(LARGE, 1), Bytes::from_static(b"small"));
    let entries = [
        ("ends small", large.clone()),
        ("ends large", small.clone()),
        ("ends small", small.clone()),
        ("ends large", large.clone()),
    ];
    store.set_many(&entries, Expiry::Never).await?;
    store.holds("ends small", small).await?;
    store.holds("ends large", large).await
}
