//! `get_with_ttl`: the value and the time to live in one answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use codex_traits::{Condition, ErrorKind, Expiry, KvBackend, SetOptions, Ttl};

use super::matrix::{for_each, reads};
use crate::{
    Foreign, Harness,
    cases::values::{FEW_LENGTHS, LARGE},
    context::{Context, Store},
    failure::{Checked, Failure, ensure, ensure_eq, ensure_kind, show},
    runtime::{Contest, join, spawn},
};

const HUNDRED_SECONDS: Duration = Duration::from_secs(100);

/// The verb that the writer uses.
#[derive(Clone, Copy)]
enum Writes {
    Set,
    /// Sets large values, which a store may keep elsewhere.
    Large,
    Compared,
    Many,
}

impl Writes {
    /// Returns the values a and b.
    fn values(self) -> [Bytes; 2] {
        let length = if matches!(self, Self::Large) { LARGE } else { 1 };
        [b"a", b"b"].map(|letter| Bytes::from(letter.repeat(length)))
    }
}

/// Writes one of the two states: (a, no TTL) or (b, 100 s).
async fn write<B: KvBackend>(store: &Store<B>, by: Writes, [a, b]: &[Bytes; 2], is_a: bool) -> Checked {
    let (value, other) = if is_a { (a, b) } else { (b, a) };
    let expiry = if is_a {
        Expiry::Never
    } else {
        Expiry::After(HUNDRED_SECONDS)
    };
    let options = SetOptions::new().with_expiry(expiry);
    match by {
        Writes::Set | Writes::Large => {
            store.write("k", value.clone(), options).await?;
        }
        Writes::Compared => {
            let options = options.with_condition(Condition::IfEquals(other.clone()));
            store.write("k", value.clone(), options).await?;
        }
        Writes::Many => store.set_many(&[("k", value.clone())], expiry).await?,
    }
    Ok(())
}

pub(crate) async fn ttl_01_value_and_ttl_are_of_one_moment<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    for_each(cx, &FEW_LENGTHS, |length| reads(cx, &store, length)).await?;
    ensure_eq!(
        store.get_with_ttl("missing").await?,
        None,
        "get_with_ttl of a missing key"
    );
    let list = Foreign::List { key: "list".to_owned() };
    if cx.harness.plant(store.backend(), &list).await {
        ensure_kind(
            store.get_with_ttl("list").await,
            ErrorKind::Data,
            "get_with_ttl of a list",
        )?;
    }
    for by in [Writes::Set, Writes::Compared, Writes::Many, Writes::Large] {
        Box::pin(is_no_mixture(cx, by)).await?;
    }
    Ok(())
}

/// Checks that every answer is one of the two written states, while a writer alternates between
/// them.
async fn is_no_mixture<H: Harness>(cx: &Context<'_, H>, by: Writes) -> Checked {
    const WRITES: u64 = 1000;
    let store = cx.store().await;
    let reader = cx.second(&store);
    let values = by.values();
    write(&store, Writes::Set, &values, true).await?;
    let (begun, overlaps) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let stopped = Arc::new(AtomicBool::new(false));
    let contest = Contest::of(WRITES);
    let writer = spawn({
        let (begun, overlaps, stopped) = (begun.clone(), overlaps.clone(), stopped.clone());
        let values = values.clone();
        async move {
            let mut checked = Ok(());
            for number in 0.. {
                if contest.is_decided(number, overlaps.load(Ordering::SeqCst)) {
                    break;
                }
                begun.fetch_add(1, Ordering::SeqCst);
                checked = write(&store, by, &values, number % 2 == 1).await;
                if checked.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            stopped.store(true, Ordering::SeqCst);
            checked
        }
    });
    let checked = read_until(&reader, &values, &stopped, &begun, &overlaps).await;
    // The writer ends on its own, even if a reader has failed.
    join(writer).await?;
    checked
}

async fn read_until<B: KvBackend>(
    reader: &Store<B>,
    [a, b]: &[Bytes; 2],
    stopped: &AtomicBool,
    begun: &AtomicU64,
    overlaps: &AtomicU64,
) -> Checked {
    let mut reads = 0;
    while !stopped.load(Ordering::SeqCst) || reads == 0 {
        let before = begun.load(Ordering::SeqCst);
        let got = reader.get_with_ttl("k").await?;
        overlaps.fetch_add(u64::from(begun.load(Ordering::SeqCst) > before), Ordering::SeqCst);
        reads += 1;
        let Some((value, ttl)) = got else {
            return Err(Failure::Broken(
                "get_with_ttl of a key that is always there: got None".to_owned(),
            ));
        };
        // At most a few seconds have passed, or none on a clock that stands still.
        let is_timed = matches!(
            ttl,
            Ttl::Remaining(left) if left <= HUNDRED_SECONDS + Duration::from_millis(1) && left > HUNDRED_SECONDS / 2
        );
        let is_one = value == a && ttl == Ttl::Persistent || value == b && is_timed;
        ensure!(
            is_one,
            "get_with_ttl answered {} with {ttl:?}; a has none and b has 100 s: they are not of one moment",
            show(&value)
        );
        tokio::task::yield_now().await;
    }
    Ok(())
}
