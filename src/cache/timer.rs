//! Timeouts that work on any executor.

use std::{
    future::{Future, poll_fn},
    panic::catch_unwind,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use futures_timer::Delay;
use tokio::{runtime::Handle, time::Sleep};

/// A timer that completes once.
pub(super) enum Timer {
    Tokio(Pin<Box<Sleep>>),
    /// Used on any other executor, and on a tokio runtime that was built without its timer.
    Thread(Delay),
}

impl Timer {
    pub(super) fn after(duration: Duration) -> Self {
        if Handle::try_current().is_ok() {
            // tokio does not expose whether a runtime has a timer. Without a timer, creating a
            // `Sleep` panics.
            if let Ok(sleep) = catch_unwind(|| Box::pin(tokio::time::sleep(duration))) {
                return Self::Tokio(sleep);
            }
        }
        Self::Thread(Delay::new(duration))
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Tokio(sleep) => sleep.as_mut().poll(cx),
            Self::Thread(delay) => Pin::new(delay).poll(cx),
        }
    }
}

/// Returns the output of `future`, or `None` if it takes longer than `limit`.
///
/// Creates the timer only when `future` has to wait.
pub(super) async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut timer = None;
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        let timer = timer.get_or_insert_with(|| Timer::after(limit));
        timer.poll(cx).map(|()| None)
    })
    .await
}

pub(super) async fn sleep(duration: Duration) {
    let mut timer = Timer::after(duration);
    poll_fn(|cx| timer.poll(cx)).await;
}
