//! Threads that may block.

use std::thread;

use tokio::sync::oneshot;

/// Makes a call on a thread of its own, and waits for it as a task does.
pub(super) async fn elsewhere<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = oneshot::channel();
    thread::spawn(move || {
        // A caller that is gone wants no answer.
        drop(sender.send(call()));
    });
    receiver.await.expect("a blocking call panicked")
}

/// Makes a call with borrowed arguments on a thread of its own, and blocks this one meanwhile.
pub(super) fn in_place<T: Send>(call: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(call).join()).expect("a blocking call panicked")
}
