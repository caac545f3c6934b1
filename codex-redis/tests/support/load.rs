//! 64 tasks that write, and an account of the outcome of each call.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use codex_redis::RedisBackend;
use codex_traits::{Error, Expiry, KvBackend, OnMissing, SetOptions};
use tokio::task::JoinHandle;

const TASKS: usize = 64;

/// A load of tasks. Each task adds to its own counter, and writes keys that no other task writes,
/// each once and only if it is absent.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    start: Instant,
    /// The start of each task's last acknowledged increment, in microseconds since the start of the
    /// load.
    last: Arc<Vec<AtomicU64>>,
    tasks: Vec<JoinHandle<Task>>,
}

#[derive(Clone, Copy)]
enum Fate {
    Acknowledged,
    /// It may have been executed.
    Unknown,
    NotExecuted,
}

impl Fate {
    fn of(error: &Error) -> Self {
        super::seen(error);
        if error.may_have_executed() {
            Self::Unknown
        } else {
            Self::NotExecuted
        }
    }
}

#[derive(Default)]
struct Task {
    counter: String,
    increments: [i64; 3],
    keys: Vec<(String, Fate)>,
    twice: u64,
    longest_gap: Duration,
    slowest: Duration,
}

/// The outcomes of all calls.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) acknowledged: u64,
    pub(crate) unknown: u64,
    pub(crate) not_executed: u64,
    /// Calls that were executed more than once.
    pub(crate) twice: u64,
    /// Calls that were executed although their error said that they were not.
    pub(crate) denied: u64,
    /// Acknowledged writes that are missing. Replication is asynchronous, so a crashed primary
    /// loses the writes that it had not passed on.
    pub(crate) lost: u64,
    /// The longest time that any task went without an acknowledged increment.
    pub(crate) longest_gap: Duration,
    /// The longest call.
    pub(crate) slowest: Duration,
}

impl Load {
    pub(crate) fn start(backend: &RedisBackend) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let start = Instant::now();
        let last: Arc<Vec<AtomicU64>> = Arc::new((0..TASKS).map(|_| AtomicU64::new(0)).collect());
        let tasks = (0..TASKS)
            .map(|number| {
                let (backend, stop, last) = (backend.clone(), stop.clone(), last.clone());
                tokio::spawn(async move {
                    let note = |begun: Instant| {
                        let micros = u64::try_from(begun.duration_since(start).as_micros()).unwrap();
                        last[number].store(micros, Ordering::Relaxed);
                    };
                    run(number, backend, stop, note).await
                })
            })
            .collect();
        Self {
            stop,
            start,
            last,
            tasks,
        }
    }

    /// Waits until each task has an acknowledged increment that began after `since`. Returns the
    /// time since then.
    pub(crate) async fn all_write(&self, since: Instant) -> Duration {
        let since_start = u64::try_from(since.duration_since(self.start).as_micros()).unwrap();
        while self.last.iter().any(|last| last.load(Ordering::Relaxed) <= since_start) {
            assert!(since.elapsed() < Duration::from_secs(60), "a task does not write again");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        since.elapsed()
    }

    /// Ends the load, and compares the outcomes of the calls with the stored data.
    pub(crate) async fn end(self, backend: &RedisBackend) -> Account {
        self.stop.store(true, Ordering::Relaxed);
        let mut account = Account::default();
        for task in self.tasks {
            let task = task.await.unwrap();
            let stored = backend.get(&task.counter).await.unwrap();
            let stored: i64 = stored.map_or(0, |text| std::str::from_utf8(&text).unwrap().parse().unwrap());
            let [acknowledged, unknown, not_executed] = task.increments;
            // An increment that was denied and is stored counts here too.
            account.twice += task.twice + (stored - acknowledged - unknown).max(0).unsigned_abs();
            account.lost += (acknowledged - stored).max(0).unsigned_abs();
            account.acknowledged += acknowledged.unsigned_abs();
            account.unknown += unknown.unsigned_abs();
            account.not_executed += not_executed.unsigned_abs();
            account.longest_gap = account.longest_gap.max(task.longest_gap);
            account.slowest = account.slowest.max(task.slowest);
            for some in task.keys.chunks(500) {
                let names: Vec<&str> = some.iter().map(|(name, _)| name.as_str()).collect();
                let found = backend.get_many(&names).await.unwrap();
                for ((_, fate), found) in some.iter().zip(found) {
                    match fate {
                        Fate::Acknowledged => {
                            account.acknowledged += 1;
                            account.lost += u64::from(found.is_none());
                        }
                        Fate::Unknown => account.unknown += 1,
                        Fate::NotExecuted => {
                            account.not_executed += 1;
                            account.denied += u64::from(found.is_some());
                        }
                    }
                }
            }
        }
        account
    }
}

impl Account {
    /// Checks that no call ran twice, and that no call ran although its error denied it.
    #[track_caller]
    pub(crate) fn assert_true(&self) {
        assert_eq!((self.twice, self.denied), (0, 0), "{self:?}");
        assert!(self.acknowledged > 0, "{self:?}");
    }
}

async fn run(number: usize, backend: RedisBackend, stop: Arc<AtomicBool>, note: impl Fn(Instant)) -> Task {
    let mut task = Task {
        counter: format!("counter-{number}"),
        ..Task::default()
    };
    let mut last = Instant::now();
    // Half of the increments run a script.
    let expiry = if number.is_multiple_of(2) {
        Expiry::Never
    } else {
        Expiry::After(Duration::from_secs(3600))
    };
    for round in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let start = Instant::now();
        let added = backend.incr(&task.counter, 1, OnMissing::Create(expiry)).await;
        task.slowest = task.slowest.max(start.elapsed());
        match added {
            Ok(_) => {
                task.increments[0] += 1;
                task.longest_gap = task.longest_gap.max(last.elapsed());
                last = Instant::now();
                note(start);
            }
            Err(error) => task.increments[Fate::of(&error) as usize] += 1,
        }
        let own = format!("own-{number}-{round}");
        super::plant(&own);
        let fate = match backend.set(&own, "x".into(), SetOptions::if_absent()).await {
            Ok(outcome) => {
                // The key can only exist already if our own write was sent twice.
                task.twice += u64::from(!outcome.is_written());
                Fate::Acknowledged
            }
            Err(error) => Fate::of(&error),
        };
        task.keys.push((own, fate));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    task.longest_gap = task.longest_gap.max(last.elapsed());
    task
}
