//! Calls on threads that may block.

use std::thread;

use tokio::sync::oneshot;

/// Makes a call on a new thread, and awaits it.
pub(super) async fn elsewhere<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = oneshot::channel();
    thread::spawn(move || {
        // If the caller was dropped, there is no receiver.
        drop(sender.send(call()));
    });
    receiver.await.expect("a blocking call panicked")
}

/// Makes a call with borrowed arguments on a new thread, and blocks this thread until it returns.
pub(super) fn in_place<T: Send>(call: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(call).join()).expect("a blocking call panicked")
}
