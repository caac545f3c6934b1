//! A task that knows the answers of its calls beforehand.

use std::{
    future::{Future, poll_fn},
    ops::AddAssign,
    pin::pin,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    task::Poll,
    time::{Duration, Instant},
};

use bytes::Bytes;
use codex_redis::RedisBackend;
use codex_traits::{
    AnyBackend, Error, Expiry, KvBackend, OnMissing, Pattern, ScanRequest, SetOptions, SetOutcome, Ttl,
};
use tokio::task::yield_now;

use crate::random::Random;

const CREATE: OnMissing = OnMissing::Create(Expiry::Never);

/// The share of calls that are dropped.
#[derive(Clone, Copy)]
pub(crate) enum Fate {
    /// Three in four.
    Mixed,
    /// One in eight.
    MostlyAwaited,
}

/// The outcomes of calls.
#[derive(Default)]
pub(crate) struct Left {
    pub(crate) dropped: u64,
    pub(crate) answered: u64,
    pub(crate) failed: u64,
    pub(crate) writes: u64,
}

impl AddAssign for Left {
    fn add_assign(&mut self, other: Self) {
        self.dropped += other.dropped;
        self.answered += other.answered;
        self.failed += other.failed;
        self.writes += other.writes;
    }
}

/// The outcomes of the calls of all handles.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) dropped: AtomicU64,
    pub(crate) answered: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) writes: AtomicU64,
}

impl Tally {
    pub(crate) fn add(&self, left: &Left) {
        self.dropped.fetch_add(left.dropped, Relaxed);
        self.answered.fetch_add(left.answered, Relaxed);
        self.failed.fetch_add(left.failed, Relaxed);
        self.writes.fetch_add(left.writes, Relaxed);
    }
}

/// The fate of a write, as far as its caller can know.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Known {
    Done,
    NotDone,
    Unknown,
}

struct Write {
    key: String,
    value: String,
    known: Known,
}

pub(crate) struct Caller {
    backend: AnyBackend,
    random: Random,
    name: u64,
    round: u64,
    writes: Vec<Write>,
    left: Left,
}

impl Caller {
    /// Creates a caller. `direct` is an undisturbed handle on the same database.
    pub(crate) async fn new(backend: AnyBackend, direct: &RedisBackend, name: u64) -> Self {
        let caller = Self {
            backend,
            random: Random::new(name),
            name,
            round: 0,
            writes: Vec::new(),
            left: Left::default(),
        };
        let outcome = direct
            .set(&caller.standing(), caller.standing().into(), SetOptions::new())
            .await;
        assert_eq!(outcome.unwrap(), SetOutcome::Written);
        caller
    }

    /// Returns a key that always exists. Its value is its name.
    fn standing(&self) -> String {
        format!("standing {}.", self.name)
    }

    pub(crate) async fn some_calls(&mut self, fate: Fate) -> Left {
        let written = self.writes.len();
        for _ in 0..4 {
            self.round += 1;
            match self.random.below(3) {
                0 => self.read(fate).await,
                1 => self.write(fate).await,
                _ => self.write_and_read_back().await,
            }
        }
        self.left.writes = (self.writes.len() - written) as u64;
        std::mem::take(&mut self.left)
    }

    async fn read(&mut self, fate: Fate) {
        let (backend, key) = (self.backend.clone(), self.standing());
        let missing = format!("missing {}.", self.name);
        let there = Some(Bytes::from(key.clone()));
        match self.random.below(7) {
            0 => self.answers(fate, backend.get(&key), &there).await,
            1 => {
                let expected = vec![there.clone(), None, there];
                self.answers(fate, backend.get_many(&[&key, &missing, &key]), &expected)
                    .await;
            }
            2 => self.answers(fate, backend.ttl(&key), &Ttl::Persistent).await,
            3 => self.answers(fate, backend.del_if_equals(&key, b"else"), &false).await,
            4 => self.answers(fate, backend.expire(&key, Expiry::Never), &true).await,
            5 => {
                self.answers(fate, backend.incr(&missing, 1, OnMissing::Refuse), &None)
                    .await;
            }
            _ => {
                let pattern = Pattern::prefix(&key);
                let keys = async {
                    // The backend reduces the hint to 10,000, more keys than the database has in a
                    // run of the usual length, so the scan has one page.
                    let request = ScanRequest::new(&pattern).with_count_hint(1_000_000);
                    backend.scan(request).await.map(|page| page.keys)
                };
                self.answers(fate, keys, &vec![key.clone()]).await;
            }
        }
    }

    /// Makes a call that changes nothing.
    async fn answers<T>(&mut self, fate: Fate, call: impl Future<Output = Result<T, Error>> + Send, expected: &T)
    where
        T: PartialEq + std::fmt::Debug + Send + Sync,
    {
        if let Met::Answered(answer) = self.meet(fate, call).await {
            assert_eq!(&answer, expected, "a caller of standing keys");
        }
    }

    /// Writes to a new key, which would reveal a repeated write.
    async fn write(&mut self, fate: Fate) {
        let (backend, key) = (self.backend.clone(), format!("write {} {}", self.name, self.round));
        let known = if self.random.below(2) == 0 {
            let met = self.meet(fate, backend.incr(&key, 1, CREATE)).await;
            self.writes.push(Write {
                key,
                value: "1".to_owned(),
                known: met.known(),
            });
            met.expect(&Some(1))
        } else {
            let value = key.clone();
            let set = backend.set(&key, value.clone().into(), SetOptions::if_absent());
            let met = self.meet(fate, set).await;
            self.writes.push(Write {
                key,
                value,
                known: met.known(),
            });
            met.expect(&SetOutcome::Written)
        };
        assert!(known, "a write to a new key was done twice, or has another's answer");
    }

    /// Writes a value and reads it back.
    async fn write_and_read_back(&mut self) {
        let (backend, key) = (self.backend.clone(), format!("own {} {}", self.name, self.round));
        let set = backend.set(&key, key.clone().into(), SetOptions::new());
        let met = self.await_all(set).await;
        assert!(
            met.expect(&SetOutcome::Written),
            "a set without a condition was refused"
        );
        let known = met.known();
        self.writes.push(Write {
            key: key.clone(),
            value: key.clone(),
            known,
        });
        if let Met::Answered(value) = self.await_all(backend.get(&key)).await {
            let is_right = match (&value, known) {
                (Some(value), _) => *value == key,
                (None, known) => known != Known::Done,
            };
            assert!(is_right, "what was written ({known:?}) is read as {value:?}");
        }
    }

    /// Returns the call's answer, unless its fate is to be dropped first.
    async fn meet<T: Send>(&mut self, fate: Fate, call: impl Future<Output = Result<T, Error>> + Send) -> Met<T> {
        let is_dropped = match fate {
            Fate::Mixed => self.random.below(4) > 0,
            Fate::MostlyAwaited => self.random.below(8) == 0,
        };
        if !is_dropped {
            return self.await_all(call).await;
        }
        // Some calls are dropped at one of the first awaits, the others while the request or its
        // answer is in flight.
        let (polls, patience) = match self.random.below(2) {
            0 => (self.random.below(6), Duration::ZERO),
            _ => (u64::MAX, Duration::from_micros(self.random.below(600))),
        };
        let start = Instant::now();
        let mut call = pin!(call);
        let mut polled = 0;
        while polled < polls && (polls < u64::MAX || start.elapsed() < patience) {
            polled += 1;
            if let Poll::Ready(answer) = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await {
                return self.met(answer);
            }
            yield_now().await;
        }
        if polled == 0 {
            return Met::NeverBegun;
        }
        self.left.dropped += 1;
        Met::Dropped
    }

    async fn await_all<T: Send>(&mut self, call: impl Future<Output = Result<T, Error>> + Send) -> Met<T> {
        let answer = call.await;
        self.met(answer)
    }

    fn met<T>(&mut self, answer: Result<T, Error>) -> Met<T> {
        match answer {
            Ok(answer) => {
                self.left.answered += 1;
                Met::Answered(answer)
            }
            Err(error) => {
                self.left.failed += 1;
                Met::Failed(error)
            }
        }
    }

    /// Checks every write directly at the server, past the proxy, when no call is in flight.
    pub(crate) async fn look_at_every_write(&self, direct: &RedisBackend) {
        for part in self.writes.chunks(500) {
            let keys: Vec<&str> = part.iter().map(|write| write.key.as_str()).collect();
            for (write, found) in part.iter().zip(direct.get_many(&keys).await.unwrap()) {
                let is_right = match (&found, write.known) {
                    (Some(value), known) => known != Known::NotDone && *value == write.value,
                    (None, known) => known != Known::Done,
                };
                assert!(is_right, "{} ({:?}) is {found:?} at the end", write.key, write.known);
            }
        }
        let standing = direct.get(&self.standing()).await.unwrap();
        assert_eq!(standing, Some(self.standing().into()));
    }
}

/// The end of a call.
enum Met<T> {
    Answered(T),
    Failed(Error),
    Dropped,
    NeverBegun,
}

impl<T: PartialEq> Met<T> {
    fn known(&self) -> Known {
        match self {
            Self::Answered(_) => Known::Done,
            Self::Failed(error) if error.may_have_executed() => Known::Unknown,
            Self::Dropped => Known::Unknown,
            Self::Failed(_) | Self::NeverBegun => Known::NotDone,
        }
    }

    /// Returns whether the call had the expected answer, or none.
    fn expect(&self, expected: &T) -> bool {
        match self {
            Self::Answered(answer) => answer == expected,
            _ => true,
        }
    }
}
