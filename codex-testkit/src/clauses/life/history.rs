//! Calls of several tasks on one key, recorded and checked.

use std::{
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
    failure::{Checked, ensure},
    linear::{Answer, Call, Op, is_linearizable},
    random::Random,
    runtime::race,
};

const TASKS: usize = 4;
const EACH: usize = 6;
const HISTORIES: usize = 500;
/// Over before the history is, often enough.
const TTL: Duration = Duration::from_millis(1);

pub(crate) async fn life_06_histories_are_linearizable<H: Harness>(cx: &Context<'_, H>) -> Checked {
    let store = cx.store().await;
    let time = cx.virtual_time().cloned();
    let ticks = Arc::new(AtomicU64::new(0));
    let recording = store.clone();
    let histories = race(TASKS, HISTORIES, move |task, history| {
        let (store, ticks, time) = (recording.clone(), ticks.clone(), time.clone());
        async move {
            let mut random = Random::new((history * TASKS + task) as u64);
            let key = format!("key {history}");
            let mut calls = Vec::with_capacity(EACH);
            for _ in 0..EACH {
                if let Some(time) = &time
                    && random.below(8) == 0
                {
                    time.advance(TTL);
                }
                let op = draw(&mut random);
                let begun = ticks.fetch_add(1, Ordering::SeqCst);
                let answer = call(&store, &key, op).await?;
                let ended = ticks.fetch_add(1, Ordering::SeqCst);
                calls.push(Call {
                    op,
                    answer,
                    begun,
                    ended,
                });
            }
            Ok(calls)
        }
    })
    .await?;
    for history in 0..HISTORIES {
        let mut calls: Vec<Call> = histories
            .iter()
            .flat_map(|task| task[history].iter().copied())
            .collect();
        calls.sort_by_key(|call| call.begun);
        ensure!(
            is_linearizable(&calls),
            "no order of these calls on one key explains their answers: {calls:#?}"
        );
    }
    Ok(())
}

/// Few values, so that comparisons often hold.
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

async fn call<B: KvBackend>(store: &Store<B>, key: &str, op: Op) -> Checked<Answer> {
    let text = |value: i64| Bytes::from(value.to_string());
    let set =
        async |value, options| Checked::Ok(Answer::Done(store.set(key, text(value), options).await?.is_written()));
    Ok(match op {
        Op::Get => {
            let value = store.get(key).await?;
            let number = value.as_deref().map(parse_integer);
            ensure!(number != Some(None), "get answered what was never written");
            Answer::Value(number.flatten())
        }
        Op::Set { value, ends: false } => set(value, SetOptions::new()).await?,
        Op::Set { value, ends: true } => set(value, SetOptions::expires_after(TTL)).await?,
        Op::SetIfAbsent { value } => set(value, SetOptions::if_absent()).await?,
        Op::SetIfEquals { old, value } => {
            set(value, SetOptions::new().with_condition(Condition::IfEquals(text(old)))).await?
        }
        Op::Del => Answer::Done(store.del(&[key]).await? == 1),
        Op::DelIfEquals { old } => Answer::Done(store.del_if_equals(key, &text(old)).await?),
        Op::Incr => Answer::Value(store.incr(key, 1, OnMissing::Create(Expiry::Never)).await?),
    })
}
