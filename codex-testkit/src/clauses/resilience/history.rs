//! Linearizability of recorded calls on a key.

use crate::{
    Harness,
    context::Context,
    failure::Checked,
    histories::{Shape, record_and_check},
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
    record_and_check(cx, HISTORIES, shape).await
}
