//! Calls that are dropped at a random moment, and connections that are cut at a random byte, on a
//! real server behind the proxy.
//!
//! Every answer is known beforehand, and every write has its own key, so that all writes can be
//! checked afterwards: no answer reached another caller, no failure counted as a miss, and nothing
//! ran twice. A short run is a test. `scripts/long dropped-calls` runs longer.
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

#[path = "dropped_calls/caller.rs"]
mod caller;
#[path = "dropped_calls/random.rs"]
mod random;
mod support;

use std::{
    env,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use caller::{Caller, Fate, Left, Tally};
use codex_redis::RedisBackend;
use codex_testkit::{Fault, Proxy, redis::RedisServer, require};
use codex_traits::{AnyBackend, KvBackend, SetOptions, SetOutcome};
use random::Random;

/// The number of handles, each with its own proxy and database, and of tasks that share a handle.
const HANDLES: u32 = 8;
const CALLERS: u64 = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn life_04_dropped_calls_and_cut_connections_mix_nothing_up_and_repeat_nothing() {
    let server = Arc::new(require!("redis", RedisServer::start()));
    let wanted: u64 = setting("CODEX_DROPPED_CALLS", 400);
    let seed: u64 = setting("CODEX_DROPPED_CALLS_SEED", 0);
    let start = Instant::now();
    let tally = Arc::new(Tally::default());
    let cuts = Arc::new(AtomicU64::new(0));
    let handles = (0..HANDLES).map(|number| {
        let (server, tally, cuts) = (server.clone(), tally.clone(), cuts.clone());
        tokio::spawn(async move {
            let mut handle = Handle::on(&server, number, seed).await;
            handle.drop_calls(wanted / 2, &tally).await;
            handle.cut_connections(wanted - wanted / 2, &cuts, &tally).await;
            handle.settle().await;
        })
    });
    for handle in handles.collect::<Vec<_>>() {
        handle.await.unwrap();
    }
    let (dropped, cuts) = (tally.dropped.load(Relaxed), cuts.load(Relaxed));
    assert!(
        dropped >= wanted / 2 && cuts >= wanted / 2,
        "{dropped} dropped, {cuts} cut"
    );
    println!(
        "CODEX-RAN dropped calls: seed {seed}, {dropped} calls dropped under way and {cuts} connections cut, among {} answers and {} errors: \
         no answer mixed up, none read as a miss, none of {} writes done twice, in {:?}",
        tally.answered.load(Relaxed),
        tally.failed.load(Relaxed),
        tally.writes.load(Relaxed),
        start.elapsed()
    );
}

/// Returns a number from the environment, which the script sets.
fn setting(name: &str, default: u64) -> u64 {
    let Ok(text) = env::var(name) else { return default };
    text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text:?}"))
}

/// A handle, the tasks that share it, and a connection past its proxy.
struct Handle {
    proxy: Proxy,
    backend: AnyBackend,
    direct: RedisBackend,
    callers: Vec<Caller>,
    random: Random,
}

impl Handle {
    async fn on(server: &RedisServer, number: u32, seed: u64) -> Self {
        let proxy = Proxy::start(SocketAddr::from(([127, 0, 0, 1], server.port())))
            .await
            .unwrap();
        // This test makes thousands of connections. Longer pauses before each would only take time.
        let settings = RedisBackend::builder().backoff(Duration::from_millis(1), Duration::from_millis(4));
        let settings = settings.command_timeout(Duration::from_secs(10));
        let url = format!("redis://{}/{number}", proxy.address());
        let backend = AnyBackend::new(settings.url(&url).build().await.unwrap());
        let direct = RedisBackend::connect(&format!("redis://127.0.0.1:{}/{number}", server.port()))
            .await
            .unwrap();
        let mut callers = Vec::new();
        for caller in 0..CALLERS {
            let seed = seed.wrapping_mul(1_000) + u64::from(number) * CALLERS + caller;
            callers.push(Caller::new(backend.clone(), &direct, seed).await);
        }
        Self {
            proxy,
            backend,
            direct,
            callers,
            random: Random::new(seed ^ u64::from(number) << 32),
        }
    }

    /// Runs until this many calls of all handles were dropped in flight.
    async fn drop_calls(&mut self, wanted: u64, tally: &Tally) {
        while tally.dropped.load(Relaxed) < wanted {
            let left = self.everyone(Fate::Mixed, tally).await;
            assert_eq!(left.failed, 0, "nothing was broken, and calls failed");
        }
    }

    /// Runs until calls of all handles have noticed this many cut connections.
    async fn cut_connections(&mut self, wanted: u64, cuts: &AtomicU64, tally: &Tally) {
        while cuts.load(Relaxed) < wanted {
            // Some cuts hit the handshake, and some hit several calls in flight.
            let at = usize::try_from(self.random.below(800)).unwrap();
            let fault = match self.random.below(10) {
                0 => Fault::CutBeforeReply,
                1 => Fault::CutNextReply,
                2 => Fault::HalfFrame,
                3 => Fault::CutAfterReply,
                4..=6 => Fault::ResetAfter(at),
                _ => Fault::CutRequestsAfter(at),
            };
            self.proxy.set_fault(fault);
            let left = self.everyone(Fate::MostlyAwaited, tally).await;
            self.proxy.set_fault(Fault::None);
            if left.failed > 0 {
                cuts.fetch_add(1, Relaxed);
            }
            let back = || async {
                let written = self.backend.set("back", Bytes::new(), SetOptions::new()).await;
                written.is_ok_and(SetOutcome::is_written)
            };
            support::until("the handle works again", back).await;
        }
    }

    /// Makes every caller run a few calls, all at the same time.
    async fn everyone(&mut self, fate: Fate, tally: &Tally) -> Left {
        let mut running = tokio::task::JoinSet::new();
        for mut caller in self.callers.drain(..) {
            running.spawn(async move {
                let left = caller.some_calls(fate).await;
                (caller, left)
            });
        }
        let mut all = Left::default();
        while let Some(done) = running.join_next().await {
            let (caller, left) = done.unwrap();
            self.callers.push(caller);
            all += left;
        }
        tally.add(&all);
        all
    }

    /// Waits for the calls that were dropped or cut last, then checks every write.
    async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(200)).await;
        for caller in &self.callers {
            caller.look_at_every_write(&self.direct).await;
        }
    }
}
