//! The formats of a cache's values.

use std::fmt;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::json;
use crate::CodecError;

/// A format for the values of a [`Cache`](crate::Cache): the cache's type parameter `S`.
///
/// ```
/// use bytes::Bytes;
/// use codex_kv::{CodecError, Json, Serializer};
/// use serde::{Serialize, de::DeserializeOwned};
///
/// /// JSON behind a byte that names the format, to make room for other formats later.
/// #[derive(Debug)]
/// struct Tagged;
///
/// impl Serializer for Tagged {
///     fn serialize<T: Serialize + ?Sized>(&self, value: &T) -> Result<Bytes, CodecError> {
///         let json = Json.serialize(value)?;
///         Ok([b"j", &*json].concat().into())
///     }
///
///     fn deserialize<T: DeserializeOwned>(&self, stored: &[u8]) -> Result<T, CodecError> {
///         let json = stored.strip_prefix(b"j");
///         let json = json.ok_or_else(|| CodecError::decode::<T>("expected the tag `j`"))?;
///         Json.deserialize(json)
///     }
/// }
/// ```
///
/// A cache calls [`serialize_for`](Self::serialize_for) and
/// [`deserialize_for`](Self::deserialize_for), which also take the stored key. A format that does
/// not depend on the key keeps the default implementations. A format that wraps another format
/// forwards all five methods.
///
/// [`incr`](crate::Cache::incr) works on values that a serializer writes as plain decimal text.
pub trait Serializer: fmt::Debug + Send + Sync + 'static {
    /// Returns the bytes of `value`.
    ///
    /// # Errors
    ///
    /// [`CodecError::encode`] if the format cannot represent the value exactly. In that case
    /// nothing is stored.
    fn serialize<T: Serialize + ?Sized>(&self, value: &T) -> Result<Bytes, CodecError>;

    /// Returns the value in `stored`.
    ///
    /// # Errors
    ///
    /// [`CodecError::decode`] if the bytes are not a `T`. The reason must not contain the value.
    fn deserialize<T: DeserializeOwned>(&self, stored: &[u8]) -> Result<T, CodecError>;

    /// Returns the bytes to store for `value` under `stored_key`.
    ///
    /// `stored_key` is the whole key in the backend, including key prefix and version. A format
    /// that binds a value to its key (authenticated encryption) overrides this method.
    ///
    /// # Errors
    ///
    /// The same errors as [`serialize`](Self::serialize).
    #[inline]
    fn serialize_for<T: Serialize + ?Sized>(&self, stored_key: &str, value: &T) -> Result<Bytes, CodecError> {
        let _ = stored_key;
        self.serialize(value)
    }

    /// Returns the value of the bytes stored under `stored_key`.
    ///
    /// # Errors
    ///
    /// The same errors as [`deserialize`](Self::deserialize).
    #[inline]
    fn deserialize_for<T: DeserializeOwned>(&self, stored_key: &str, stored: &[u8]) -> Result<T, CodecError> {
        let _ = stored_key;
        self.deserialize(stored)
    }

    /// Converts the bytes stored under the key `from` to the bytes to store under `to`, for
    /// [`incr_version`](crate::Cache::incr_version). A format that binds a value to its key
    /// overrides this method.
    ///
    /// # Errors
    ///
    /// [`CodecError::decode`] if the bytes cannot be read. In that case the stored value does not
    /// move.
    fn rebind(&self, from: &str, to: &str, stored: Bytes) -> Result<Bytes, CodecError> {
        let _ = (from, to);
        Ok(stored)
    }
}

/// Strict JSON in UTF-8, compact and without `\u` escapes for non-ASCII text, as the Python
/// reference writes it.
///
/// A value that JSON would change is refused on write, and nothing is stored:
///
/// * NaN and the infinities, which other writers convert to `null`;
/// * raw bytes (`serialize_bytes`);
/// * map keys other than strings, integers, bools and chars;
/// * values nested in more than 127 arrays and objects, which is the reader's limit.
///
/// Use the [`coder`](crate::coder) for bytes, dates and decimals.
///
/// # Types that JSON cannot read back
///
/// serde hides these types from the writer, so their values are stored but cannot be read back
/// unchanged:
///
/// | type | why | use instead |
/// |---|---|---|
/// | `u128`, `i128` in a `#[serde(flatten)]` field, an untagged or an internally tagged enum | serde buffers the value there, and its buffer holds 64 bits | a plain field, or a string |
/// | a map with integer or bool keys (`HashMap<u32, _>`) in the same places | the buffer keeps the keys as text | a plain field, or string keys |
/// | `Option<Option<T>>`, `Option<()>`, an `Option` of another type with a `null`, such as `Value` | two values have one `null`: `Some(None)` is read as `None` | an enum |
/// | a `#[serde(flatten)]` field, or a newtype variant of an internally tagged enum, with a field or map key of the same name as another field or the tag | the name is written twice, and reading is an error | distinct names |
/// | map keys of an untagged enum | JSON keys are text: `1` is read as `"1"` | string keys |
///
/// serde treats a `Vec<u8>` as a sequence, so it becomes a list of numbers; see
/// [`Cache::set_bytes`](crate::Cache::set_bytes).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Json;

impl Serializer for Json {
    #[inline]
    fn serialize<T: Serialize + ?Sized>(&self, value: &T) -> Result<Bytes, CodecError> {
        json::write(value)
    }

    #[inline]
    fn deserialize<T: DeserializeOwned>(&self, stored: &[u8]) -> Result<T, CodecError> {
        json::read(stored)
    }
}
