//! A small backend that is right, on a clock that stands still until it is moved.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use codex_testkit::{Foreign, Harness, Time, VirtualTime};
use codex_traits::{
    Capabilities, Capability, Condition, Cursor, Error, ErrorKind, Expiry, KvBackend, Result, ScanPage, ScanRequest,
    SetOptions, SetOutcome, Ttl,
};

/// Milliseconds since the clock was made.
#[derive(Clone, Default)]
pub(crate) struct Clock(Arc<Mutex<i64>>);

/// Redis counts its deadlines from 1970, which is so many milliseconds ago.
const SINCE_1970: i64 = 56 * 365 * 86_400_000;

impl Clock {
    fn now(&self) -> i64 {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn advance(&self, by: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
    }
}

/// `None` is a value of another type.
#[derive(Clone)]
struct Entry {
    value: Option<Bytes>,
    deadline: Option<i64>,
    /// In which order keys came: where a scan stands.
    position: u64,
}

#[derive(Default)]
struct Keyspace {
    entries: BTreeMap<Vec<u8>, Entry>,
    order: BTreeMap<u64, Vec<u8>>,
    next_position: u64,
}

impl Keyspace {
    fn remove(&mut self, key: &[u8]) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        self.order.remove(&entry.position);
        Some(entry)
    }

    fn insert(&mut self, key: &[u8], value: Option<Bytes>, deadline: Option<i64>) {
        if let Some(entry) = self.entries.get_mut(key) {
            (entry.value, entry.deadline) = (value, deadline);
            return;
        }
        let position = self.next_position;
        self.next_position += 1;
        self.order.insert(position, key.to_owned());
        let entry = Entry {
            value,
            deadline,
            position,
        };
        self.entries.insert(key.to_owned(), entry);
    }
}

#[derive(Clone, Default)]
pub(crate) struct Specimen {
    keyspace: Arc<Mutex<Keyspace>>,
    clock: Clock,
}

impl Specimen {
    fn lock(&self) -> MutexGuard<'_, Keyspace> {
        self.keyspace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keyspace, without `key` where it has expired.
    fn live(&self, key: &str) -> MutexGuard<'_, Keyspace> {
        let mut keyspace = self.lock();
        let entry = keyspace.entries.get(key.as_bytes());
        if entry.is_some_and(|entry| self.has_ended(entry)) {
            keyspace.remove(key.as_bytes());
        }
        keyspace
    }

    fn has_ended(&self, entry: &Entry) -> bool {
        entry.deadline.is_some_and(|deadline| deadline <= self.clock.now())
    }

    fn deadline(&self, expiry: Expiry, old: Option<i64>, operation: &'static str) -> Result<Option<i64>> {
        let Some(millis) = expiry.to_millis(operation)? else {
            return Ok(if expiry == Expiry::Keep { old } else { None });
        };
        let deadline = millis.checked_add(SINCE_1970 + self.clock.now());
        let deadline = deadline.ok_or_else(|| Expiry::too_long(operation))?;
        Ok(Some(deadline - SINCE_1970))
    }
}

impl fmt::Debug for Specimen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Specimen")
    }
}

fn another_type(operation: &'static str) -> Error {
    Error::new(ErrorKind::Data, operation, "the key holds another type")
}

impl KvBackend for Specimen {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new()
            .with(Capability::LargeValues)
            .with(Capability::ForeignTypes)
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        match self.live(key).entries.get(key.as_bytes()) {
            None => Ok(None),
            Some(Entry { value: Some(value), .. }) => Ok(Some(value.clone())),
            Some(Entry { value: None, .. }) => Err(another_type("get")),
        }
    }

    async fn set(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        let mut keyspace = self.live(key);
        let old = keyspace.entries.get(key.as_bytes());
        let deadline = self.deadline(options.expiry, old.and_then(|entry| entry.deadline), "set")?;
        let holds = match options.condition {
            Condition::Always => true,
            Condition::IfAbsent => old.is_none(),
            Condition::IfPresent => old.is_some(),
            Condition::IfEquals(expected) => old.is_some_and(|entry| entry.value.as_ref() == Some(&expected)),
        };
        if !holds {
            return Ok(SetOutcome::Refused);
        }
        keyspace.insert(key.as_bytes(), Some(value), deadline);
        Ok(SetOutcome::Written)
    }

    async fn del(&self, keys: &[&str]) -> Result<u64> {
        let removed = |key: &&&str| self.live(key).remove(key.as_bytes()).is_some();
        Ok(keys.iter().filter(removed).count() as u64)
    }

    async fn del_if_equals(&self, key: &str, expected: &[u8]) -> Result<bool> {
        let mut keyspace = self.live(key);
        let old = keyspace.entries.get(key.as_bytes());
        let equal = old.is_some_and(|entry| entry.value.as_deref() == Some(expected));
        Ok(equal && keyspace.remove(key.as_bytes()).is_some())
    }

    async fn expire(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let mut keyspace = self.live(key);
        if expiry == Expiry::After(Duration::ZERO) {
            return Ok(keyspace.remove(key.as_bytes()).is_some());
        }
        let old = keyspace.entries.get_mut(key.as_bytes());
        let deadline = self.deadline(expiry, old.as_ref().and_then(|entry| entry.deadline), "expire")?;
        Ok(old.map(|entry| entry.deadline = deadline).is_some())
    }

    async fn ttl(&self, key: &str) -> Result<Ttl> {
        let keyspace = self.live(key);
        Ok(match keyspace.entries.get(key.as_bytes()).map(|entry| entry.deadline) {
            None => Ttl::Missing,
            Some(None) => Ttl::Persistent,
            Some(Some(deadline)) => Ttl::Remaining(Duration::from_millis((deadline - self.clock.now()).unsigned_abs())),
        })
    }

    async fn scan(&self, request: ScanRequest<'_>) -> Result<ScanPage> {
        let hint = request.checked_count_hint()?;
        let from: u64 = match request.cursor.as_str() {
            "" => 0,
            position => position.parse().map_err(|_| Cursor::unreadable())?,
        };
        let keyspace = self.lock();
        let mut rest = keyspace.order.range(from..);
        let looked_at = rest.by_ref().take(hint).map(|(_, key)| key);
        let keys = looked_at
            .filter(|key| request.pattern.matches(key) && !self.has_ended(&keyspace.entries[*key]))
            .filter_map(|key| String::from_utf8(key.clone()).ok())
            .collect();
        let next = rest.next().map(|(position, _)| Cursor::new(position.to_string()));
        Ok(ScanPage {
            keys,
            next: next.transpose()?,
        })
    }
}

/// Makes specimens on one clock.
#[derive(Default)]
pub(crate) struct SpecimenHarness(Clock);

impl Harness for SpecimenHarness {
    type Backend = Specimen;

    async fn fresh(&self) -> Specimen {
        Specimen {
            clock: self.0.clone(),
            ..Specimen::default()
        }
    }

    fn time(&self) -> Time {
        let clock = self.0.clone();
        Time::Virtual(VirtualTime::from_fn(move |by| clock.advance(by)))
    }

    fn reopen(&self, backend: &Specimen) -> Option<Specimen> {
        Some(backend.clone())
    }

    async fn plant(&self, backend: &Specimen, foreign: &Foreign) -> bool {
        match foreign {
            Foreign::List { key } => backend.lock().insert(key.as_bytes(), None, None),
            Foreign::NonUtf8Key { key } => backend.lock().insert(key, Some(Bytes::new()), None),
            _ => return false,
        }
        true
    }

    async fn is_planted(&self, backend: &Specimen, foreign: &Foreign) -> bool {
        let (Foreign::List { key: _ } | Foreign::NonUtf8Key { key: _ }) = foreign else {
            return false;
        };
        let keyspace = backend.lock();
        match foreign {
            Foreign::List { key } => keyspace
                .entries
                .get(key.as_bytes())
                .is_some_and(|entry| entry.value.is_none()),
            Foreign::NonUtf8Key { key } => keyspace.entries.contains_key(key),
            _ => false,
        }
    }
}
