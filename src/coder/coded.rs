//! Conversion of whole values to and from the coder's forms.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{bool::dump_bool, hex, load::Loading, typed::Typed};
use crate::{
    adapt::{Adapted, Policy},
    cache::MAX_DEPTH,
};

/// A value that is written and read in the coder's forms, at any depth.
///
/// Bools are written as `"1"` and `"0"`, `None` and units as `""`, bytes as hex, spans of time as
/// seconds, and datetimes and decimals as Python writes them; see the [table](super). Lists, maps
/// and structs keep their structure, and their contents are written in these forms. All other
/// values are unchanged, including the keys of maps. NaN is also unchanged, so a cache's strict
/// [`Json`](crate::Json) refuses it.
///
/// The requested type determines how the text is read: a `bool` from `"1"`, an `Option` from `""`,
/// a `Duration` from `1.5`. This has three consequences:
///
/// * A `Some` of an empty string or of empty bytes is read back as `None`.
/// * A type that accepts any value (`serde_json::Value`, an untagged enum, `#[serde(flatten)]`)
///   gets the unchanged text.
/// * An integer of more than 64 bits inside an `Option` is an error.
///
/// Writing a value nested in more than 127 arrays and objects is an error, because `serde_json`
/// does not read deeper values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Coded<T>(pub T);

/// Returns `value` in the coder's forms, for any serializer or [`Cache::set`](crate::Cache::set).
/// [`Coded`] lists the forms.
///
/// ```
/// use codex_kv::coder;
///
/// let value = (true, None::<u8>, [1, 2, 3]);
/// assert_eq!(serde_json::to_string(&coder::dump(&value))?, r#"["1","",[1,2,3]]"#);
/// # Ok::<_, serde_json::Error>(())
/// ```
pub fn dump<T: Serialize + ?Sized>(value: &T) -> Coded<&T> {
    Coded(value)
}

/// Reads a value that [`dump`] has written. The requested type determines the forms; see [`Coded`].
///
/// ```
/// use codex_kv::coder;
///
/// let stored = serde_json::json!(["1", "", [1, 2, 3]]);
/// let value: (bool, Option<u8>, [u8; 3]) = coder::load(stored)?;
/// assert_eq!(value, (true, None, [1, 2, 3]));
/// # Ok::<_, serde_json::Error>(())
/// ```
///
/// # Errors
///
/// Fails if the stored value is not a `T` in the coder's forms.
pub fn load<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    T::deserialize(Loading(deserializer))
}

impl<T: Serialize> Serialize for Coded<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Adapted::<T, Forms>::new(&self.0).serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Coded<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        load(deserializer).map(Self)
    }
}

/// The policy that writes leaves in the coder's forms.
struct Forms;

impl Policy for Forms {
    type Keys = Unchanged;

    // A deeper value could be written but not read back.
    const DEEPEST: usize = MAX_DEPTH;

    fn value<T: Serialize + ?Sized, S: Serializer>(value: &T, depth: usize, serializer: S) -> Result<S::Ok, S::Error> {
        match Typed::of::<T>() {
            Some(typed) => typed.write(value, serializer),
            None => Self::parts(value, depth, serializer),
        }
    }

    fn bool<S: Serializer>(serializer: S, value: bool) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(dump_bool(value))
    }

    fn bytes<S: Serializer>(serializer: S, value: &[u8]) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(value))
    }

    fn none<S: Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("")
    }

    fn unit<S: Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("")
    }
}

struct Unchanged;

impl Policy for Unchanged {
    type Keys = Self;
}
