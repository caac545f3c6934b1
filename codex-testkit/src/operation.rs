//! Calls as values that can be stored, executed, and printed as Rust.

use std::{collections::BTreeSet, fmt, panic::AssertUnwindSafe, time::Duration};

use bytes::Bytes;
use codex_traits::{
    Condition, Error, ErrorKind, Expiry, KvBackend, OnMissing, Pattern, ScanRequest, SetOptions, SetOutcome, Ttl,
};
use futures_util::FutureExt;

use crate::{Model, doubles::Request, runtime::panic_message};

/// A call of a [`KvBackend`] verb, or a passage of time.
///
/// `Display` and `Debug` print the Rust expression that makes it. Keys and values are printed too:
/// they come from tests, so they are no secrets.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Op {
    /// `get`
    #[non_exhaustive]
    Get {
        /// The key.
        key: String,
    },
    /// `set`
    #[non_exhaustive]
    Set {
        /// The key.
        key: String,
        /// The value.
        value: Bytes,
        /// Condition and expiry.
        options: SetOptions,
    },
    /// `del`
    #[non_exhaustive]
    Del {
        /// The keys.
        keys: Vec<String>,
    },
    /// `del_if_equals`
    #[non_exhaustive]
    DelIfEquals {
        /// The key.
        key: String,
        /// The value that the key must hold.
        expected: Bytes,
    },
    /// `expire`
    #[non_exhaustive]
    Expire {
        /// The key.
        key: String,
        /// The new expiry.
        expiry: Expiry,
    },
    /// `ttl`
    #[non_exhaustive]
    Ttl {
        /// The key.
        key: String,
    },
    /// `get_many`
    #[non_exhaustive]
    GetMany {
        /// The keys.
        keys: Vec<String>,
    },
    /// `set_many`
    #[non_exhaustive]
    SetMany {
        /// Keys and values.
        entries: Vec<(String, Bytes)>,
        /// The expiry of all entries.
        expiry: Expiry,
    },
    /// `incr`
    #[non_exhaustive]
    Incr {
        /// The key.
        key: String,
        /// The number to add.
        delta: i64,
        /// The treatment of a missing key.
        on_missing: OnMissing,
    },
    /// `del_matching`
    #[non_exhaustive]
    DelMatching {
        /// The keys to remove.
        pattern: Pattern,
    },
    /// `scan`, page by page to its end. The answer is the set of the keys.
    #[non_exhaustive]
    Scan {
        /// The keys to return.
        pattern: Pattern,
        /// The hint of every page.
        count_hint: usize,
    },
    /// `get_with_ttl`
    #[non_exhaustive]
    GetWithTtl {
        /// The key.
        key: String,
    },
    /// Time passes.
    Pass(Duration),
}

/// The answer to a call. An error is reduced to its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// Success without a value.
    Done,
    /// The answer of `get`.
    Value(Option<Bytes>),
    /// The answer of `get_with_ttl`.
    ValueWithTtl(Option<(Bytes, Ttl)>),
    /// The answer of `get_many`.
    Values(Vec<Option<Bytes>>),
    /// The answer of `set`.
    Outcome(SetOutcome),
    /// The answer of `del` and `del_matching`.
    Count(u64),
    /// The answer of `del_if_equals` and `expire`.
    Is(bool),
    /// The answer of `ttl`.
    Ttl(Ttl),
    /// The answer of `incr`.
    Sum(Option<i64>),
    /// The answer of a scan.
    Keys(BTreeSet<String>),
    /// The scan did not end.
    Endless,
    /// The call failed.
    Failed(ErrorKind),
    /// The call panicked, with this message.
    Panicked(String),
}

impl Op {
    /// Returns a `get`.
    pub fn get(key: &str) -> Self {
        Self::Get { key: key.to_owned() }
    }

    /// Returns a `set`.
    pub fn set(key: &str, value: impl AsRef<[u8]>, options: SetOptions) -> Self {
        let value = Bytes::copy_from_slice(value.as_ref());
        Self::Set {
            key: key.to_owned(),
            value,
            options,
        }
    }

    /// Returns a `del`.
    pub fn del(keys: &[&str]) -> Self {
        Self::Del { keys: owned(keys) }
    }

    /// Returns a `del_if_equals`.
    pub fn del_if_equals(key: &str, expected: impl AsRef<[u8]>) -> Self {
        Self::DelIfEquals {
            key: key.to_owned(),
            expected: Bytes::copy_from_slice(expected.as_ref()),
        }
    }

    /// Returns an `expire`.
    pub fn expire(key: &str, expiry: Expiry) -> Self {
        Self::Expire {
            key: key.to_owned(),
            expiry,
        }
    }

    /// Returns a `ttl`.
    pub fn ttl(key: &str) -> Self {
        Self::Ttl { key: key.to_owned() }
    }

    /// Returns a `get_with_ttl`.
    pub fn get_with_ttl(key: &str) -> Self {
        Self::GetWithTtl { key: key.to_owned() }
    }

    /// Returns a `get_many`.
    pub fn get_many(keys: &[&str]) -> Self {
        Self::GetMany { keys: owned(keys) }
    }

    /// Returns a `set_many`.
    pub fn set_many(entries: &[(&str, &[u8])], expiry: Expiry) -> Self {
        let owned = |(key, value): &(&str, &[u8])| ((*key).to_owned(), Bytes::copy_from_slice(value));
        Self::SetMany {
            entries: entries.iter().map(owned).collect(),
            expiry,
        }
    }

    /// Returns an `incr`.
    pub fn incr(key: &str, delta: i64, on_missing: OnMissing) -> Self {
        Self::Incr {
            key: key.to_owned(),
            delta,
            on_missing,
        }
    }

    /// Returns a `del_matching`.
    pub fn del_matching(pattern: Pattern) -> Self {
        Self::DelMatching { pattern }
    }

    /// Returns a `scan` of all pages.
    pub fn scan(pattern: Pattern, count_hint: usize) -> Self {
        Self::Scan { pattern, count_hint }
    }

    /// Applies the operation to `model` and returns the answer. [`Op::Pass`] advances the model's
    /// clock.
    pub fn apply(&self, model: &mut Model) -> Answer {
        match self {
            Self::Get { key } => Answer::Value(model.get(key)),
            Self::Set { key, value, options } => told(model.set(key, value.clone(), options.clone()), Answer::Outcome),
            Self::Del { keys } => Answer::Count(model.del(&borrowed(keys))),
            Self::DelIfEquals { key, expected } => Answer::Is(model.del_if_equals(key, expected)),
            Self::Expire { key, expiry } => told(model.expire(key, *expiry), Answer::Is),
            Self::Ttl { key } => Answer::Ttl(model.ttl(key)),
            Self::GetWithTtl { key } => Answer::ValueWithTtl(model.get_with_ttl(key)),
            Self::GetMany { keys } => Answer::Values(model.get_many(&borrowed(keys))),
            Self::SetMany { entries, expiry } => {
                told(model.set_many(&borrowed_entries(entries), *expiry), |()| Answer::Done)
            }
            Self::Incr { key, delta, on_missing } => told(model.incr(key, *delta, *on_missing), Answer::Sum),
            Self::DelMatching { pattern } => Answer::Count(model.del_matching(pattern)),
            Self::Scan { count_hint: 0, .. } => Answer::Failed(ErrorKind::InvalidArgument),
            Self::Scan { pattern, .. } => Answer::Keys(model.keys(pattern)),
            Self::Pass(duration) => {
                model.pass(*duration);
                Answer::Done
            }
        }
    }

    /// Makes the call on `backend` and returns its answer. A panic becomes [`Answer::Panicked`].
    ///
    /// [`Op::Pass`] does nothing here: the caller advances the clock.
    pub async fn call<B: KvBackend>(&self, backend: &B) -> Answer {
        match AssertUnwindSafe(self.call_unguarded(backend)).catch_unwind().await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => Answer::Failed(error.kind()),
            Err(payload) => Answer::Panicked(panic_message(&*payload).to_owned()),
        }
    }

    async fn call_unguarded<B: KvBackend>(&self, backend: &B) -> Result<Answer, Error> {
        Ok(match self {
            Self::Get { key } => Answer::Value(backend.get(key).await?),
            Self::Set { key, value, options } => {
                Answer::Outcome(backend.set(key, value.clone(), options.clone()).await?)
            }
            Self::Del { keys } => Answer::Count(backend.del(&borrowed(keys)).await?),
            Self::DelIfEquals { key, expected } => Answer::Is(backend.del_if_equals(key, expected).await?),
            Self::Expire { key, expiry } => Answer::Is(backend.expire(key, *expiry).await?),
            Self::Ttl { key } => Answer::Ttl(backend.ttl(key).await?),
            Self::GetWithTtl { key } => Answer::ValueWithTtl(backend.get_with_ttl(key).await?),
            Self::GetMany { keys } => Answer::Values(backend.get_many(&borrowed(keys)).await?),
            Self::SetMany { entries, expiry } => {
                backend.set_many(&borrowed_entries(entries), *expiry).await?;
                Answer::Done
            }
            Self::Incr { key, delta, on_missing } => Answer::Sum(backend.incr(key, *delta, *on_missing).await?),
            Self::DelMatching { pattern } => Answer::Count(backend.del_matching(pattern).await?),
            Self::Scan { pattern, count_hint } => scan(backend, pattern, *count_hint).await?,
            Self::Pass(_) => Answer::Done,
        })
    }
}

impl Op {
    /// Returns the operation of a call, with copies of its keys and values. A `scan` becomes a scan
    /// of all pages. `health` has no operation.
    pub(crate) fn from_request(request: &Request<'_>) -> Option<Self> {
        Some(match request {
            Request::Get { key } => Self::get(key),
            Request::Set { key, value, options } => Self::set(key, value, options.clone()),
            Request::Del { keys } => Self::del(keys),
            Request::DelIfEquals { key, expected } => Self::del_if_equals(key, expected),
            Request::Expire { key, expiry } => Self::expire(key, *expiry),
            Request::Ttl { key } => Self::ttl(key),
            Request::Scan(scan) => Self::scan(scan.pattern.clone(), scan.count_hint),
            Request::GetMany { keys } => Self::get_many(keys),
            Request::SetMany { entries, expiry } => {
                let entries: Vec<(&str, &[u8])> = entries.iter().map(|(key, value)| (*key, &value[..])).collect();
                Self::set_many(&entries, *expiry)
            }
            Request::Incr { key, delta, on_missing } => Self::incr(key, *delta, *on_missing),
            Request::DelMatching { pattern } => Self::del_matching((*pattern).clone()),
            Request::GetWithTtl { key } => Self::get_with_ttl(key),
            Request::Health => return None,
        })
    }
}

fn told<T>(result: Result<T, ErrorKind>, answer: impl FnOnce(T) -> Answer) -> Answer {
    result.map_or_else(Answer::Failed, answer)
}

fn owned(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

fn borrowed(keys: &[String]) -> Vec<&str> {
    keys.iter().map(String::as_str).collect()
}

fn borrowed_entries(entries: &[(String, Bytes)]) -> Vec<(&str, Bytes)> {
    entries
        .iter()
        .map(|(key, value)| (key.as_str(), value.clone()))
        .collect()
}

async fn scan<B: KvBackend>(backend: &B, pattern: &Pattern, count_hint: usize) -> Result<Answer, Error> {
    /// Far more pages than the keys of any sequence fill.
    const MOST_PAGES: usize = 10_000;
    let mut keys = BTreeSet::new();
    let mut request = ScanRequest::new(pattern).with_count_hint(count_hint);
    for _ in 0..MOST_PAGES {
        let page = backend.scan(request).await?;
        keys.extend(page.keys);
        let Some(next) = page.next else {
            return Ok(Answer::Keys(keys));
        };
        request = ScanRequest::new(pattern).with_count_hint(count_hint).with_cursor(next);
    }
    Ok(Answer::Endless)
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get { key } => write!(f, "Op::get({key:?})"),
            Self::Set { key, value, options } => {
                write!(f, "Op::set({key:?}, {}, {})", Literal(value), OptionsCode(options))
            }
            Self::Del { keys } => write!(f, "Op::del(&{keys:?})"),
            Self::DelIfEquals { key, expected } => write!(f, "Op::del_if_equals({key:?}, {})", Literal(expected)),
            Self::Expire { key, expiry } => write!(f, "Op::expire({key:?}, {})", ExpiryCode(*expiry)),
            Self::Ttl { key } => write!(f, "Op::ttl({key:?})"),
            Self::GetWithTtl { key } => write!(f, "Op::get_with_ttl({key:?})"),
            Self::GetMany { keys } => write!(f, "Op::get_many(&{keys:?})"),
            Self::SetMany { entries, expiry } => {
                f.write_str("Op::set_many(&[")?;
                for (at, (key, value)) in entries.iter().enumerate() {
                    let comma = if at == 0 { "" } else { ", " };
                    write!(f, "{comma}({key:?}, {})", Literal(value))?;
                }
                write!(f, "], {})", ExpiryCode(*expiry))
            }
            Self::Incr { key, delta, on_missing } => {
                write!(f, "Op::incr({key:?}, ")?;
                match *delta {
                    i64::MIN => f.write_str("i64::MIN")?,
                    i64::MAX => f.write_str("i64::MAX")?,
                    delta => write!(f, "{delta}")?,
                }
                match on_missing {
                    OnMissing::Create(expiry) => write!(f, ", OnMissing::Create({}))", ExpiryCode(*expiry)),
                    OnMissing::Refuse => f.write_str(", OnMissing::Refuse)"),
                }
            }
            Self::DelMatching { pattern } => write!(f, "Op::del_matching({})", PatternCode(pattern)),
            Self::Scan { pattern, count_hint } => write!(f, "Op::scan({}, {count_hint})", PatternCode(pattern)),
            Self::Pass(duration) => write!(f, "Op::Pass({})", DurationCode(*duration)),
        }
    }
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Bytes as a Rust literal.
struct Literal<'a>(&'a [u8]);

impl fmt::Display for Literal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

struct PatternCode<'a>(&'a Pattern);

impl fmt::Display for PatternCode<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern::glob({})", Literal(self.0.as_bytes()))
    }
}

struct OptionsCode<'a>(&'a SetOptions);

impl fmt::Display for OptionsCode<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.condition {
            Condition::Always => f.write_str("SetOptions::new()")?,
            Condition::IfAbsent => f.write_str("SetOptions::if_absent()")?,
            Condition::IfPresent => f.write_str("SetOptions::if_present()")?,
            Condition::IfEquals(value) => write!(
                f,
                "SetOptions::new().with_condition(Condition::IfEquals(Bytes::from_static({})))",
                Literal(value)
            )?,
        }
        match self.0.expiry {
            Expiry::Never => Ok(()),
            expiry => write!(f, ".with_expiry({})", ExpiryCode(expiry)),
        }
    }
}

struct ExpiryCode(Expiry);

impl fmt::Display for ExpiryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Expiry::Never => f.write_str("Expiry::Never"),
            Expiry::Keep => f.write_str("Expiry::Keep"),
            Expiry::After(after) => write!(f, "Expiry::After({})", DurationCode(after)),
        }
    }
}

struct DurationCode(Duration);

impl fmt::Display for DurationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.0.as_secs(), self.0.subsec_nanos());
        match self.0 {
            Duration::ZERO => f.write_str("Duration::ZERO"),
            Duration::MAX => f.write_str("Duration::MAX"),
            _ if nanos == 0 => write!(f, "Duration::from_secs({seconds})"),
            millis if nanos.is_multiple_of(1_000_000) => write!(f, "Duration::from_millis({})", millis.as_millis()),
            _ => write!(f, "Duration::new({seconds}, {nanos})"),
        }
    }
}
