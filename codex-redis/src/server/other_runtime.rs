//! Answers over a connection that another runtime drives.

use std::time::Duration;

use futures_util::future::{Either, select};
use tokio::{
    runtime::Handle,
    time::{Instant, timeout_at},
};

use crate::connection::multiplexer::{Answering, Deadline};

/// The time that a call waits for another runtime, which drives the connection, before it tests
/// whether that runtime is being driven, and again for the outcome of the test.
const FOREIGN_PATIENCE: Duration = Duration::from_millis(50);

/// The outcome of waiting for an answer.
type Answered = <Answering as Future>::Output;

/// Waits for an answer that this runtime receives. Returns `None` if it is not being driven.
///
/// A late answer alone does not show that: the server or the network may be slow, and a new
/// connection would be too.
pub(super) async fn from_another_runtime(
    runtime: &Handle,
    deadline: Deadline,
    mut answer: Answering,
) -> Option<Answered> {
    loop {
        if let Ok(answer) = timeout_at(Instant::now() + FOREIGN_PATIENCE, &mut answer).await {
            return Some(answer);
        }
        let now = Instant::now();
        if now >= deadline.latest {
            return None;
        }
        let test = select(&mut answer, runtime.spawn(async {}));
        match timeout_at(now + FOREIGN_PATIENCE, test).await {
            Ok(Either::Left((answer, _))) => return Some(answer),
            Ok(Either::Right((Ok(()), _))) => {}
            // It was shut down, or did not run the task.
            Ok(Either::Right((Err(_), _))) | Err(_) => return None,
        }
    }
}
