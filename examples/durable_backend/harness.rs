//! The harness: files in a separate directory, a clock that the suite advances, and a process to
//! kill.

use std::{
    env, fs,
    future::Future,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use codex_kv::testkit::{Harness, Time, VirtualTime, WallShift, write_until_killed};

use super::{Clock, DurableBackend, system_clock};

/// The environment variable that makes this program the writer that dur-02 kills.
const WRITE_TO: &str = "DURABLE_BACKEND_WRITE_TO";

/// Writes to the file in the environment variable until the process is killed. Returns at once if
/// the variable is not set.
pub(crate) async fn write_if_told_to() {
    let Some(path) = env::var_os(WRITE_TO) else { return };
    let backend = DurableBackend::open(Path::new(&path), system_clock());
    let backend = backend.unwrap_or_else(|error| panic!("cannot open the file: {error}"));
    let error = write_until_killed(&backend).await;
    panic!("a write failed: {error}");
}

pub(crate) struct FileHarness {
    directory: PathBuf,
    files: AtomicU64,
    time: Arc<TestTime>,
}

/// The initial offset of the time of day in seconds. The suite sets the time back by an hour, and
/// the offset stays positive.
const HEADROOM: u64 = 7200;

/// A monotonic clock and a time of day, both controlled by the suite.
struct TestTime {
    start: Duration,
    passed_nanos: AtomicU64,
    shifted_seconds: AtomicU64,
}

impl TestTime {
    fn passed(&self) -> Duration {
        Duration::from_nanos(self.passed_nanos.load(Ordering::SeqCst))
    }

    /// Returns the clock of a store that is opened now: [`system_clock`] on this time.
    fn clock(self: &Arc<Self>) -> Clock {
        let opened = self.passed();
        let shifted = Duration::from_secs(self.shifted_seconds.load(Ordering::SeqCst));
        let time_of_day = self.start + opened + shifted;
        let time = self.clone();
        Arc::new(move || time_of_day + time.passed().saturating_sub(opened))
    }
}

impl FileHarness {
    pub(crate) fn new() -> Self {
        static HARNESSES: AtomicU64 = AtomicU64::new(0);
        let number = HARNESSES.fetch_add(1, Ordering::SeqCst);
        let directory = env::temp_dir().join(format!("codex-durable-{}-{number}", process::id()));
        fs::create_dir_all(&directory).unwrap_or_else(|error| panic!("no directory for the files: {error}"));
        let time = TestTime {
            // The killed writer uses the system's clock, and its deadlines are compared with this
            // clock.
            start: system_clock()().saturating_sub(Duration::from_secs(HEADROOM)),
            passed_nanos: AtomicU64::new(0),
            shifted_seconds: AtomicU64::new(HEADROOM),
        };
        Self {
            directory,
            files: AtomicU64::new(0),
            time: Arc::new(time),
        }
    }

    fn open(&self, path: &Path) -> DurableBackend {
        let backend = DurableBackend::open(path, self.time.clock());
        backend.unwrap_or_else(|error| panic!("cannot open the file: {error}"))
    }
}

impl Drop for FileHarness {
    fn drop(&mut self) {
        // An error is ignored: the files that remain are in the directory for temporary files.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Harness for FileHarness {
    type Backend = DurableBackend;

    async fn fresh(&self) -> DurableBackend {
        let number = self.files.fetch_add(1, Ordering::SeqCst);
        self.open(&self.directory.join(format!("{number}.redb")))
    }

    fn time(&self) -> Time {
        let (passing, shifting) = (self.time.clone(), self.time.clone());
        Time::Virtual(VirtualTime::from_fns(
            move |by| {
                let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
                passing.passed_nanos.fetch_add(nanos, Ordering::SeqCst);
            },
            move |shift| {
                match shift {
                    WallShift::Forward(by) => shifting.shifted_seconds.fetch_add(by.as_secs(), Ordering::SeqCst),
                    WallShift::Back(by) => shifting.shifted_seconds.fetch_sub(by.as_secs(), Ordering::SeqCst),
                };
            },
        ))
    }

    /// Returns a long limit, because every write waits for the disk, which is slow on a busy
    /// machine.
    fn time_limit(&self) -> Duration {
        Duration::from_secs(300)
    }

    fn reopen(&self, backend: &DurableBackend) -> Option<DurableBackend> {
        Some(backend.clone())
    }

    fn reopen_from_storage(&self, backend: DurableBackend) -> Option<impl Future<Output = DurableBackend> + Send> {
        let path = backend.path().to_owned();
        // Closes the file; it is opened again when the suite awaits the future.
        drop(backend);
        Some(async move { self.open(&path) })
    }

    fn killable_writer(&self, backend: &DurableBackend) -> Option<Command> {
        let program = env::current_exe().unwrap_or_else(|error| panic!("this program has no path: {error}"));
        let mut command = Command::new(program);
        // As a test program it runs only this test; as an example it ignores the arguments.
        command.args(["--exact", "conformance::killable_writer", "--ignored", "--nocapture"]);
        command.env(WRITE_TO, backend.path());
        Some(command)
    }
}
