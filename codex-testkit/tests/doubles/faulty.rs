//! Faults must strike the calls that they select, as often as specified, with their documented
//! effects.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use codex_memory::MemoryBackend;
use codex_testkit::doubles::{Effect, Fault, FaultyBackend, Loss, Verb};
use codex_traits::{ErrorKind, Expiry, KvBackend, OnMissing, Pattern, Result, ScanRequest, SetOptions};

fn faulty() -> FaultyBackend<MemoryBackend> {
    FaultyBackend::new(MemoryBackend::new())
}

/// Calls `verb` on keys that begin with "k".
async fn call(backend: &impl KvBackend, verb: Verb) -> Result<()> {
    match verb {
        Verb::Get => backend.get("k").await.map(drop),
        Verb::Set => backend.set("k", "1".into(), SetOptions::new()).await.map(drop),
        Verb::Del => backend.del(&["other", "k"]).await.map(drop),
        Verb::DelIfEquals => backend.del_if_equals("k", b"1").await.map(drop),
        Verb::Expire => backend.expire("k", Expiry::Never).await.map(drop),
        Verb::Ttl => backend.ttl("k").await.map(drop),
        Verb::Scan => backend.scan(ScanRequest::new(&Pattern::all())).await.map(drop),
        Verb::GetMany => backend.get_many(&["other", "k"]).await.map(drop),
        Verb::SetMany => {
            let entries = [("other", "1".into()), ("k", "1".into())];
            backend.set_many(&entries, Expiry::Never).await
        }
        Verb::Incr => backend.incr("k", 1, OnMissing::Create(Expiry::Never)).await.map(drop),
        Verb::DelMatching => backend.del_matching(&Pattern::prefix("k")).await.map(drop),
        Verb::GetWithTtl => backend.get_with_ttl("k").await.map(drop),
        Verb::Health => backend.health().await,
        _ => unreachable!("a verb that this test does not know"),
    }
}

#[tokio::test]
async fn a_fault_strikes_the_verb_that_it_is_for_and_no_other() {
    for &struck in Verb::ALL {
        let backend = faulty().with_fault(Fault::refused(ErrorKind::Server).on(struck));
        for &verb in Verb::ALL {
            let answer = call(&backend, verb).await;
            if verb == struck {
                let error = answer.unwrap_err();
                assert_eq!(
                    (error.kind(), error.operation()),
                    (ErrorKind::Server, verb.name()),
                    "{verb}"
                );
                assert!(!error.may_have_executed(), "{verb}");
            } else {
                answer.unwrap();
            }
        }
        let injected = backend.injected();
        assert_eq!(injected.len(), 1);
        assert_eq!(
            (injected[0].verb, injected[0].effect),
            (struck, Effect::Refused(ErrorKind::Server))
        );
    }
}

#[tokio::test]
async fn a_fault_strikes_the_keys_that_it_is_for() {
    let fault = || Fault::refused(ErrorKind::Connection).for_keys(Pattern::prefix("k"));
    for &verb in Verb::ALL {
        let backend = faulty().with_fault(fault());
        let spared = matches!(verb, Verb::Scan | Verb::DelMatching | Verb::Health);
        assert_eq!(call(&backend, verb).await.is_ok(), spared, "{verb}");
    }
    let backend = faulty().with_fault(fault());
    backend.get("another").await.unwrap();
    assert!(backend.injected().is_empty());
}

#[tokio::test]
async fn what_is_refused_or_lost_on_the_way_is_not_applied() {
    for fault in [
        Fault::refused(ErrorKind::Timeout),
        Fault::request_lost(Loss::Connection),
        Fault::request_lost(Loss::Timeout),
    ] {
        let backend = faulty();
        call(backend.inner(), Verb::Set).await.unwrap();
        backend.inject(fault);
        for &verb in Verb::ALL {
            assert!(call(&backend, verb).await.is_err(), "{verb}");
        }
        assert_eq!(backend.inner().get("k").await.unwrap().unwrap(), "1");
        assert_eq!(backend.inner().get("other").await.unwrap(), None);
    }
}

#[tokio::test]
async fn what_has_lost_its_answer_is_applied_once() {
    for (loss, kind) in [
        (Loss::Connection, ErrorKind::Connection),
        (Loss::Timeout, ErrorKind::Timeout),
    ] {
        let backend = faulty().with_fault(Fault::answer_lost(loss).times(1));
        let error = call(&backend, Verb::Incr).await.unwrap_err();
        assert_eq!((error.kind(), error.may_have_executed()), (kind, true));
        assert_eq!(backend.get("k").await.unwrap().unwrap(), "1");

        backend.inject(Fault::answer_lost(loss).on(Verb::DelMatching));
        assert!(call(&backend, Verb::DelMatching).await.is_err());
        assert_eq!(backend.get("k").await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_caller_cannot_tell_a_lost_request_from_a_lost_answer() {
    for loss in [Loss::Connection, Loss::Timeout] {
        let request = faulty().with_fault(Fault::request_lost(loss));
        let answer = faulty().with_fault(Fault::answer_lost(loss));
        let request = call(&request, Verb::Set).await.unwrap_err();
        let answer = call(&answer, Verb::Set).await.unwrap_err();
        assert_eq!(format!("{request:?}"), format!("{answer:?}"));
    }
}

#[tokio::test]
async fn a_fault_waits_and_strikes_as_often_as_it_was_told() {
    let backend = faulty().with_fault(Fault::refused(ErrorKind::Server).after(2).times(3));
    let mut answers = Vec::new();
    for _ in 0..8 {
        answers.push(backend.get("k").await.is_ok());
    }
    assert_eq!(answers, [true, true, false, false, false, true, true, true]);
}

#[tokio::test]
async fn healing_lifts_every_fault_of_every_clone() {
    let backend = faulty().with_fault(Fault::refused(ErrorKind::Server));
    let clone = backend.clone();
    assert!(clone.get("k").await.is_err());
    clone.heal();
    assert!(backend.get("k").await.is_ok());
    assert_eq!(backend.injected().len(), 1);
}

#[tokio::test]
async fn a_seed_repeats_what_happens() {
    async fn run(seed: u64) -> Vec<bool> {
        let backend = faulty()
            .with_seed(seed)
            .with_fault(Fault::refused(ErrorKind::Server).on(Verb::Get).with_probability(0.3));
        let mut answers = Vec::new();
        for _ in 0..200 {
            answers.push(backend.get("k").await.is_ok());
            // A call that the fault does not select must not advance its schedule.
            if seed == 1 && answers.len() == 100 {
                backend.ttl("k").await.unwrap();
            }
        }
        answers
    }
    let one = run(1).await;
    assert_eq!(one, run(1).await);
    assert_ne!(one, run(2).await);
    let failed = one.iter().filter(|ok| !**ok).count();
    assert!((30..=90).contains(&failed), "{failed} of 200");
}

#[tokio::test(start_paused = true)]
async fn a_delay_takes_no_time_under_a_paused_clock() {
    let backend = faulty().with_fault(Fault::delay(Duration::from_secs(3600)).times(1));
    let (real, paused) = (std::time::Instant::now(), tokio::time::Instant::now());
    backend.get("k").await.unwrap();
    assert_eq!(paused.elapsed(), Duration::from_secs(3600));
    assert!(real.elapsed() < Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_delay_outlasts_a_callers_deadline() {
    let backend = faulty().with_fault(Fault::delay(Duration::from_secs(3600)));
    let set = backend.set("k", "1".into(), SetOptions::new());
    assert!(tokio::time::timeout(Duration::from_secs(5), set).await.is_err());
    assert_eq!(backend.inner().get("k").await.unwrap(), None);
}

#[tokio::test]
async fn delays_add_up_and_are_waited_for_by_the_given_function() {
    let waited = Arc::new(Mutex::new(Vec::new()));
    let log = waited.clone();
    let backend = faulty()
        .with_sleep(move |duration| {
            log.lock().unwrap().push(duration);
            async {}
        })
        .with_fault(Fault::delay(Duration::from_secs(1)))
        .with_fault(Fault::delay_within(Duration::from_secs(5)..=Duration::from_secs(6)));
    for _ in 0..20 {
        backend.get("k").await.unwrap();
    }
    let waited = waited.lock().unwrap();
    assert_eq!(waited.len(), 40);
    for pair in waited.chunks(2) {
        assert_eq!(pair[0], Duration::from_secs(1));
        assert!((Duration::from_secs(5)..=Duration::from_secs(6)).contains(&pair[1]));
    }
    assert!(waited.iter().collect::<BTreeSet<_>>().len() > 10, "random, not fixed");
}

#[test]
fn a_delay_needs_no_runtime() {
    let backend = faulty().with_fault(Fault::delay(Duration::from_millis(20)));
    let start = std::time::Instant::now();
    block_on(backend.get("k")).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(20));
}

/// Runs `future` on this thread, which is parked until it is woken. No runtime is involved.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            std::task::Poll::Ready(value) => return value,
            std::task::Poll::Pending => std::thread::park(),
        }
    }
}

#[tokio::test]
async fn nothing_that_is_printed_shows_a_key_or_a_value() {
    let backend = faulty().with_fault(Fault::answer_lost(Loss::Timeout).for_keys(Pattern::glob("secret-key")));
    let error = backend
        .set("secret-key", "secret-value".into(), SetOptions::new())
        .await
        .unwrap_err();
    let fault = Fault::delay(Duration::ZERO).for_keys(Pattern::glob("secret-key"));
    let printed = format!("{backend:?} {fault:?} {:?} {error:?} {error}", backend.injected());
    assert!(!printed.contains("secret"), "{printed}");
}
