//! The snapshot file of a store that outlives its process.

use std::{
    ffi::OsString,
    fmt,
    fs::{self, File, OpenOptions},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{self, Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::store::Store;

/// A snapshot file, written at intervals by its own thread, and on drop.
pub(crate) struct SnapshotFile {
    writer: Arc<Writer>,
    thread: Option<JoinHandle<()>>,
}

struct Writer {
    store: Arc<Store>,
    path: PathBuf,
    /// The number of changes that the file includes. Locked while the file is written, so that only
    /// one snapshot is written at a time.
    saved: Mutex<u64>,
    state: Mutex<State>,
    closing: Condvar,
}

#[derive(Default)]
struct State {
    is_closing: bool,
    failure: Option<io::ErrorKind>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SnapshotFile {
    /// Loads the file into the store, or creates the file, and starts the thread.
    pub(crate) fn open(store: Arc<Store>, path: &Path, interval: Duration) -> io::Result<Self> {
        let path = resolve(path)?;
        let is_new = match File::open(&path) {
            Ok(file) => {
                store.load(file)?;
                false
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(error),
        };
        let writer = Arc::new(Writer {
            saved: Mutex::new(store.changes()),
            store,
            path,
            state: Mutex::default(),
            closing: Condvar::new(),
        });
        if is_new {
            // An unwritable path must fail here, and not at the first snapshot.
            writer.save()?;
        }
        let thread = thread::Builder::new().name("codex-memory-snapshot".to_owned());
        let runner = writer.clone();
        let thread = Some(thread.spawn(move || runner.run(interval))?);
        Ok(Self { writer, thread })
    }

    /// Writes the file, and returns the number of entries in it.
    pub(crate) fn save(&self) -> io::Result<u64> {
        self.writer.save()
    }

    /// Returns why the last snapshot could not be written.
    pub(crate) fn failure(&self) -> Option<io::ErrorKind> {
        lock(&self.writer.state).failure
    }
}

impl Drop for SnapshotFile {
    fn drop(&mut self) {
        lock(&self.writer.state).is_closing = true;
        self.writer.closing.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.writer.save_changes();
    }
}

impl Writer {
    fn run(&self, interval: Duration) {
        loop {
            let state = lock(&self.state);
            let waited = self
                .closing
                .wait_timeout_while(state, interval, |state| !state.is_closing);
            let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            if state.is_closing {
                return;
            }
            drop(state);
            self.save_changes();
        }
    }

    /// Writes the file if entries have changed or the last attempt failed. `health` reports a
    /// failure.
    fn save_changes(&self) {
        let saved = *lock(&self.saved);
        if self.store.changes() == saved && lock(&self.state).failure.is_none() {
            return;
        }
        // The caller's clock and the owner of a value may panic. The thread must survive for the
        // next snapshot. The panic hook has already reported the panic.
        if catch_unwind(AssertUnwindSafe(|| self.save())).is_err() {
            lock(&self.state).failure = Some(io::ErrorKind::Other);
        }
    }

    fn save(&self) -> io::Result<u64> {
        let mut saved = lock(&self.saved);
        // Counted before the snapshot, because a change during the snapshot may not be in it.
        let changes = self.store.changes();
        let written = self.write();
        lock(&self.state).failure = written.as_ref().err().map(io::Error::kind);
        let count = written?;
        *saved = changes;
        Ok(count)
    }

    fn write(&self) -> io::Result<u64> {
        let mut new = OsString::from(&self.path);
        new.push(".new");
        let new = PathBuf::from(new);
        let written = self.replace_by(&new);
        if written.is_err() {
            // An incomplete snapshot would take up a full disk until the next attempt.
            let _ = fs::remove_file(&new);
        }
        written
    }

    /// Writes a new file and gives it the name of the snapshot file.
    fn replace_by(&self, new: &Path) -> io::Result<u64> {
        let file = create(new)?;
        let count = self.store.dump(&file)?;
        file.sync_all()?;
        fs::rename(new, &self.path)?;
        sync_directory(&self.path)?;
        Ok(count)
    }
}

/// Returns the absolute path of the file that a path leads to, even if the file does not exist. A
/// rename replaces a symbolic link itself, and the process can change its directory.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::read_link(path) {
            Ok(target) => resolve(&path.parent().unwrap_or(Path::new("")).join(target)),
            Err(_) => path::absolute(path),
        },
        resolved => resolved,
    }
}

/// Creates a file that only its owner can read, if the system supports that. Replaces an existing
/// file, because opening it would keep its permissions and follow a symbolic link.
fn create(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Makes the rename of a file survive a crash of the machine. Only Unix has a call for this.
#[cfg_attr(not(unix), expect(clippy::unnecessary_wraps, reason = "fails on Unix"))]
fn sync_directory(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}

impl fmt::Debug for SnapshotFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotFile")
            .field("path", &self.writer.path)
            .finish_non_exhaustive()
    }
}
