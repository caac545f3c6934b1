//! Histories of concurrent calls on a few keys, recorded and checked key by key.
//!
//! Checking each key separately suffices: a history is linearizable if its restriction to each
//! object is linearizable (Herlihy and Wing, "Linearizability: a correctness condition for
//! concurrent objects", 1990).

use std::{
    error, fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use codex_traits::{Condition, Expiry, KvBackend, OnMissing, SetOptions, parse_integer};

use crate::{
    Harness,
    context::{Context, Store},
    failure::{Checked, Failure, ensure},
    linear::{Answer, Call, Op, is_linearizable, timeline},
    random::Random,
    runtime::{poll_some, race},
};

/// A time to live that often ends during the history.
const TTL: Duration = Duration::from_millis(1);

/// The shape of histories.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) tasks: usize,
    /// The number of calls of each task.
    pub(crate) each: usize,
    pub(crate) keys: u64,
    /// One call in this many is dropped before it ends.
    pub(crate) dropped: Option<u64>,
    pub(crate) seed: u64,
}

/// The error for a history that no order of its calls explains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotLinearizable(String);

impl fmt::Display for NotLinearizable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl error::Error for NotLinearizable {}

/// Records `histories` histories of concurrent calls on a fresh backend of `harness`, and checks
/// that each is linearizable, key by key.
///
/// In each history, 5 tasks make 6 calls each on 2 keys. One call in eight is dropped midway, so it
/// may or may not have been executed. Some keys expire. `seed` chooses the calls; the scheduler
/// determines their order.
///
/// # Errors
///
/// The first history that no order explains, or a call that failed.
pub async fn check_histories<H: Harness>(harness: &H, histories: usize, seed: u64) -> Result<(), NotLinearizable> {
    let shape = Shape {
        tasks: 5,
        each: 6,
        keys: 2,
        dropped: Some(8),
        seed,
    };
    match record_and_check(&Context::new(harness), histories, shape).await {
        Ok(()) => Ok(()),
        Err(Failure::Broken(message)) => Err(NotLinearizable(message)),
        Err(Failure::NotApplicable(reason) | Failure::Avoided(reason)) => Err(NotLinearizable(reason.to_owned())),
    }
}

/// Records `histories` histories and checks them.
pub(crate) async fn record_and_check<H: Harness>(cx: &Context<'_, H>, histories: usize, shape: Shape) -> Checked {
    let store = cx.store().await;
    let handles = [store.clone(), cx.second(&store)];
    let time = cx.virtual_time().cloned();
    let ticks = Arc::new(AtomicU64::new(0));
    let recorded = race(shape.tasks, histories, move |task, history| {
        let (store, ticks, time) = (handles[task % 2].clone(), ticks.clone(), time.clone());
        async move {
            let mut random = Random::new(shape.seed.wrapping_add((history * shape.tasks + task) as u64));
            let mut calls = Vec::with_capacity(shape.each);
            for _ in 0..shape.each {
                if let Some(time) = &time
                    && random.below(8) == 0
                {
                    time.advance(TTL);
                }
                let (key, op) = (random.below(shape.keys), draw(&mut random));
                let (name, way) = (format!("key {history} {key}"), random.below(4));
                let is_dropped = shape.dropped.is_some_and(|one_of| random.below(one_of) == 0);
                let begun = ticks.fetch_add(1, Ordering::SeqCst);
                let answer = if is_dropped {
                    poll_some(call(&store, &name, op, way), 1 + random.below(3))
                        .await
                        .transpose()?
                } else {
                    Some(call(&store, &name, op, way).await?)
                };
                let ended = answer.map_or(u64::MAX, |_| ticks.fetch_add(1, Ordering::SeqCst));
                let made = Call {
                    op,
                    answer,
                    begun,
                    ended,
                };
                calls.push((key, made));
            }
            Ok(calls)
        }
    })
    .await?;
    for history in 0..histories {
        for key in 0..shape.keys {
            let on_key = recorded
                .iter()
                .flat_map(|task| &task[history])
                .filter(|(at, _)| *at == key);
            let mut calls: Vec<Call> = on_key.map(|(_, call)| *call).collect();
            calls.sort_by_key(|call| call.begun);
            ensure!(is_linearizable(&calls), "{}", timeline(&calls));
        }
    }
    Ok(())
}
/// Draws an operation. Its values are few, so that comparisons often hold.
fn draw(random: &mut Random) -> Op {
    let mut value = || i64::try_from(random.below(3)).unwrap_or(0);
    let (old, value) = (value(), value());
    match random.below(10) {
        0 | 1 => Op::Get,
        2 => Op::Set { value, ends: false },
        3 => Op::Set { value, ends: true },
        4 => Op::SetIfAbsent { value },
        5 => Op::SetIfEquals { old, value },
        6 => Op::Del,
        7 => Op::DelIfEquals { old },
        _ => Op::Incr,
    }
}

/// Makes the call, through a verb that `way` chooses among those that do the same.
async fn call<B: KvBackend>(store: &Store<B>, key: &str, op: Op, way: u64) -> Checked<Answer> {
    let text = |value: i64| Bytes::from(value.to_string());
    let set =
        async |value, options| Checked::Ok(Answer::Done(store.set(key, text(value), options).await?.is_written()));
    Ok(match op {
        Op::Get => {
            let value = match way {
                0 => store.get_many(&[key]).await?.pop().flatten(),
                1 => store.get_with_ttl(key).await?.map(|(value, _)| value),
                _ => store.get(key).await?,
            };
            let number = value.as_deref().map(parse_integer);
            ensure!(number != Some(None), "get answered what was never written");
            Answer::Value(number.flatten())
        }
        Op::Set { value, ends } if way == 0 => {
            let expiry = if ends { Expiry::After(TTL) } else { Expiry::Never };
            store.set_many(&[(key, text(value))], expiry).await?;
            Answer::Done(true)
        }
        Op::Set { value, ends: false } => set(value, SetOptions::new()).await?,
        Op::Set { value, ends: true } => set(value, SetOptions::expires_after(TTL)).await?,
        Op::SetIfAbsent { value } => set(value, SetOptions::if_absent()).await?,
        Op::SetIfEquals { old, value } => {
            set(value, SetOptions::new().with_condition(Condition::IfEquals(text(old)))).await?
        }
        Op::Del if way < 2 => Answer::Done(store.expire(key, Expiry::After(Duration::ZERO)).await?),
        Op::Del => Answer::Done(store.del(&[key]).await? == 1),
        Op::DelIfEquals { old } => Answer::Done(store.del_if_equals(key, &text(old)).await?),
        Op::Incr => Answer::Value(store.incr(key, 1, OnMissing::Create(Expiry::Never)).await?),
    })
}
