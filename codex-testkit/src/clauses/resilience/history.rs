//! Linearizability of recorded calls on a key.

use codex_traits::KvBackend;

use crate::{
    Harness,
    cases::values::{LARGE, letters},
    context::Context,
    failure::{Checked, ensure},
    histories::{Shape, record_and_check},
    runtime::race,
};

pub(crate) async fn life_06_histories_are_linearizable<H: Harness>(cx: &Context<'_, H>) -> Checked {
    const HISTORIES: usize = 500;
    let shape = Shape {
        tasks: 4,
        each: 6,
        keys: 1,
        // Dropped calls are the subject of life-04.
        dropped: None,
        seed: 0,
    };
    record_and_check(cx, HISTORIES, shape).await?;
    large_values_are_whole(cx).await
}

/// Checks that a large value is replaced in one step. A read never shows parts of two values.
async fn large_values_are_whole<H: Harness>(cx: &Context<'_, H>) -> Checked {
    const TASKS: usize = 4;
    const ROUNDS: usize = 150;
    let store = cx.store().await;
    let handles = [store.clone(), cx.second(&store)];
    let values = [letters(LARGE, 0), letters(LARGE, 1)];
    store.put("k", values[0].clone()).await?;
    race(TASKS, ROUNDS, move |task, round| {
        let (store, values) = (handles[task % 2].clone(), values.clone());
        async move {
            if task < 2 {
                return store.put("k", values[(task + round) % 2].clone()).await;
            }
            let got = store.get("k").await?;
            ensure!(
                got.is_some_and(|got| values.contains(&got)),
                "get of a value of {LARGE} bytes that is being replaced: got something else than one of the two values"
            );
            Ok(())
        }
    })
    .await
    .map(drop)
}
