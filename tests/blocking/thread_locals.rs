//! Tests of calls in the destructors of thread-local variables, where a panic aborts the process.

use std::{cell::RefCell, sync::mpsc, thread, time::Duration};

use codex_kv::{CacheError, ErrorKind, Timeout, blocking::Cache, memory::MemoryBackend};

type Outcome = Result<(), CacheError>;

struct Guard(Cache<MemoryBackend>, mpsc::Sender<Outcome>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.1.send(self.0.set("k", &1, Timeout::Default)).unwrap();
    }
}

thread_local! {
    static GUARD: RefCell<Option<Guard>> = const { RefCell::new(None) };
}

/// Returns the outcome of a call in the destructor of a variable that was set before or after the
/// first call of the thread. Destructors run in the reverse order.
fn called_at_the_end_of_a_thread(is_first: bool) -> Outcome {
    let (sender, receiver) = mpsc::channel();
    let ending = thread::spawn(move || {
        let cache = Cache::builder(MemoryBackend::new()).key_prefix("shop").build().unwrap();
        let call = || cache.set("k", &0, Timeout::Default).unwrap();
        let register = || GUARD.set(Some(Guard(cache.clone(), sender)));
        if is_first {
            register();
            call();
        } else {
            call();
            register();
        }
    });
    ending.join().unwrap();
    receiver.recv_timeout(Duration::from_secs(10)).unwrap()
}

#[test]
fn a_call_at_the_end_of_a_thread_works_or_is_an_error() {
    called_at_the_end_of_a_thread(false).unwrap();
    // The runtime's own variables are already destroyed.
    let Err(CacheError::Backend(error)) = called_at_the_end_of_a_thread(true) else {
        panic!("a runtime was entered after its variables were destroyed")
    };
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().contains("before the thread ends"), "{error}");
}
