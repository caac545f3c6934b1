//! The checks of every scenario: an error within the deadline, bounded memory, and a handle that
//! works afterwards.

use std::{
    fs,
    future::Future,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use codex_redis::{RedisBackend, RedisBuilder};
use codex_traits::{Condition, Error, Expiry, KvBackend, OnMissing, Pattern, ScanRequest, SetOptions};

use crate::server::{Attack, Server};

/// A text in the answers of the hostile server that no error may show.
pub(crate) const SECRET: &str = "hunter2";

/// The deadline of a call.
pub(crate) const DEADLINE: Duration = Duration::from_millis(200);

/// The longest accepted call on a busy machine. A call without a deadline takes longer.
const LONGEST: Duration = Duration::from_secs(3);

/// The maximum memory of the replies on a connection, in bytes.
pub(crate) const REPLY_BYTES: usize = 4 << 20;

/// The maximum memory of a scenario, in bytes: replies on two connections, buffers of the kernel's
/// size, and the server's own memory.
const MEMORY: u64 = 64 << 20;

pub(crate) fn settings(server: &Server) -> RedisBuilder {
    RedisBackend::builder()
        .url(&format!("redis://{}?max_reply_bytes={REPLY_BYTES}", server.address()))
        .command_timeout(DEADLINE)
        .connect_timeout(DEADLINE)
        .backoff(Duration::from_millis(5), Duration::from_millis(20))
}

/// The verbs, by name.
pub(crate) const VERBS: [&str; 19] = [
    "get",
    "get_with_ttl",
    "get_many",
    "ttl",
    "scan",
    "set",
    "set_nx",
    "set_if",
    "set_many",
    "del",
    "del_if",
    "expire",
    "expire_keep",
    "expire_zero",
    "persist",
    "incr",
    "incr_ending",
    "incr_there",
    "del_matching",
];

pub(crate) async fn call(backend: &RedisBackend, verb: &str) -> Result<(), Error> {
    let pattern = Pattern::prefix("k");
    let on = |condition| SetOptions::new().with_condition(condition);
    match verb {
        "get" => backend.get("k").await.map(drop),
        "get_with_ttl" => backend.get_with_ttl("k").await.map(drop),
        "get_many" => backend.get_many(&["k", "l"]).await.map(drop),
        "ttl" => backend.ttl("k").await.map(drop),
        "scan" => backend.scan(ScanRequest::new(&pattern)).await.map(drop),
        "set" => backend.set("k", "v".into(), SetOptions::new()).await.map(drop),
        "set_nx" => backend.set("k", "v".into(), on(Condition::IfAbsent)).await.map(drop),
        "set_if" => {
            let condition = on(Condition::IfEquals("w".into()));
            backend.set("k", "v".into(), condition).await.map(drop)
        }
        "set_many" => {
            backend
                .set_many(&[("k", "v".into()), ("l", "w".into())], Expiry::Never)
                .await
        }
        "del" => backend.del(&["k"]).await.map(drop),
        "del_if" => backend.del_if_equals("k", b"v").await.map(drop),
        "expire" => backend
            .expire("k", Expiry::After(Duration::from_secs(9)))
            .await
            .map(drop),
        "expire_keep" => backend.expire("k", Expiry::Keep).await.map(drop),
        "expire_zero" => backend.expire("k", Expiry::After(Duration::ZERO)).await.map(drop),
        "persist" => backend.expire("k", Expiry::Never).await.map(drop),
        "incr" => backend.incr("k", 1, OnMissing::Create(Expiry::Never)).await.map(drop),
        "incr_ending" => {
            let ending = Expiry::After(Duration::from_secs(9));
            backend.incr("k", 1, OnMissing::Create(ending)).await.map(drop)
        }
        "incr_there" => backend.incr("k", 1, OnMissing::Refuse).await.map(drop),
        "del_matching" => backend.del_matching(&pattern).await.map(drop),
        other => panic!("no verb is called {other}"),
    }
}

/// Lets one scenario run at a time, because memory is measured for the whole process.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a test, or a part of a test, on a runtime of two threads.
pub(crate) fn on_two_threads<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(test)
}

/// Checks that under this attack each of `verbs` ends in an error within its deadline, and that the
/// handle works again afterwards.
pub(crate) async fn survives(server: &Server, backend: &RedisBackend, verbs: &[&str], attack: Attack, name: &str) {
    for (verb, answer) in endures(server, backend, verbs, attack, name).await {
        assert!(answer.is_err(), "{verb} under {name}: no error");
    }
}

/// Checks that under this attack each of `verbs` ends within its deadline, that errors show no
/// secret, and that the handle works again afterwards.
pub(crate) async fn endures<'a>(
    server: &Server,
    backend: &RedisBackend,
    verbs: &[&'a str],
    attack: Attack,
    name: &str,
) -> Vec<(&'a str, Result<(), Error>)> {
    let mut answers = Vec::with_capacity(verbs.len());
    let memory = Memory::now();
    server.attack(attack);
    for verb in verbs {
        let start = Instant::now();
        let what = format!("{verb} under {name}");
        let answer = tokio::time::timeout(LONGEST, call(backend, verb)).await;
        let Ok(answer) = answer else {
            panic!("{what}: no end within {LONGEST:?}");
        };
        assert!(start.elapsed() < LONGEST, "{what} took {:?}", start.elapsed());
        if let Err(error) = &answer {
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains(SECRET), "{what}: {shown}");
            assert!(shown.is_ascii() && !shown.contains('\x1b'), "{what}: {shown:?}");
        }
        answers.push((*verb, answer));
    }
    memory.assert_bounded(name);
    server.behave();
    works(name, async || call(backend, "get").await).await;
    works(name, async || call(backend, "set").await).await;
    answers
}

/// Waits until the handle works, within a few pauses after failed dials.
pub(crate) async fn works<F: Future<Output = Result<(), Error>>>(name: &str, mut call: impl FnMut() -> F) {
    let start = Instant::now();
    loop {
        match call().await {
            Ok(()) => return,
            Err(error) => assert!(
                start.elapsed() < Duration::from_secs(10),
                "after {name} the handle does not work: {error:?}"
            ),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The memory of the process, if the system reports its peak.
struct Memory(Option<u64>);

impl Memory {
    fn now() -> Self {
        // Resets the peak; see proc(5).
        let is_reset = fs::write("/proc/self/clear_refs", "5").is_ok();
        Self(field("VmRSS:").filter(|_| is_reset))
    }

    fn assert_bounded(&self, name: &str) {
        if let (Some(before), Some(peak)) = (self.0, field("VmHWM:")) {
            let grown = peak.saturating_sub(before);
            assert!(grown < MEMORY, "{name}: {} MiB", grown >> 20);
        }
    }
}

/// Returns the current memory of the process, if the system reports it.
pub(crate) fn resident() -> Option<u64> {
    field("VmRSS:")
}

fn field(name: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim()
        .strip_suffix(" kB")?
        .trim()
        .parse::<u64>()
        .ok()
        .map(|kib| kib << 10)
}
