//! Recognition of the types that have a form although serde writes them differently: a `Vec<u8>` as
//! a list of numbers, a `Duration` as a struct.
//!
//! A serializer does not learn the type of a value, but the container that passes the value on
//! does. The type is recognised there by its `TypeId`, and the value is rebuilt from its serde
//! form.

use std::{
    any::TypeId,
    borrow::Cow,
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime},
};

#[cfg(feature = "chrono")]
use chrono::{DateTime, FixedOffset, Local, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Utc};
use serde::{Serialize, Serializer, de::DeserializeOwned, ser};

use super::{CoderError, SecondsForm, TextForm, byte_list, dump_bytes, dump_timedelta, error::HIDDEN};

/// A type whose form differs from what serde writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Typed {
    Bytes,
    Duration,
    SystemTime,
    #[cfg(feature = "chrono")]
    TimeDelta,
    #[cfg(feature = "chrono")]
    AwareDateTime,
    #[cfg(feature = "chrono")]
    NaiveDateTime,
    #[cfg(feature = "chrono")]
    Date,
    #[cfg(feature = "chrono")]
    Time,
    #[cfg(feature = "rust_decimal")]
    Decimal,
}

impl Typed {
    /// Returns the type of `T`, which may be a reference, a box or a similar pointer to the type.
    pub(super) fn of<T: ?Sized>() -> Option<Self> {
        if is::<T, Vec<u8>>() || is::<T, [u8]>() || is_array::<T>() {
            return Some(Self::Bytes);
        }
        if is::<T, Duration>() {
            return Some(Self::Duration);
        }
        if is::<T, SystemTime>() {
            return Some(Self::SystemTime);
        }
        #[cfg(feature = "chrono")]
        if is::<T, DateTime<Utc>>() || is::<T, DateTime<FixedOffset>>() || is::<T, DateTime<Local>>() {
            return Some(Self::AwareDateTime);
        } else if is::<T, TimeDelta>() {
            return Some(Self::TimeDelta);
        } else if is::<T, NaiveDateTime>() {
            return Some(Self::NaiveDateTime);
        } else if is::<T, NaiveDate>() {
            return Some(Self::Date);
        } else if is::<T, NaiveTime>() {
            return Some(Self::Time);
        }
        #[cfg(feature = "rust_decimal")]
        if is::<T, rust_decimal::Decimal>() {
            return Some(Self::Decimal);
        }
        None
    }

    /// Writes `value`, which is of this type.
    pub(super) fn write<T: Serialize + ?Sized, S: Serializer>(
        self,
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bytes => {
                let bytes = byte_list::collect(value).ok_or_else(|| ser::Error::custom(HIDDEN))?;
                serializer.serialize_str(&dump_bytes(&bytes))
            }
            Self::Duration => seconds::<Duration, T, S>(value, serializer),
            Self::SystemTime => text(rebuild::<SystemTime, _>(value), serializer),
            #[cfg(feature = "chrono")]
            Self::TimeDelta => seconds::<TimeDelta, T, S>(value, serializer),
            #[cfg(feature = "chrono")]
            Self::AwareDateTime => text(rebuild::<DateTime<FixedOffset>, _>(value), serializer),
            #[cfg(feature = "chrono")]
            Self::NaiveDateTime => text(rebuild::<NaiveDateTime, _>(value), serializer),
            #[cfg(feature = "chrono")]
            Self::Date => text(rebuild::<NaiveDate, _>(value), serializer),
            #[cfg(feature = "chrono")]
            Self::Time => text(rebuild::<NaiveTime, _>(value), serializer),
            // Uses the digits, because some features of `rust_decimal` write the number as a float,
            // which is not exact.
            #[cfg(feature = "rust_decimal")]
            Self::Decimal => {
                let digits: Result<String, _> = rebuild(value);
                text(
                    digits.and_then(|digits| super::numbers::from_digits(&digits)),
                    serializer,
                )
            }
        }
    }
}

/// Returns whether `T` is `L`, or a pointer to `L` that serde writes like the `L` itself.
fn is<T: ?Sized, L: ToOwned + ?Sized + 'static>() -> bool {
    is_or_refers_to::<T, L>()
        || is_or_refers_to::<T, Box<L>>()
        || is_or_refers_to::<T, Rc<L>>()
        || is_or_refers_to::<T, Arc<L>>()
        || is_or_refers_to::<T, Cow<'static, L>>()
}

fn is_or_refers_to<T: ?Sized, L: ?Sized + 'static>() -> bool {
    let id = typeid::of::<T>();
    id == TypeId::of::<L>()
        || id == TypeId::of::<&'static L>()
        || id == TypeId::of::<&'static &'static L>()
        || id == TypeId::of::<&'static mut L>()
}

/// Returns whether `T` is an array of bytes of a length that serde supports, or a pointer to such
/// an array.
pub(super) fn is_array<T: ?Sized>() -> bool {
    macro_rules! any_of {
        ($($len:literal)*) => { $(is::<T, [u8; $len]>())||* };
    }
    any_of!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32)
}

/// Returns the `V` that has the same serde form as `value`.
fn rebuild<V: DeserializeOwned, T: Serialize + ?Sized>(value: &T) -> Result<V, CoderError> {
    let tree = serde_json::to_value(value);
    tree.and_then(serde_json::from_value)
        .map_err(|_| CoderError::new(HIDDEN))
}

fn text<K, V: TextForm<K>, S: Serializer>(value: Result<V, CoderError>, serializer: S) -> Result<S::Ok, S::Error> {
    let text = value.and_then(|value| value.to_text());
    serializer.serialize_str(&text.map_err(ser::Error::custom)?)
}

fn seconds<V, T, S>(value: &T, serializer: S) -> Result<S::Ok, S::Error>
where
    V: SecondsForm + DeserializeOwned,
    T: Serialize + ?Sized,
    S: Serializer,
{
    let seconds = rebuild::<V, _>(value).and_then(|span| dump_timedelta(&span));
    serializer.serialize_f64(seconds.map_err(ser::Error::custom)?)
}
