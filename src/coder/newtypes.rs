//! Newtypes that every serializer writes, and every deserializer reads, in the coder's forms.
//!
//! Use them in the places that serde hides from [`dump`](super::dump) and [`load`](super::load):
//! inside `#[serde(flatten)]`, inside an untagged or internally tagged enum, and behind a smart
//! pointer that the coder does not know.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{SecondsForm, TextForm, kind};

macro_rules! newtypes {
    ($($(#[$docs:meta])* $name:ident by $module:ident where $write:path, $read:path;)*) => {$(
        $(#[$docs])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name<T>(pub T);

        impl<T> From<T> for $name<T> {
            fn from(value: T) -> Self {
                Self(value)
            }
        }

        impl<T: $write> Serialize for $name<T> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                super::$module::serialize(&self.0, serializer)
            }
        }

        impl<'de, T: $read> Deserialize<'de> for $name<T> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                super::$module::deserialize(deserializer).map(Self)
            }
        }
    )*};
}

newtypes! {
    /// A datetime as Python's `isoformat()` writes it.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    ///
    /// use codex_kv::coder::Datetime;
    ///
    /// let moment = Datetime(SystemTime::UNIX_EPOCH + Duration::from_millis(1_776_429_045_120));
    /// assert_eq!(serde_json::to_string(&moment)?, r#""2026-04-17T12:30:45.120000+00:00""#);
    /// # Ok::<_, serde_json::Error>(())
    /// ```
    Datetime by datetime where TextForm<kind::DateTime>, TextForm<kind::DateTime>;

    /// A date: `2026-04-17`.
    Date by date where TextForm<kind::Date>, TextForm<kind::Date>;

    /// A time of day: `12:30:45`.
    Time by time where TextForm<kind::Time>, TextForm<kind::Time>;

    /// A decimal number as Python's `str()` writes it: `1E-7`.
    Decimal by decimal where TextForm<kind::Decimal>, TextForm<kind::Decimal>;

    /// A UUID in lower case, with hyphens.
    Uuid by uuid where TextForm<kind::Uuid>, TextForm<kind::Uuid>;

    /// A span of time as its seconds: `1.5`.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use codex_kv::coder::Timedelta;
    /// use serde::{Deserialize, Serialize};
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Timing {
    ///     took: Timedelta<Duration>,
    /// }
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Job {
    ///     id: u32,
    ///     #[serde(flatten)]
    ///     timing: Timing,
    /// }
    ///
    /// let job = Job { id: 7, timing: Timing { took: Timedelta(Duration::from_millis(1_500)) } };
    /// assert_eq!(serde_json::to_string(&job)?, r#"{"id":7,"took":1.5}"#);
    /// # Ok::<_, serde_json::Error>(())
    /// ```
    Timedelta by timedelta where SecondsForm, SecondsForm;

    /// Bytes as lower-case hex.
    Bytes by bytes where AsRef<[u8]>, TryFrom<Vec<u8>>;
}

/// A bool as `"1"` or `"0"`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bool(pub bool);

impl From<bool> for Bool {
    fn from(value: bool) -> Self {
        Self(value)
    }
}

impl Serialize for Bool {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        super::bool::serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Bool {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::bool::deserialize(deserializer).map(Self)
    }
}
