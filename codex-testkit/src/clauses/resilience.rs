//! Failures and lifecycle: outages, dropped calls, panics and runtimes.

mod connections;
mod history;
mod runtimes;
mod secrets;

use std::{
    collections::BTreeSet,
    panic::resume_unwind,
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};

use bytes::Bytes;
use codex_traits::{
    Condition, ErrorKind, Expiry, KvBackend, OnMissing, Pattern, ScanRequest, SetOptions, SetOutcome, Ttl,
    parse_integer,
};
use futures_util::future::try_join_all;

use crate::{
    Harness, Outage, OutageKind,
    context::{Context, Store},
    every_verb::{Effect, Made, is_applied, make_every_call, prepare},
    failure::{Checked, Failure, ensure, ensure_eq},
    random::Random,
    runtime::{join, poll_some, sleep, spawn},
};

pub(crate) use connections::{
    life_11_health_tells_an_outage, life_12_dropped_calls_leave_the_handle_usable,
    life_13_a_call_ends_within_its_deadline, life_14_memory_of_answers_is_bounded,
};
pub(crate) use history::life_06_histories_are_linearizable;
pub(crate) use runtimes::{life_08_any_runtime_will_do, life_15_no_runtime_waits_for_another};
pub(crate) use secrets::life_07_nothing_secret_is_shown;

/// The time within which a handle must work again after an outage. It allows for a backoff of a few
/// seconds and a reconnect.
const RECOVERY: Duration = Duration::from_secs(8);

/// The allowance for a call on a busy machine.
const LATE: Duration = Duration::from_secs(3);

/// Returns the supported outages of the whole store.
async fn outages<H: Harness>(cx: &Context<'_, H>) -> Checked<(Outage, Vec<OutageKind>)> {
    let Some(outage) = cx.outage().await else {
        return Err(Failure::NotApplicable(
            "the harness cannot take the store out of service",
        ));
    };
    let kinds: Vec<OutageKind> = outage
        .kinds()
        .into_iter()
        .filter(|kind| kind.is_of_the_store())
        .collect();
    if kinds.is_empty() {
        return Err(Failure::NotApplicable(
            "the harness cannot take the whole store out of service",
        ));
    }
    Ok((outage, kinds))
}

/// Makes every call during an outage.
async fn during<B: KvBackend>(store: &Store<B>, outage: &Outage, kind: OutageKind) -> Checked<Vec<Made>> {
    prepare(store).await?;
    outage.begin(kind).await;
    let calls = make_every_call(store).await;
    outage.end().await;
    recovers(store, kind).await?;
    Ok(calls)
}

/// Checks that the handle works again in time, for every verb.
async fn recovers<B: KvBackend>(store: &Store<B>, kind: OutageKind) -> Checked {
    let start = Instant::now();
    loop {
        // Uses its own keys, because the keys of the outage are checked afterwards.
        let answer = store
            .set("recovered", Bytes::from_static(b"yes"), SetOptions::new())
            .await;
        // Reads may use other connections than writes.
        let answer = match answer {
            Ok(_) => store.get("recovered").await,
            Err(error) => Err(error),
        };
        let Err(error) = answer else {
            return store.holds("recovered", "yes").await;
        };
        ensure!(
            start.elapsed() < RECOVERY,
            "{:?} after the outage ({kind}) the handle still fails: {error}",
            RECOVERY
        );
        sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) async fn life_01_an_outage_is_an_error_for_every_verb<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let (outage, kinds) = outages(cx).await?;
    for kind in kinds {
        let store = cx.store().await;
        for call in during(&store, &outage, kind).await? {
            let must_fail = match kind {
                // Reads still work. Removals may work if only memory is short.
                OutageKind::ReadOnly => call.effect != Effect::Reads,
                OutageKind::OutOfMemory => call.effect == Effect::Grows,
                _ => true,
            };
            match call.answer {
                Err(_) => {}
                Ok(answer) => {
                    ensure!(
                        !must_fail,
                        "{} during an outage ({kind}): expected an error, got {answer}",
                        call.verb
                    );
                    ensure_eq!(answer, call.truth, "{} during an outage ({kind})", call.verb);
                }
            }
        }
    }
    Ok(())
}

pub(crate) async fn life_02_the_kind_tells_which<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let (outage, kinds) = outages(cx).await?;
    for kind in kinds {
        let store = cx.store().await;
        let calls = during(&store, &outage, kind).await?;
        for call in &calls {
            let Err(error) = &call.answer else { continue };
            let expected: &[ErrorKind] = match kind {
                OutageKind::Refused => &[ErrorKind::Connection],
                OutageKind::Stalled => &[ErrorKind::Timeout],
                // Missing credentials are also a configuration error.
                OutageKind::NoAuth => &[ErrorKind::Server, ErrorKind::Config],
                _ => &[ErrorKind::Server],
            };
            ensure!(
                expected.contains(&error.kind()),
                "{} during an outage ({kind}): expected an error of kind {expected:?}, got one of kind {:?}: {error}",
                call.verb,
                error.kind()
            );
        }
        // By then the store has released everything that it held back.
        sleep(Duration::from_millis(100)).await;
        for call in &calls {
            let Some(applied) = is_applied(&store, call.verb).await? else {
                continue;
            };
            match &call.answer {
                Ok(_) => ensure!(
                    applied,
                    "{} was answered during an outage ({kind}), and was not done",
                    call.verb
                ),
                Err(error) => ensure!(
                    !applied || error.may_have_executed(),
                    "{} during an outage ({kind}) failed with may_have_executed false, and was done",
                    call.verb
                ),
            }
        }
    }
    Ok(())
}

pub(crate) async fn life_03_the_same_handle_works_again<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let (outage, kinds) = outages(cx).await?;
    for kind in kinds {
        let store = cx.store().await;
        store.put("kept", "before").await?;
        // Two rounds, because a handle may recover only once.
        for _ in 0..2 {
            during(&store, &outage, kind).await?;
            store.holds("kept", "before").await?;
            prepare(&store).await?;
            for call in make_every_call(&store).await {
                let answer = call
                    .answer
                    .map_err(|error| Failure::Broken(format!("{} after the outage ({kind}): {error}", call.verb)))?;
                ensure_eq!(answer, call.truth, "{} after the outage ({kind})", call.verb);
            }
        }
    }
    Ok(())
}

pub(crate) async fn life_04_a_dropped_call_is_applied_once_or_not_at_all<H: Harness>(cx: &Context<'_, H>) -> Checked {
    const TASKS: u64 = 16;
    const EACH: u64 = 625;
    let store = cx.store().await;
    let tasks = (0..TASKS).map(|task| {
        let store = store.clone();
        join(spawn(async move { drop_calls(&store, task, EACH).await }))
    });
    try_join_all(tasks).await.map(drop)
}

/// Makes calls that are dropped at random, each followed by calls with known answers.
async fn drop_calls<B: KvBackend>(store: &Store<B>, task: u64, rounds: u64) -> Checked {
    const CREATE: OnMissing = OnMissing::Create(Expiry::Never);
    let mut random = Random::new(task);
    let (counter, target, own) = (
        format!("counter {task}"),
        format!("target {task}"),
        format!("own {task}"),
    );
    let (mut begun, mut told) = (0, 0);
    let mut timed = Vec::new();
    // The values that the target can hold: the last value written, and every value whose write was
    // dropped, because a dropped write may still arrive.
    let mut possible = BTreeSet::from(["none".to_owned()]);
    store.put(&target, "none").await?;
    for round in 0..rounds {
        let polls = random.below(6);
        match random.below(6) {
            0 => {
                begun += u64::from(polls > 0);
                if let Some(sum) = poll_some(store.incr(&counter, 1, CREATE), polls).await {
                    sum?;
                    told += 1;
                }
            }
            1 => {
                let value = format!("value {task} {round}");
                possible.insert(value.clone());
                if let Some(outcome) = poll_some(store.set(&target, value.into(), SetOptions::new()), polls).await {
                    ensure!(outcome?.is_written(), "a set without a condition was refused");
                }
            }
            2 => {
                if let Some(value) = poll_some(store.get(&target), polls).await {
                    let value = value?.map(|value| String::from_utf8_lossy(&value).into_owned());
                    ensure!(
                        value.as_ref().is_some_and(|value| possible.contains(value)),
                        "get answered {value:?}, which was never written there"
                    );
                }
            }
            3 => {
                timed.push(format!("timed {task} {round}"));
                drop_a_timed_write(store, &timed[timed.len() - 1], round, polls).await?;
            }
            4 => drop_another_verb(store, &format!("other {task}"), round, polls).await?,
            _ => {
                if let Some(values) = poll_some(store.get_many(&[&target, "never", &target]), polls).await {
                    ensure_eq!(
                        values?.iter().map(Option::is_some).collect::<Vec<_>>(),
                        [true, false, true],
                        "get_many"
                    );
                }
            }
        }
        let value = format!("own {task} {round}");
        store.put(&own, value.clone()).await?;
        store.holds(&own, value).await?;
    }
    // The last dropped calls may still be in flight. No call can be queued behind them on every
    // connection, so a short wait has to suffice.
    sleep(Duration::from_millis(100)).await;
    let sum = store
        .get(&counter)
        .await?
        .and_then(|value| parse_integer(&value))
        .unwrap_or(0);
    let sum = u64::try_from(sum).unwrap_or(u64::MAX);
    ensure!(
        (told..=begun).contains(&sum),
        "{begun} increments were begun and {told} of them answered, and the counter says {sum}"
    );
    for key in timed {
        let ttl = store.ttl(&key).await?;
        ensure!(
            ttl != Ttl::Persistent,
            "{key:?} was written with an expiry in a call that was dropped, and has none: half of the call was applied"
        );
    }
    Ok(())
}

/// Drops a write with an expiry. The value must never be there without its time to live.
async fn drop_a_timed_write<B: KvBackend>(store: &Store<B>, key: &str, round: u64, polls: u64) -> Checked {
    const TTL: Duration = Duration::from_secs(1000);
    let value = Bytes::from_static(b"1");
    let options = SetOptions::expires_after(TTL);
    match round % 4 {
        0 => {
            let _ = poll_some(store.set(key, value, options), polls).await.transpose()?;
        }
        1 => {
            let absent = options.with_condition(Condition::IfAbsent);
            let _ = poll_some(store.set(key, value, absent), polls).await.transpose()?;
        }
        2 => {
            poll_some(store.set_many(&[(key, value)], Expiry::After(TTL)), polls)
                .await
                .transpose()?;
        }
        _ => {
            let create = OnMissing::Create(Expiry::After(TTL));
            poll_some(store.incr(key, 1, create), polls).await.transpose()?;
        }
    }
    Ok(())
}

/// Drops a call of one of the verbs whose answers do not matter here. The calls after it show
/// whether it left anything locked.
async fn drop_another_verb<B: KvBackend>(store: &Store<B>, key: &str, round: u64, polls: u64) -> Checked {
    let value = Bytes::from_static(b"1");
    match round % 9 {
        0 => {
            poll_some(store.del(&[key, "never"]), polls).await.transpose()?;
        }
        1 => {
            poll_some(store.del_if_equals(key, b"1"), polls).await.transpose()?;
        }
        2 => {
            poll_some(store.expire(key, Expiry::Never), polls).await.transpose()?;
        }
        3 => {
            poll_some(store.ttl(key), polls).await.transpose()?;
        }
        4 => {
            poll_some(store.get_with_ttl(key), polls).await.transpose()?;
        }
        5 => {
            let pattern = Pattern::prefix(key);
            let request = ScanRequest::new(&pattern).with_count_hint(10);
            poll_some(store.scan(request), polls).await.transpose()?;
        }
        6 => {
            let entries = [(key, value.clone()), (key, value)];
            poll_some(store.set_many(&entries, Expiry::Never), polls)
                .await
                .transpose()?;
        }
        7 => {
            let equal = SetOptions::new().with_condition(Condition::IfEquals(value.clone()));
            let _ = poll_some(store.set(key, value, equal), polls).await.transpose()?;
        }
        _ => {
            let present = SetOptions::if_present();
            let _ = poll_some(store.set(key, value, present), polls).await.transpose()?;
        }
    }
    Ok(())
}

pub(crate) async fn life_05_nothing_is_sent_twice<H: Harness>(cx: &Context<'_, H>) -> Checked {
    const CREATE: OnMissing = OnMissing::Create(Expiry::Never);
    const ROUNDS: u64 = 24;
    let outage = cx.outage().await;
    let Some(outage) = outage.filter(|outage| outage.kinds().contains(&OutageKind::ReplyLost)) else {
        return Err(Failure::NotApplicable("the harness cannot lose an answer"));
    };
    let store = cx.store().await;
    let mut lost = 0;
    for round in 0..ROUNDS {
        let key = format!("counter {round}");
        outage.begin(OutageKind::ReplyLost).await;
        let first = store.incr(&key, 1, CREATE).await;
        outage.end().await;
        recovers(&store, OutageKind::ReplyLost).await?;
        let count = store
            .get(&key)
            .await?
            .and_then(|value| parse_integer(&value))
            .unwrap_or(0);
        match first {
            Ok(sum) => ensure!(
                sum == Some(1) && count == 1,
                "an incr by 1 of a new key whose answer was lost says {sum:?}, and the key holds {count}: it was sent twice"
            ),
            Err(error) => {
                lost += 1;
                ensure!(
                    count <= 1,
                    "an incr by 1 failed, and the key holds {count}: it was sent twice"
                );
                ensure!(
                    count == 0 || error.may_have_executed(),
                    "an incr that was done failed with may_have_executed false"
                );
            }
        }
        loses_not_to_itself(&store, &outage, round).await?;
    }
    ensure!(lost > 0, "the harness lost none of {ROUNDS} answers");
    Ok(())
}

/// Loses the answer of a conditional write or of a removal. If the call were sent twice, it would
/// report that it lost to itself.
async fn loses_not_to_itself<B: KvBackend>(store: &Store<B>, outage: &Outage, round: u64) -> Checked {
    let claim = format!("claim {round}");
    let (old, mine) = (Bytes::from_static(b"old"), Bytes::from_static(b"mine"));
    if !round.is_multiple_of(6) {
        store.put(&claim, old.clone()).await?;
    }
    outage.begin(OutageKind::ReplyLost).await;
    let (what, answer) = match round % 6 {
        0 => {
            let outcome = store.set(&claim, mine, SetOptions::if_absent()).await;
            ("IfAbsent on a new key", outcome.map(SetOutcome::is_written))
        }
        1 | 4 => {
            let equal = SetOptions::new().with_condition(Condition::IfEquals(old));
            let outcome = store.set(&claim, mine, equal).await;
            ("IfEquals with the value", outcome.map(SetOutcome::is_written))
        }
        2 => (
            "del_if_equals with the value",
            store.del_if_equals(&claim, b"old").await,
        ),
        3 => ("del of a key", store.del(&[&claim]).await.map(|count| count == 1)),
        _ => (
            "expire(After(0)) of a key",
            store.expire(&claim, Expiry::After(Duration::ZERO)).await,
        ),
    };
    outage.end().await;
    recovers(store, OutageKind::ReplyLost).await?;
    ensure!(
        !matches!(answer, Ok(false)),
        "{what}, whose answer was lost, says that it did nothing: it was sent twice"
    );
    Ok(())
}

pub(crate) async fn life_09_a_panic_poisons_nothing<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    for round in 0..50 {
        let (panicking, key) = (store.clone(), format!("key {round}"));
        let task = spawn(async move {
            panicking.put(&key, "v").await?;
            let mut write = pin!(panicking.set("written", Bytes::from_static(b"v"), SetOptions::new()));
            let mut count = pin!(panicking.incr("counter", 1, OnMissing::Create(Expiry::Never)));
            // In flight, and dropped by the panic.
            let _ = std::future::poll_fn(|cx| Poll::Ready(write.as_mut().poll(cx).is_ready())).await;
            let _ = std::future::poll_fn(|cx| Poll::Ready(count.as_mut().poll(cx).is_ready())).await;
            // Like a panic, but without the message on standard error.
            resume_unwind(Box::new("on purpose"));
            #[expect(unreachable_code, reason = "gives the task its return type")]
            Checked::Ok(())
        });
        ensure!(
            task.await.is_err_and(|error| error.is_panic()),
            "a task that panics did not"
        );
        store.holds(&format!("key {round}"), "v").await?;
    }
    store.put("counter", "1").await?;
    ensure_eq!(
        store.incr("counter", 1, OnMissing::Refuse).await?,
        Some(2),
        "incr after panics"
    );

    for _ in 0..3 {
        let Some(second) = cx.harness.reopen(store.backend()) else {
            return Err(Failure::NotApplicable("the harness gives no second handle on a store"));
        };
        let second = cx.adopt(second);
        second.put("k", "v").await?;
        drop(second);
        store.holds("k", "v").await?;
        prepare(&store).await?;
        for call in make_every_call(&store).await {
            let what = call.verb;
            ensure_eq!(call.answer?, call.truth, "{what} after another handle was dropped");
        }
    }
    Ok(())
}

pub(crate) async fn life_10_nothing_else_is_changed<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let ttl = Duration::from_secs(1000);
    let store = cx.store().await;
    let others: BTreeSet<String> = ["other", "run", "run2:k", "", "counter", "xrun:k"]
        .map(str::to_owned)
        .into();
    for key in &others {
        store.put(key, "theirs").await?;
    }
    let set = store.put_for("timed", "theirs", ttl).await?;
    for round in 0..3 {
        let key = |name: &str| format!("run:{name} {round}");
        store.put(&key("k"), "1").await?;
        store.write(&key("absent"), "1", SetOptions::if_absent()).await?;
        store.incr(&key("k"), 1, OnMissing::Refuse).await?;
        store
            .incr(&key("new"), 1, OnMissing::Create(Expiry::After(ttl)))
            .await?;
        store.expire(&key("k"), Expiry::After(ttl)).await?;
        store
            .set_many(
                &[(&key("a"), Bytes::from_static(b"1")), (&key("b"), Bytes::new())],
                Expiry::Never,
            )
            .await?;
        store.get_many(&[&key("a"), &key("missing")]).await?;
        store.del(&[&key("a"), &key("missing")]).await?;
        store.del_if_equals(&key("b"), b"").await?;
        store.keys(&Pattern::prefix("run:"), 1).await?;
        store.put_for(&key("short"), "1", cx.short()).await?;
        // A probe writes nothing.
        store.health().await?;
    }
    cx.outlive(cx.short()).await;
    store.del_matching(&Pattern::prefix("run:")).await?;
    let mut left = store.keys(&Pattern::all(), 100).await?;
    ensure!(left.remove("timed"), "a key outside of the prefix is gone");
    ensure_eq!(
        left,
        others,
        "keys outside of the prefix; the backend may keep none of its own in the store"
    );
    for key in &others {
        store.holds(key, "theirs").await?;
        store.is_persistent(key).await?;
    }
    store.holds("timed", "theirs").await?;
    store.has_ttl("timed", ttl, set).await
}
