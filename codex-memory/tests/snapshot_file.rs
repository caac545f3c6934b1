//! Stores with a snapshot file, after a clean shutdown and after `kill -9`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{
    fs,
    io::{BufRead, BufReader, ErrorKind as IoErrorKind},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use codex_memory::{Clock, ManualClock, MemoryBackend};
use codex_traits::{ErrorKind, Expiry, KvBackend, OnMissing, SetOptions, Ttl};

/// The directory of one test, removed when the test ends.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("codex-memory-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("snapshot")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const HOUR: Duration = Duration::from_secs(3600);

fn open(file: &Path, interval: Duration) -> codex_traits::Result<MemoryBackend> {
    MemoryBackend::builder().snapshot_file(file).every(interval).build()
}

async fn put(store: &MemoryBackend, key: &str, options: SetOptions) {
    assert!(store.set(key, "v".into(), options).await.unwrap().is_written());
}

#[tokio::test]
async fn a_clean_end_loses_nothing() {
    let directory = Directory::new("clean");
    let store = open(&directory.file(), HOUR).unwrap();
    put(&store, "persistent", SetOptions::new()).await;
    put(&store, "expiring", SetOptions::expires_after(HOUR)).await;
    let clone = store.clone();
    drop(store);
    // The file is written when the last handle is dropped.
    put(&clone, "late", SetOptions::new()).await;
    drop(clone);

    let store = open(&directory.file(), HOUR).unwrap();
    assert_eq!(store.len(), 3);
    assert_eq!(store.ttl("persistent").await.unwrap(), Ttl::Persistent);
    assert!(matches!(store.ttl("expiring").await.unwrap(), Ttl::Remaining(left) if left <= HOUR));
    assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 1);
}

#[tokio::test]
async fn changes_are_written_in_intervals_and_when_asked() {
    let directory = Directory::new("intervals");
    let store = open(&directory.file(), Duration::from_millis(5)).unwrap();
    let entries = || {
        MemoryBackend::new()
            .load(fs::File::open(directory.file()).unwrap())
            .unwrap()
    };
    assert_eq!(entries(), 0);
    put(&store, "a", SetOptions::new()).await;
    for _ in 0..6000 {
        if entries() == 1 {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(entries(), 1);
    drop(store);

    let store = open(&directory.file(), HOUR).unwrap();
    put(&store, "b", SetOptions::new()).await;
    assert_eq!((entries(), store.save().unwrap(), entries()), (1, 2, 2));
    assert_eq!(
        MemoryBackend::new().save().unwrap_err().kind(),
        IoErrorKind::Unsupported
    );
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_written_fails_the_health_check_and_keeps_the_old_one() {
    let directory = Directory::new("failure");
    let store = open(&directory.file(), HOUR).unwrap();
    put(&store, "a", SetOptions::new()).await;
    assert!(store.save().is_ok() && store.health().await.is_ok());
    // A directory with the name of the new file makes writing fail.
    let new = directory.0.join("snapshot.new");
    fs::create_dir(&new).unwrap();
    put(&store, "b", SetOptions::new()).await;
    assert!(store.save().is_err());
    assert_eq!(store.health().await.unwrap_err().kind(), ErrorKind::Server);
    assert_eq!(
        MemoryBackend::new()
            .load(fs::File::open(directory.file()).unwrap())
            .unwrap(),
        1
    );
    fs::remove_dir(&new).unwrap();
    assert_eq!(store.save().unwrap(), 2);
    assert!(store.health().await.is_ok());
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_lies_in_the_way_changes_neither_the_permissions_nor_another_file() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    let directory = Directory::new("in-the-way");
    let store = open(&directory.file(), HOUR).unwrap();
    let (new, other) = (directory.0.join("snapshot.new"), directory.0.join("other"));
    let mode = || fs::metadata(directory.file()).unwrap().permissions().mode() & 0o777;
    fs::write(&new, "").unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!((store.save().unwrap(), mode()), (0, 0o600));
    fs::write(&other, "of someone else").unwrap();
    symlink(&other, &new).unwrap();
    assert_eq!((store.save().unwrap(), mode()), (0, 0o600));
    assert_eq!(fs::read_to_string(&other).unwrap(), "of someone else");
    assert!(fs::symlink_metadata(directory.file()).unwrap().is_file());
}

#[cfg(unix)]
#[tokio::test]
async fn a_symbolic_link_leads_to_the_file_and_stays() {
    use std::os::unix::fs::symlink;

    let directory = Directory::new("link");
    let (data, link) = (directory.0.join("data"), directory.file());
    fs::create_dir(&data).unwrap();
    symlink("data/real", &link).unwrap();
    // The file does not exist before the first round.
    for round in 0..2 {
        let store = open(&link, HOUR).unwrap();
        assert_eq!(store.len(), round);
        put(&store, &round.to_string(), SetOptions::new()).await;
        drop(store);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let real = fs::File::open(data.join("real")).unwrap();
        assert_eq!(MemoryBackend::new().load(real).unwrap(), round as u64 + 1);
    }
    assert_eq!(fs::read_dir(&data).unwrap().count(), 1);
    let circle = directory.0.join("circle");
    symlink(&circle, &circle).unwrap();
    assert_eq!(open(&circle, HOUR).unwrap_err().kind(), ErrorKind::Config);
}

#[tokio::test]
async fn an_incomplete_snapshot_does_not_stay() {
    let directory = Directory::new("incomplete");
    let store = open(&directory.file(), HOUR).unwrap();
    // A directory in the place of the file makes the last step fail.
    fs::remove_file(directory.file()).unwrap();
    fs::create_dir(directory.file()).unwrap();
    put(&store, "a", SetOptions::new()).await;
    assert!(store.save().is_err());
    drop(store);
    assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 1);
}

const CHILD_DIRECTORY: &str = "CODEX_MEMORY_TEST_CHILD_DIRECTORY";

/// Changes the directory of its process after a store was built on a relative path.
#[tokio::test]
async fn child_of_the_directory_test() {
    let Some(directory) = std::env::var_os(CHILD_DIRECTORY) else {
        return;
    };
    std::env::set_current_dir(&directory).unwrap();
    let store = open(Path::new("snapshot"), HOUR).unwrap();
    std::env::set_current_dir("elsewhere").unwrap();
    put(&store, "a", SetOptions::new()).await;
}

#[test]
fn a_relative_path_is_that_of_the_start() {
    let directory = Directory::new("relative");
    fs::create_dir(directory.0.join("elsewhere")).unwrap();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_of_the_directory_test"])
        .env(CHILD_DIRECTORY, &directory.0)
        .stdout(Stdio::null())
        .status();
    assert!(status.unwrap().success());
    let file = fs::File::open(directory.file()).unwrap();
    assert_eq!(MemoryBackend::new().load(file).unwrap(), 1);
    assert_eq!(fs::read_dir(directory.0.join("elsewhere")).unwrap().count(), 0);
}

/// A clock that panics in the thread that writes snapshots.
#[derive(Debug, Clone)]
struct Panicking(Arc<AtomicBool>, ManualClock);

impl Clock for Panicking {
    fn now(&self) -> Duration {
        let is_writer = std::thread::current().name() == Some("codex-memory-snapshot");
        assert!(!(is_writer && self.0.load(Ordering::SeqCst)), "the clock's own");
        self.1.now()
    }

    fn system_time(&self) -> SystemTime {
        self.1.system_time()
    }
}

#[tokio::test]
async fn a_panic_while_a_snapshot_is_written_fails_the_health_check_until_the_next_one() {
    let directory = Directory::new("panic");
    let panics = Arc::new(AtomicBool::new(true));
    let store = MemoryBackend::builder()
        .clock(Panicking(panics.clone(), ManualClock::new()))
        .snapshot_file(directory.file())
        .every(Duration::from_millis(5))
        .build()
        .unwrap();
    put(&store, "a", SetOptions::new()).await;
    for is_well in [false, true] {
        let deadline = Instant::now() + Duration::from_secs(60);
        while store.health().await.is_ok() != is_well {
            assert!(Instant::now() < deadline, "health: {:?}", store.health().await);
            std::thread::sleep(Duration::from_millis(5));
        }
        panics.store(false, Ordering::SeqCst);
    }
    let file = fs::File::open(directory.file()).unwrap();
    assert_eq!(MemoryBackend::new().load(file).unwrap(), 1);
}

#[tokio::test]
async fn a_damaged_file_is_an_error_and_stays_as_it_is() {
    let directory = Directory::new("damaged");
    fs::write(directory.file(), b"CODEXMEM not really").unwrap();
    let error = open(&directory.file(), HOUR).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert_eq!(fs::read(directory.file()).unwrap(), b"CODEXMEM not really");
    let missing = directory.0.join("missing").join("snapshot");
    assert_eq!(open(&missing, HOUR).unwrap_err().kind(), ErrorKind::Config);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let directory = Directory::new("settings");
    let kind = |result: codex_traits::Result<MemoryBackend>| result.unwrap_err().kind();
    assert_eq!(kind(open(&directory.file(), Duration::ZERO)), ErrorKind::Config);
    assert_eq!(kind(MemoryBackend::builder().every(HOUR).build()), ErrorKind::Config);
    let clock = ManualClock::new();
    let store = MemoryBackend::builder()
        .clock(clock)
        .snapshot_file(directory.file())
        .build();
    assert!(store.is_ok());
}

const CHILD_FILE: &str = "CODEX_MEMORY_TEST_CHILD_FILE";

/// Increments a counter for ever, and prints each count after the store has acknowledged it.
#[test]
fn child_of_the_kill_test() {
    let Some(file) = std::env::var_os(CHILD_FILE) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = open(Path::new(&file), Duration::from_millis(20)).unwrap();
        loop {
            let count = store.incr("n", 1, OnMissing::Create(Expiry::Never)).await.unwrap();
            println!("count {}", count.unwrap_or_default());
        }
    });
}

/// Returns the inode of the file, which changes when the file is replaced.
fn replaced(file: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(file).ok().map(|metadata| metadata.ino())
}

#[test]
fn a_killed_process_loses_only_what_the_last_snapshot_began_before() {
    let directory = Directory::new("killed");
    let mut survived = 0;
    for round in 0..5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_of_the_kill_test", "--nocapture", "--test-threads=1"])
            .env(CHILD_FILE, directory.file())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut counts = lines.map_while(Result::ok).filter_map(|line| {
            let (_, count) = line.split_once("count ")?;
            count.parse::<i64>().ok()
        });
        // The counts at which a replacement of the file was noticed. A snapshot begins after the
        // previous snapshot is complete. A count that is followed by two replacements is therefore
        // in the second snapshot.
        let (mut replacements, mut seen) = (Vec::new(), replaced(&directory.file()));
        // The pipe stays open until the child is dead.
        for count in counts.by_ref() {
            let now = replaced(&directory.file());
            if now != seen {
                seen = now;
                replacements.push(count);
            }
            if replacements.len() == 5 {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        drop(counts);
        let store = MemoryBackend::new();
        assert_eq!(
            store.load(fs::File::open(directory.file()).unwrap()).unwrap(),
            1,
            "round {round}"
        );
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let value = runtime
            .block_on(store.incr("n", 0, OnMissing::Refuse))
            .unwrap()
            .unwrap_or_default();
        let safe = replacements[2];
        assert!(
            value >= safe,
            "round {round}: {value}, but {safe} was answered two snapshots before"
        );
        assert!(value > survived, "round {round}: {value} after {survived}");
        survived = value;
    }
}
