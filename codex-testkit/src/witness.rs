//! What the tests saw, written down so that it can be searched for what must not be in it.
//!
//! Where the environment variable `CODEX_WITNESS` names a directory, every span and event that anything emits in the process, at
//! whatever level, goes to a file `events-<pid>` in there, and every error that a test hands to [`error()`] to `errors-<pid>`, as it
//! is shown to people and to programmers, with its sources. Keys and values that were used go to `secrets-<pid>`; those that go through
//! a [`Leased`](crate::redis::Leased) do so by themselves, as do its errors. Otherwise nothing of this does anything.

use std::{
    collections::HashSet,
    env,
    error::Error,
    fmt::{self, Write as _},
    fs::File,
    io::Write as _,
    path::Path,
    process,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

/// Shorter ones are in any text.
const SHORTEST: usize = 6;

/// A megabyte would not be found in a line of a log.
const LONGEST: usize = 200;

struct Witness {
    events: Mutex<File>,
    errors: Mutex<File>,
    secrets: Mutex<(HashSet<String>, File)>,
}

fn witness() -> Option<&'static Witness> {
    static WITNESS: OnceLock<Option<Witness>> = OnceLock::new();
    static LISTENING: OnceLock<()> = OnceLock::new();
    let witness = WITNESS
        .get_or_init(|| {
            let directory = env::var_os("CODEX_WITNESS").filter(|directory| !directory.is_empty())?;
            let file = |name: &str| {
                let path = Path::new(&directory).join(format!("{name}-{}", process::id()));
                let opened = File::options().create(true).append(true).open(path);
                Mutex::new(opened.unwrap_or_else(|error| panic!("CODEX_WITNESS cannot be written to: {error}")))
            };
            let secrets = file("secrets").into_inner().unwrap_or_else(PoisonError::into_inner);
            Some(Witness {
                events: file("events"),
                errors: file("errors"),
                secrets: Mutex::new((HashSet::new(), secrets)),
            })
        })
        .as_ref()?;
    LISTENING.get_or_init(|| {
        let listening = tracing::subscriber::set_global_default(Listener(witness, AtomicU64::new(0)));
        listening.unwrap_or_else(|_| panic!("CODEX_WITNESS: another subscriber is set in this process"));
    });
    Some(witness)
}

/// Begins to listen, where that is wanted; each of the others does so too.
pub fn listen() {
    witness();
}

/// An error that a test was given.
pub fn error(error: &(dyn Error + 'static)) {
    let Some(witness) = witness() else { return };
    let mut text = format!("{error} {error:?}");
    let mut next = error.source();
    while let Some(source) = next {
        // Writing to a string does not fail.
        let _ = write!(text, " {source} {source:?}");
        next = source.source();
    }
    write(&witness.errors, &text);
}

/// A key, a value or a password.
pub fn secret(secret: &[u8]) {
    let Some(witness) = witness() else { return };
    let Ok(text) = str::from_utf8(secret) else { return };
    if !(SHORTEST..=LONGEST).contains(&text.len()) || text.contains(['\n', '\r', '\0']) {
        return;
    }
    let mut secrets = witness.secrets.lock().unwrap_or_else(PoisonError::into_inner);
    if secrets.0.insert(text.to_owned()) {
        let _ = writeln!(secrets.1, "{text}");
    }
}

/// The secrets of a call and its error, if it has one.
#[cfg(feature = "redis")]
pub(crate) fn call<'a, T>(
    secrets: impl IntoIterator<Item = &'a [u8]>,
    result: codex_traits::Result<T>,
) -> codex_traits::Result<T> {
    if witness().is_some() {
        secrets.into_iter().for_each(secret);
        if let Err(failed) = &result {
            error(failed);
        }
    }
    result
}

/// One line, which is written at once: nobody is told that the process ends.
fn write(file: &Mutex<File>, text: &str) {
    let mut line = text.replace('\n', " ");
    line.push('\n');
    let _ = file
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .write_all(line.as_bytes());
}

struct Listener(&'static Witness, AtomicU64);

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, " {field}={value:?}");
    }
}

impl Listener {
    fn line(&self, kind: &str, metadata: Option<&Metadata<'_>>, record: impl FnOnce(&mut Fields)) {
        let mut fields = Fields(kind.to_owned());
        if let Some(metadata) = metadata {
            let _ = write!(
                fields.0,
                " {} {} {}",
                metadata.level(),
                metadata.target(),
                metadata.name()
            );
        }
        record(&mut fields);
        write(&self.0.events, &fields.0);
    }
}

impl Subscriber for Listener {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.line("span", Some(span.metadata()), |fields| span.record(fields));
        Id::from_u64(self.1.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        self.line("record", None, |fields| values.record(fields));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        self.line("event", Some(event.metadata()), |fields| event.record(fields));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
