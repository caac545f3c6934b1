//! An audit of logs and errors. It records the output of tests, which `scripts/long secrets` then
//! searches for keys, values and passwords.
//!
//! The environment variable `CODEX_SECRET_AUDIT` names a directory. Every span and event of the
//! process, at any level, is written to `events-<pid>` in it. Every error passed to [`error()`] is
//! written to `errors-<pid>`, as `Display` and `Debug` show it, with its sources. Keys, values and
//! passwords passed to [`secret()`] are written to `secrets-<pid>`. A `redis::Leased` records its
//! errors, keys and values itself. Without the variable, these functions do nothing.

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

#[cfg(feature = "redis")]
use codex_traits::Pattern;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

#[cfg(feature = "redis")]
use crate::doubles::Request;

/// The length of the shortest recorded secret. Shorter strings occur in any text by chance.
const SHORTEST: usize = 6;

/// The length of the longest recorded secret. A log line would not contain a longer secret in full.
const LONGEST: usize = 200;

struct Audit {
    events: Mutex<File>,
    errors: Mutex<File>,
    secrets: Mutex<(HashSet<String>, File)>,
}

fn audit() -> Option<&'static Audit> {
    static AUDIT: OnceLock<Option<Audit>> = OnceLock::new();
    static LISTENING: OnceLock<()> = OnceLock::new();
    let audit = AUDIT
        .get_or_init(|| {
            let directory = env::var_os("CODEX_SECRET_AUDIT").filter(|directory| !directory.is_empty())?;
            let file = |name: &str| {
                let path = Path::new(&directory).join(format!("{name}-{}", process::id()));
                let opened = File::options().create(true).append(true).open(path);
                Mutex::new(opened.unwrap_or_else(|error| panic!("CODEX_SECRET_AUDIT cannot be written to: {error}")))
            };
            let secrets = file("secrets").into_inner().unwrap_or_else(PoisonError::into_inner);
            Some(Audit {
                events: file("events"),
                errors: file("errors"),
                secrets: Mutex::new((HashSet::new(), secrets)),
            })
        })
        .as_ref()?;
    LISTENING.get_or_init(|| {
        let listening = tracing::subscriber::set_global_default(Listener(audit, AtomicU64::new(0)));
        listening.unwrap_or_else(|_| panic!("CODEX_SECRET_AUDIT: another subscriber is set in this process"));
    });
    Some(audit)
}

/// Starts the audit, if it is enabled. The other functions also start it.
pub fn listen() {
    audit();
}

/// Records an error that a test received.
pub fn error(error: &(dyn Error + 'static)) {
    let Some(audit) = audit() else { return };
    let mut text = format!("{error} {error:?}");
    let mut next = error.source();
    while let Some(source) = next {
        // Writing to a string does not fail.
        let _ = write!(text, " {source} {source:?}");
        next = source.source();
    }
    write(&audit.errors, &text);
}

/// Records a key, a value or a password that must not appear in any log line or error. Ignores a
/// secret that is not UTF-8, is shorter than 6 or longer than 200 bytes, or contains a line break
/// or NUL.
pub fn secret(secret: &[u8]) {
    let Some(audit) = audit() else { return };
    let Ok(text) = str::from_utf8(secret) else { return };
    if !(SHORTEST..=LONGEST).contains(&text.len()) || text.contains(['\n', '\r', '\0']) {
        return;
    }
    let mut secrets = audit.secrets.lock().unwrap_or_else(PoisonError::into_inner);
    if secrets.0.insert(text.to_owned()) {
        let _ = writeln!(secrets.1, "{text}");
    }
}

/// Records the keys and values of a call.
#[cfg(feature = "redis")]
pub(crate) fn request(request: &Request<'_>) {
    if audit().is_none() {
        return;
    }
    request.keys().into_iter().map(str::as_bytes).for_each(secret);
    request.values().into_iter().for_each(secret);
    request.pattern().map(Pattern::as_bytes).into_iter().for_each(secret);
}

/// Writes a line without buffering, because the process can end at any time.
fn write(file: &Mutex<File>, text: &str) {
    let mut line = text.replace('\n', " ");
    line.push('\n');
    let _ = file
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .write_all(line.as_bytes());
}

struct Listener(&'static Audit, AtomicU64);

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
