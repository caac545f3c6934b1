//! A process that writes to a store until it is killed, and a check of the data that it leaves
//! behind.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use codex_traits::{
    Condition, Error, ErrorKind, Expiry, KvBackend, OnMissing, Pattern, SetOptions, Ttl, parse_integer,
};
use futures_util::future::join_all;

use crate::{
    context::Store,
    failure::{Checked, Failure, ensure, ensure_eq},
    runtime::runtime,
};

/// The prefix of each line that the writer prints for the clause. The test program prints other
/// lines too.
const MARK: &str = "codex-testkit answered ";
/// The environment variable that names the writer's keys, so that each round has its own keys.
const ROUND: &str = "CODEX_TESTKIT_WRITER_ROUND";
const WRITERS: u64 = 4;
/// A key is removed after this many later keys have been written.
const KEPT: u64 = 5;
const HOUR: Duration = Duration::from_secs(3600);
/// A writer that prints nothing for this long is stuck.
const PATIENCE: Duration = Duration::from_secs(30);

/// Writes to `backend` with several concurrent writers, each until one of its writes fails, and
/// prints each acknowledged write to standard output. Returns one of the errors, once all writers
/// have stopped.
///
/// This is the body of the process that
/// [`Harness::killable_writer`](crate::Harness::killable_writer) starts.
pub async fn write_until_killed<B: KvBackend>(backend: &B) -> Error {
    let round = std::env::var(ROUND).unwrap_or_default();
    let results = join_all((0..WRITERS).map(|writer| write(backend, format!("{round} {writer}")))).await;
    let first = results.into_iter().find_map(Result::err);
    // A writer only ever ends with an error.
    first.unwrap_or_else(|| Error::new(ErrorKind::Server, "set", "the writers ended without an error"))
}

async fn write<B: KvBackend>(backend: &B, name: String) -> Result<(), Error> {
    let (latest, counter) = (format!("{name} latest"), format!("{name} counter"));
    for number in 0.. {
        let options = SetOptions::new().with_expiry(expiry(number));
        let outcome = backend.set(&key(&name, number), value(&name, number), options).await?;
        answered(outcome.is_written(), "set", &name, number)?;

        let condition = match number {
            0 => Condition::IfAbsent,
            _ => Condition::IfEquals((number - 1).to_string().into()),
        };
        let options = SetOptions::new().with_condition(condition);
        let outcome = backend.set(&latest, number.to_string().into(), options).await?;
        answered(outcome.is_written(), "compared", &name, number)?;

        let sum = backend.incr(&counter, 1, OnMissing::Create(Expiry::Never)).await?;
        answered(sum == i64::try_from(number + 1).ok(), "counted", &name, number)?;

        if let Some(old) = number.checked_sub(KEPT) {
            let removed = backend.del(&[&key(&name, old)]).await?;
            answered(removed == 1, "removed", &name, old)?;
        }
    }
    Ok(())
}

/// Prints that a write was acknowledged. Fails if the answer is wrong.
fn answered(is_right: bool, what: &str, name: &str, number: u64) -> Result<(), Error> {
    if !is_right {
        return Err(Error::new(
            ErrorKind::Data,
            "set",
            format!("{what} {number} was answered wrongly"),
        ));
    }
    // Written at once, so that killing the process cannot leave a partial line that looks complete.
    let line = format!("\n{MARK}{what} {name} {number} .\n");
    let mut out = std::io::stdout().lock();
    let printed = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    printed.map_err(|error| Error::new(ErrorKind::Server, "set", "the clause no longer listens").with_source(error))
}

fn key(name: &str, number: u64) -> String {
    format!("{name} key {number}")
}

/// Returns the value of a key: its name and number, repeated up to one of several lengths.
fn value(name: &str, number: u64) -> Bytes {
    const LENGTHS: [usize; 5] = [0, 1, 64, 1024, 20_000];
    let text = format!("{name} {number}, ");
    let length = LENGTHS[usize::try_from(number % 5).unwrap_or(0)];
    text.bytes().cycle().take(length).collect()
}

fn expiry(number: u64) -> Expiry {
    if number.is_multiple_of(2) {
        Expiry::Never
    } else {
        Expiry::After(HOUR)
    }
}

/// The number of the last acknowledged write of each kind, by writer.
#[derive(Debug, Default)]
pub(crate) struct Answered(BTreeMap<String, BTreeMap<String, u64>>);

impl Answered {
    fn read(&mut self, line: &str) {
        let told = line.split_once(MARK).and_then(|(_, told)| told.strip_suffix(" ."));
        let Some((what, rest)) = told.and_then(|told| told.split_once(' ')) else {
            return;
        };
        if let Some((name, number)) = rest.rsplit_once(' ')
            && let Ok(number) = number.parse()
        {
            self.0
                .entry(name.to_owned())
                .or_default()
                .insert(what.to_owned(), number);
        }
    }

    fn count(&self) -> u64 {
        self.0
            .values()
            .filter_map(|kinds| kinds.get("set"))
            .map(|number| number + 1)
            .sum()
    }
}

/// Starts the writer, kills it after `enough` acknowledged writes, and returns the writes that it
/// printed.
pub(crate) async fn write_and_kill(mut command: Command, round: usize, enough: u64) -> Checked<Answered> {
    command
        .env(ROUND, format!("w{round}"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    // Waiting for a process blocks a thread.
    let task = runtime().spawn_blocking(move || watch(command, enough));
    task.await
        .map_err(|error| Failure::Broken(format!("the writer could not be watched: {error}")))?
}

fn watch(mut command: Command, enough: u64) -> Checked<Answered> {
    let spawned = command.spawn();
    let mut child = spawned.map_err(|error| Failure::Broken(format!("the writer cannot be started: {error}")))?;
    let answered = listen(&mut child, enough);
    let killed = child.kill().and_then(|()| child.wait());
    let (mut answered, lines) = answered?;
    killed.map_err(|error| Failure::Broken(format!("the writer cannot be killed: {error}")))?;
    // Lines that were in the pipe at the time of the kill count too. A process that the writer has
    // started can keep the pipe open.
    let deadline = Instant::now() + PATIENCE;
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => answered.read(&line),
            Err(RecvTimeoutError::Disconnected) => return Ok(answered),
            Err(RecvTimeoutError::Timeout) => {
                return Err(Failure::Broken(format!(
                    "the standard output of the writer was still open {PATIENCE:?} after the kill: \
                     `killable_writer` must start the writer itself, and not by another process"
                )));
            }
        }
    }
}

/// Reads the writer's lines until `enough` writes were acknowledged.
fn listen(child: &mut Child, enough: u64) -> Checked<(Answered, mpsc::Receiver<String>)> {
    let Some(out) = child.stdout.take() else {
        return Err(Failure::Broken("the writer has no standard output".to_owned()));
    };
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let mut answered = Answered::default();
    while answered.count() < enough {
        match lines.recv_timeout(PATIENCE) {
            Ok(line) => answered.read(&line),
            Err(RecvTimeoutError::Timeout) => {
                return Err(Failure::Broken(format!("the writer wrote nothing for {PATIENCE:?}")));
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::Broken(format!(
                    "the writer ended by itself after {} writes; does it call `write_until_killed`?",
                    answered.count()
                )));
            }
        }
    }
    Ok((answered, lines))
}

/// Checks that `store` holds every acknowledged write, and nothing that was never written.
pub(crate) async fn check<B: KvBackend>(store: &Store<B>, answered: &Answered) -> Checked {
    for (name, kinds) in &answered.0 {
        let last = |kind: &str| kinds.get(kind).copied();
        let removed = last("removed");
        // The writer may have removed one more key without printing it.
        let maybe_removed = last("counted").and_then(|number| number.checked_sub(KEPT));
        for number in 0..=last("set").unwrap_or(0) {
            let key = key(name, number);
            let got = store.get(&key).await?;
            if removed >= Some(number) {
                ensure_eq!(
                    got,
                    None::<Bytes>,
                    "get of a key whose removal was answered before the kill"
                );
            } else if got.is_some() || maybe_removed < Some(number) {
                ensure_eq!(
                    got,
                    Some(value(name, number)),
                    "get of a key whose write was answered before the kill"
                );
                let ttl = store.ttl(&key).await?;
                // The writer has its own clock, and a harness may advance the store's clock
                // manually.
                let is_kept = match expiry(number) {
                    Expiry::Never => ttl == Ttl::Persistent,
                    _ => matches!(ttl, Ttl::Remaining(left) if left.abs_diff(HOUR) < HOUR / 2),
                };
                ensure!(
                    is_kept,
                    "ttl of a key that was written before the kill with {:?}: got {ttl:?}",
                    expiry(number)
                );
            }
        }
        for (kind, key, more) in [("compared", "latest", 0), ("counted", "counter", 1)] {
            let Some(number) = last(kind) else { continue };
            let got = store.get(&format!("{name} {key}")).await?;
            let got = got
                .as_deref()
                .and_then(parse_integer)
                .and_then(|got| u64::try_from(got).ok());
            ensure!(
                got.is_some_and(|got| (number + more..=number + more + 1).contains(&got)),
                "{key} after the kill: {} was answered, and it holds {got:?}",
                number + more
            );
        }
    }
    is_whole(store).await
}

/// Checks that every key that the store lists can be read and holds a value that the writer wrote.
async fn is_whole<B: KvBackend>(store: &Store<B>) -> Checked {
    for key in store.keys(&Pattern::all(), 100).await? {
        let Some(got) = store.get(&key).await? else {
            return Err(Failure::Broken(
                "scan lists a key after the kill that get does not find".to_owned(),
            ));
        };
        if let Some((name, number)) = key.split_once(" key ")
            && let Ok(number) = number.parse()
        {
            ensure_eq!(
                got,
                value(name, number),
                "get of a key whose write was under way at the kill"
            );
        }
    }
    Ok(())
}
