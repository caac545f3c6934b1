//! The entries of a log of calls.

use std::{fmt, time::Duration};

use codex_traits::{Condition, ErrorKind, Expiry, SetOutcome, Ttl};

use super::Verb;

/// A call that a [`RecordingBackend`](super::RecordingBackend) has passed on.
///
/// It holds no values. [`Display`](fmt::Display) shows it on one line, with its keys unless they
/// are redacted: `set "user:1" 5 bytes if absent for 60s -> written`. `Debug` never shows a key.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Call {
    /// The verb of the call.
    pub verb: Verb,
    /// The keys in the order of the call. A redacted key is `#` and a number, which is always the
    /// same for the same key.
    pub keys: Vec<String>,
    /// The pattern of `scan` and `del_matching`, its bytes as text, or `#` if keys are redacted.
    pub pattern: Option<String>,
    /// The lengths of the values that the call writes or compares with.
    pub value_lengths: Vec<usize>,
    /// The condition of a `set`.
    pub condition: Option<ConditionKind>,
    /// The expiry of the call. For `incr` this is the expiry of a missing key.
    pub expiry: Option<Expiry>,
    /// The answer of the backend.
    pub answer: Answer,
}

/// A [`Condition`] without its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConditionKind {
    /// [`Condition::Always`]
    Always,
    /// [`Condition::IfAbsent`]
    IfAbsent,
    /// [`Condition::IfPresent`]
    IfPresent,
    /// [`Condition::IfEquals`]
    IfEquals,
}

impl From<&Condition> for ConditionKind {
    fn from(condition: &Condition) -> Self {
        match condition {
            Condition::Always => Self::Always,
            Condition::IfAbsent => Self::IfAbsent,
            Condition::IfPresent => Self::IfPresent,
            Condition::IfEquals(_) => Self::IfEquals,
        }
    }
}

/// The answer to a call, without values.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// No answer: the call is in flight, or was dropped.
    Pending,
    /// An error of this kind.
    Failed(ErrorKind),
    /// The answer of `get` and `get_many`: the length of each value that exists.
    Values(Vec<Option<usize>>),
    /// The answer of `get_with_ttl`: the length of the value, and its remaining time to live.
    ValueWithTtl(Option<(usize, Ttl)>),
    /// The answer of `set`.
    Set(SetOutcome),
    /// The answer of `set_many` and `health`.
    Done,
    /// The answer of `del_if_equals` and `expire`. For `incr`, whether there is a sum.
    Flag(bool),
    /// The answer of `del` and `del_matching`.
    Count(u64),
    /// The answer of `ttl`.
    Ttl(Ttl),
    /// The answer of `scan`: the number of keys on the page, and whether the page is the last.
    Page {
        /// The number of keys on the page.
        keys: usize,
        /// Whether the scan ends with this page.
        last: bool,
    },
}

impl Call {
    pub(super) fn new(verb: Verb) -> Self {
        Self {
            verb,
            keys: Vec::new(),
            pattern: None,
            value_lengths: Vec::new(),
            condition: None,
            expiry: None,
            answer: Answer::Pending,
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.verb)?;
        for key in &self.keys {
            write!(f, " {key:?}")?;
        }
        if let Some(pattern) = &self.pattern {
            write!(f, " {pattern:?}")?;
        }
        for length in &self.value_lengths {
            write!(f, " {length} bytes")?;
        }
        match self.condition {
            None | Some(ConditionKind::Always) => {}
            Some(ConditionKind::IfAbsent) => f.write_str(" if absent")?,
            Some(ConditionKind::IfPresent) => f.write_str(" if present")?,
            Some(ConditionKind::IfEquals) => f.write_str(" if equal")?,
        }
        match self.expiry {
            None => {}
            Some(Expiry::Never) => f.write_str(" for ever")?,
            Some(Expiry::After(after)) => write!(f, " for {after:?}")?,
            Some(Expiry::Keep) => f.write_str(" for as long as it had")?,
        }
        write!(f, " -> {}", self.answer)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pending => f.write_str("no answer"),
            Self::Failed(kind) => write!(f, "failed ({kind})"),
            Self::Values(lengths) => {
                let lengths = lengths.iter().map(|length| match length {
                    None => "none".to_owned(),
                    Some(length) => format!("{length} bytes"),
                });
                f.write_str(&lengths.collect::<Vec<_>>().join(", "))
            }
            Self::Set(SetOutcome::Written) => f.write_str("written"),
            Self::Set(SetOutcome::Refused) => f.write_str("refused"),
            Self::Done => f.write_str("done"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Count(count) => write!(f, "{count}"),
            Self::ValueWithTtl(None) => f.write_str("none"),
            Self::ValueWithTtl(Some((length, ttl))) => write!(f, "{length} bytes, {}", shown(*ttl)),
            Self::Ttl(ttl) => f.write_str(&shown(*ttl)),
            Self::Page { keys, last: true } => write!(f, "{keys} keys, the last page"),
            Self::Page { keys, last: false } => write!(f, "{keys} keys, more to come"),
        }
    }
}

fn shown(ttl: Ttl) -> String {
    match ttl {
        Ttl::Missing => "missing".to_owned(),
        Ttl::Persistent => "persistent".to_owned(),
        Ttl::Remaining(rest) => format!("{:?} left", whole_millis(rest)),
    }
}

/// Truncates the duration to whole milliseconds.
fn whole_millis(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

// A key can be a session id, and a failed assertion prints its operands.
impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("verb", &self.verb)
            .field("keys", &format_args!("<{}>", self.keys.len()))
            .field("value_lengths", &self.value_lengths)
            .field("condition", &self.condition)
            .field("expiry", &self.expiry)
            .field("answer", &self.answer)
            .finish_non_exhaustive()
    }
}
