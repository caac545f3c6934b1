//! The recorder of histories: concurrent calls through near caches and directly to the store.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use codex_traits::{Error, KvBackend, Result, SetOptions};
use futures_util::{
    FutureExt as _,
    future::{BoxFuture, try_join_all},
};
use tokio::time::Instant;

use super::{
    call::{Call, Client, Moment, Shown, What, value_of},
    checker::{Bounds, check},
    violation::Violation,
};
use crate::random::Random;

/// The size of a history, and the seed of its random choices.
///
/// The default history has a few keys and takes tens of milliseconds.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HistoryShape {
    /// The number of tasks of each near cache. Each task has its own clone of the near cache.
    pub tasks: usize,
    /// The number of calls of each task.
    pub calls: usize,
    /// The number of keys. Few keys cause many conflicts.
    pub keys: u64,
    /// The longest pause between two calls of a task.
    pub pause: Duration,
    /// The longest time after which a call is dropped. One call in eight is dropped unless it is
    /// answered earlier.
    pub patience: Duration,
    /// The longest written time to live. The shortest is a tenth of it.
    pub ttl: Duration,
    /// The prefix of the keys. It keeps the histories on one store apart.
    pub prefix: String,
    /// The seed of every random choice.
    pub seed: u64,
}

impl HistoryShape {
    /// Returns the default shape with this seed.
    pub fn new(seed: u64) -> Self {
        Self {
            tasks: 2,
            calls: 10,
            keys: 2,
            pause: Duration::from_millis(4),
            patience: Duration::from_millis(2),
            ttl: Duration::from_millis(20),
            prefix: format!("history:{seed}:"),
            seed,
        }
    }
}

/// The calls of a history, key by key.
#[derive(Debug, Clone)]
pub struct History {
    keys: Vec<Vec<Call>>,
}

impl History {
    /// Checks the calls on each key.
    ///
    /// # Errors
    ///
    /// The first answer that breaks a rule.
    pub fn check(&self, bounds: &Bounds) -> Result<(), Violation> {
        self.keys.iter().try_for_each(|calls| check(calls, bounds))
    }

    /// Returns the calls on each key.
    pub fn keys(&self) -> &[Vec<Call>] {
        &self.keys
    }

    /// Adds a fail-over to the calls on each key.
    pub fn note_fail_over(&mut self, begun: Moment, ended: Moment) {
        for calls in &mut self.keys {
            calls.push(Call {
                client: Client::Bare(0),
                begun,
                ended: Some(ended),
                what: What::FailOver,
            });
        }
    }
}

/// The source of moments and versions for a history.
#[derive(Debug)]
struct Recorder {
    ticks: AtomicU64,
    versions: AtomicU64,
    began: Instant,
}

impl Recorder {
    fn moment(&self) -> Moment {
        Moment {
            tick: self.ticks.fetch_add(1, Ordering::SeqCst),
            at: self.began.elapsed(),
        }
    }
}

/// Records a history of calls by the near caches `handles`, by clones of each, and by `bare`, a
/// client without a near cache. The keys must be missing at first.
///
/// This must run on a tokio runtime with a timer. Under a paused clock it takes no time. The caller
/// may disturb the store meanwhile: writes that fail or are dropped count as unresolved.
///
/// # Errors
///
/// An error of `handles` or `bare` that an outage does not explain: its kind is not `Connection`,
/// `Timeout` or `Server`.
pub async fn record_history<N, B>(handles: &[N], bare: &B, shape: &HistoryShape) -> Result<History>
where
    N: KvBackend + Clone,
    B: KvBackend + Clone,
{
    let recorder = Arc::new(Recorder {
        ticks: AtomicU64::new(1),
        versions: AtomicU64::new(1),
        began: Instant::now(),
    });
    let mut tasks = Vec::new();
    for (number, handle) in handles.iter().enumerate() {
        for _ in 0..shape.tasks {
            let (client, seed) = (Client::Near(number), shape.seed ^ (tasks.len() as u64) << 32);
            let task = run_task(handle.clone(), client, recorder.clone(), shape.clone(), seed);
            tasks.push(spawn(task.boxed()));
        }
    }
    let seed = shape.seed ^ (tasks.len() as u64) << 32;
    let task = run_task(bare.clone(), Client::Bare(0), recorder, shape.clone(), seed);
    tasks.push(spawn(task.boxed()));
    let mut keys = vec![Vec::new(); usize::try_from(shape.keys).unwrap_or_default()];
    for (key, call) in try_join_all(tasks).await?.into_iter().flatten() {
        keys[key].push(call);
    }
    Ok(History { keys })
}

/// Runs a task on the caller's runtime, whose clock may be paused.
async fn spawn<T: Send + 'static>(task: BoxFuture<'static, Result<T>>) -> Result<T> {
    match tokio::spawn(task).await {
        Ok(ended) => ended,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

async fn run_task<B: KvBackend>(
    backend: B,
    client: Client,
    recorder: Arc<Recorder>,
    shape: HistoryShape,
    seed: u64,
) -> Result<Vec<(usize, Call)>> {
    let mut random = Random::new(seed);
    let mut calls = Vec::new();
    for _ in 0..shape.calls {
        tokio::time::sleep(part(&mut random, shape.pause)).await;
        let number = random.below(shape.keys);
        let key = format!("{}{number}", shape.prefix);
        let patience = (random.below(8) == 0).then(|| part(&mut random, shape.patience));
        let drawn = draw(&mut random, client, &recorder, &shape);
        let begun = recorder.moment();
        let answer = match patience {
            None => Some(make(&backend, &key, drawn).await),
            Some(patience) => tokio::time::timeout(patience, make(&backend, &key, drawn)).await.ok(),
        };
        let ended = recorder.moment();
        let (what, ended) = match answer {
            Some(Ok(what)) => (what, Some(ended)),
            Some(Err(error)) if !may_be_an_outage(&error) => return Err(error),
            Some(Err(error)) if !error.may_have_executed() => continue,
            Some(Err(_)) | None if matches!(drawn, What::Read(_)) => continue,
            Some(Err(_)) | None => (drawn, None),
        };
        let number = usize::try_from(number).unwrap_or_default();
        calls.push((
            number,
            Call {
                client,
                begun,
                ended,
                what,
            },
        ));
    }
    Ok(calls)
}

fn may_be_an_outage(error: &Error) -> bool {
    use codex_traits::ErrorKind::{Connection, Server, Timeout};
    matches!(error.kind(), Connection | Server | Timeout)
}

fn part(random: &mut Random, of: Duration) -> Duration {
    let micros = u64::try_from(of.as_micros()).unwrap_or(u64::MAX - 1);
    Duration::from_micros(random.below(micros + 1))
}

/// Draws a random call. The answer to a read is filled in later.
fn draw(random: &mut Random, client: Client, recorder: &Recorder, shape: &HistoryShape) -> What {
    // Half of a bare client's calls are writes, so that pushes occur. A near cache mostly reads.
    let writes = if matches!(client, Client::Bare(_)) { 50 } else { 25 };
    if random.below(100) >= writes {
        return What::Read(Shown::Missing);
    }
    match random.below(5) {
        0 => What::Delete,
        kind => What::Write {
            version: recorder.versions.fetch_add(1, Ordering::SeqCst),
            ttl: (kind == 1).then(|| shape.ttl.mul_f64(0.1) + part(random, shape.ttl.mul_f64(0.9))),
        },
    }
}

async fn make<B: KvBackend>(backend: &B, key: &str, what: What) -> Result<What> {
    match what {
        What::Write { version, ttl } => {
            let options = ttl.map_or_else(SetOptions::new, SetOptions::expires_after);
            let _ = backend.set(key, value_of(key, version), options).await?;
        }
        What::Delete => {
            backend.del(&[key]).await?;
        }
        What::Read(_) | What::FailOver => {
            let value = backend.get(key).await?;
            return Ok(What::Read(Shown::of(key, value.as_ref())));
        }
    }
    Ok(what)
}
