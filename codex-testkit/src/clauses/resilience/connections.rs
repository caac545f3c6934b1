//! Connections that stall, die or are flooded. Every call must end in time, and the handle must
//! work afterwards.

use std::{
    convert::Infallible,
    future::{Future, pending},
    pin::pin,
    time::{Duration, Instant},
};

use bytes::Bytes;
use codex_traits::{Error, KvBackend, SetOptions};
use futures_util::future::{Either, select};
use tokio::{task::JoinSet, time::timeout};

use super::{LATE, recovers, runtimes::on_a_runtime_of_its_own};
use crate::{
    Harness, Outage, OutageKind,
    context::{Context, Store},
    failure::{Checked, Failure, ensure},
    runtime::sleep,
};

/// Returns the outage, if the harness supports one of `kinds`.
async fn outage_of<H: Harness>(cx: &Context<'_, H>, kinds: &[OutageKind], reason: &'static str) -> Checked<Outage> {
    let outage = cx.outage().await;
    outage
        .filter(|outage| outage.kinds().iter().any(|kind| kinds.contains(kind)))
        .ok_or(Failure::NotApplicable(reason))
}

/// Returns the answer of a call. Fails the clause if the answer comes after the deadline.
async fn in_time<H: Harness, T>(
    cx: &Context<'_, H>,
    what: &str,
    call: impl Future<Output = Result<T, Error>>,
) -> Checked<Result<T, Error>> {
    let deadline = cx.deadline();
    let start = Instant::now();
    let answer = timeout(deadline + LATE, call).await.ok();
    // A call that blocks its thread can end before the timer is checked.
    let in_time = answer.filter(|_| start.elapsed() <= deadline + LATE);
    in_time.ok_or_else(|| {
        Failure::Broken(format!(
            "{what} has not ended {LATE:?} after its deadline of {deadline:?}"
        ))
    })
}

/// Fails unless the call fails within its deadline.
async fn fails_in_time<H: Harness, T>(
    cx: &Context<'_, H>,
    what: &str,
    call: impl Future<Output = Result<T, Error>>,
) -> Checked {
    let answer = in_time(cx, what, call).await?;
    ensure!(answer.is_err(), "{what}: expected an error, got an answer");
    Ok(())
}

pub(crate) async fn life_11_health_tells_an_outage<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let outage = cx.outage().await;
    let store = cx.store().await;
    in_time(cx, "health of a working store", store.health()).await??;
    let Some(outage) = outage else {
        return Err(Failure::NotApplicable(
            "the harness cannot take the store out of service",
        ));
    };
    let kinds = outage.kinds().into_iter();
    let mut kinds: Vec<OutageKind> = kinds
        .filter(|kind| kind.is_of_the_store() || *kind == OutageKind::NodeDown)
        .collect();
    // `NodeDown` comes last, because the node may not come back.
    kinds.sort_by_key(|kind| *kind == OutageKind::NodeDown);
    for kind in kinds {
        outage.begin(kind).await;
        let answer = in_time(cx, &format!("health during an outage ({kind})"), store.health()).await;
        outage.end().await;
        // A probe writes nothing, so it cannot detect a store that refuses only writes.
        let may_answer = matches!(kind, OutageKind::ReadOnly | OutageKind::OutOfMemory);
        let answer = answer?;
        ensure!(
            may_answer || answer.is_err(),
            "health during an outage ({kind}): expected an error, got Ok"
        );
        if kind != OutageKind::NodeDown {
            recovers(&store, kind).await?;
            in_time(cx, "health after an outage", store.health()).await??;
        }
    }
    Ok(())
}

pub(crate) async fn life_12_dropped_calls_leave_the_handle_usable<H: Harness>(cx: &Context<'_, H>) -> Checked {
    const ROUNDS: usize = 8;
    const CALLS: usize = 512;
    let outage = outage_of(
        cx,
        &[OutageKind::HalfOpen],
        "the harness cannot let a connection go dead",
    )
    .await?;
    let store = cx.store().await;
    store.put("k", "v").await?;
    let deadline = cx.deadline();
    let patience = Duration::from_millis(30).min(deadline / 4);
    outage.begin(OutageKind::HalfOpen).await;
    for _ in 0..ROUNDS {
        let calls = (0..CALLS).map(|_| {
            let store = store.clone();
            async move {
                let call = store.set("k", Bytes::from_static(b"v"), SetOptions::new());
                let _ = timeout(patience, call).await;
            }
        });
        calls.collect::<JoinSet<()>>().join_all().await;
    }
    outage.end().await;
    // No call waits on the dead connections now. The backend abandons them after a deadline, and
    // may pause before it reconnects.
    sleep(deadline * 2 + Duration::from_secs(1)).await;
    let first = in_time(cx, "the first call after the stall", store.get("k")).await?;
    ensure!(
        first.is_ok(),
        "{ROUNDS} times {CALLS} calls were dropped on a stalled store; the first call after the stall fails: {}",
        first.err().map(|error| error.to_string()).unwrap_or_default()
    );
    store.put("k", "w").await?;
    store.holds("k", "w").await
}

pub(crate) async fn life_13_a_call_ends_within_its_deadline<H: Harness>(cx: &Context<'_, H>) -> Checked {
    const FLOODS: usize = 3;
    let kinds = [OutageKind::HalfOpen, OutageKind::UnrelatedFrames];
    let outage = outage_of(
        cx,
        &kinds,
        "the harness can neither let a connection go dead nor flood it",
    )
    .await?;
    let offered = outage.kinds();
    beside_large_reads(cx).await?;
    if offered.contains(&OutageKind::HalfOpen) {
        before_and_behind_large_writes(cx, &outage).await?;
    }
    if offered.contains(&OutageKind::UnrelatedFrames) {
        for round in 0..FLOODS {
            let store = cx.store().await;
            during_a_flood(cx, &outage, &store).await?;
            if round == 0 {
                // A flood must not occupy the only thread of a runtime either.
                on_a_runtime_of_its_own(during_a_flood(cx, &outage, &cx.store().await))?;
            }
        }
    }
    Ok(())
}

/// Reads a small value while the connections transfer large values.
async fn beside_large_reads<H: Harness>(cx: &Context<'_, H>) -> Checked {
    const LARGE: usize = 4 << 20;
    const READERS: usize = 8;
    let store = cx.store().await;
    store.put("small", "v").await?;
    let large = Bytes::from(vec![b'x'; LARGE]);
    // A store may refuse the value. Its readers then transfer nothing.
    let _ = store.set("large", large, SetOptions::new()).await;
    let readers = (0..READERS).map(|_| {
        let store = store.clone();
        async move {
            let _ = store.get("large").await;
        }
    });
    let _readers: JoinSet<()> = readers.collect();
    for _ in 0..READERS {
        let _ = in_time(cx, "get beside reads of large values", store.get("small")).await?;
    }
    Ok(())
}

/// Reads on stalled connections, ahead of large writes and behind a large write.
async fn before_and_behind_large_writes<H: Harness>(cx: &Context<'_, H>, outage: &Outage) -> Checked {
    const BEHIND: usize = 512;
    let store = cx.store().await;
    store.put("k", "v").await?;
    outage.begin(OutageKind::HalfOpen).await;
    let get = in_time(cx, "get with large writes behind it", store.get("k"));
    let behind = async {
        let mut writes = JoinSet::new();
        for _ in 0..BEHIND {
            writes.spawn(write(store.clone(), 64 << 10));
        }
        writes
    };
    let (answer, writes) = tokio::join!(get, behind);
    let checked = answer.map(|answer| answer.is_err());
    drop(writes);
    outage.end().await;
    ensure!(checked?, "get on a dead connection: expected an error, got an answer");
    recovers(&store, OutageKind::HalfOpen).await?;

    outage.begin(OutageKind::HalfOpen).await;
    let get = async {
        // The write must fill the buffers first.
        sleep(Duration::from_millis(200)).await;
        fails_in_time(cx, "get behind a large write", store.get("k")).await
    };
    let writing = async {
        write(store.clone(), 32 << 20).await;
        pending::<Infallible>().await
    };
    // `select` polls its first future first, so the write always begins before the read.
    let checked = match select(pin!(writing), pin!(get)).await {
        Either::Left((never, _)) => match never {},
        Either::Right((checked, _)) => checked,
    };
    outage.end().await;
    checked?;
    recovers(&store, OutageKind::HalfOpen).await
}

async fn write<B: KvBackend>(store: Store<B>, bytes: usize) {
    let value = Bytes::from(vec![b'x'; bytes]);
    let _ = store.set("large", value, SetOptions::new()).await;
}

/// Sends a read while unrelated frames arrive.
async fn during_a_flood<H: Harness>(cx: &Context<'_, H>, outage: &Outage, store: &Store<H::Backend>) -> Checked {
    store.put("k", "v").await?;
    outage.begin(OutageKind::UnrelatedFrames).await;
    let checked = fails_in_time(cx, "get during a flood", store.get("k")).await;
    outage.end().await;
    checked?;
    recovers(store, OutageKind::UnrelatedFrames).await
}

pub(crate) async fn life_14_memory_of_answers_is_bounded<H: Harness>(cx: &Context<'_, H>) -> Checked {
    /// The number of kinds of endless replies that the kit's own harnesses offer.
    const ROUNDS: usize = 6;
    /// The size of the socket buffers between the backend and the flood.
    const BUFFERS: u64 = 32 << 20;
    let outage = outage_of(cx, &[OutageKind::EndlessReply], "the harness cannot answer without end").await?;
    let store = cx.store().await;
    store.put("k", "v").await?;
    let most = cx.harness.max_reply_bytes().saturating_add(BUFFERS);
    for round in 1..=ROUNDS {
        let before = outage.flooded_bytes();
        let start = Instant::now();
        outage.begin(OutageKind::EndlessReply).await;
        let answer = store.get("k").await;
        // The pause reveals a backend that continues to read.
        sleep(Duration::from_millis(50)).await;
        let after = outage.flooded_bytes();
        outage.end().await;
        let taken = start.elapsed();
        ensure!(
            answer.is_err(),
            "get of an endless reply ({round}): expected an error, got an answer"
        );
        if let (Some(before), Some(after)) = (before, after) {
            let read = after.saturating_sub(before);
            ensure!(
                read <= most,
                "get of an endless reply ({round}): the backend took {read} bytes in {taken:?}, and max_reply_bytes is {}",
                cx.harness.max_reply_bytes()
            );
        }
        recovers(&store, OutageKind::EndlessReply).await?;
    }
    Ok(())
}
