//! How values become bytes.

use std::fmt;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::error::Category;

use super::{
    error::CodecError,
    strict::{REFUSALS, Strict},
};
use crate::{adapt::Adapted, coder};

/// A format for the values of a [`Cache`](crate::Cache): the type parameter `S`.
///
/// ```
/// use bytes::Bytes;
/// use codex_kv::{CodecError, Json, Serializer};
/// use serde::{Serialize, de::DeserializeOwned};
///
/// /// JSON behind a byte that says so, to make room for other formats later.
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
///         let json = stored.strip_prefix(b"j").ok_or_else(|| CodecError::decode::<T>("expected the tag `j`"))?;
///         Json.deserialize(json)
///     }
/// }
/// ```
///
/// [`incr`](crate::Cache::incr) works on what a serializer writes as plain decimal text.
pub trait Serializer: fmt::Debug + Send + Sync + 'static {
    /// The bytes of `value`.
    ///
    /// # Errors
    ///
    /// [`CodecError::encode`] where the format has no exact form for it. Nothing is stored then.
    fn serialize<T: Serialize + ?Sized>(&self, value: &T) -> Result<Bytes, CodecError>;

    /// The value of `stored`.
    ///
    /// # Errors
    ///
    /// [`CodecError::decode`] where the bytes are no `T`. The reason must not show the value.
    fn deserialize<T: DeserializeOwned>(&self, stored: &[u8]) -> Result<T, CodecError>;
}

/// Strict UTF-8 JSON, without spaces and without ASCII escaping: what the Python reference writes.
///
/// Refused instead of changed are NaN and the infinities (other writers make `null` of them), raw bytes (`serialize_bytes`), and the
/// keys of a map that are no string, integer, bool or char. For these and for dates and decimals there is the [`coder`](crate::coder).
///
/// A `Vec<u8>` is a sequence for serde, and so a list of numbers. An `Option<Option<T>>` and an `Option<()>` have one
/// `null` for two values, as everywhere in serde's JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Json;

impl Serializer for Json {
    #[inline]
    fn serialize<T: Serialize + ?Sized>(&self, value: &T) -> Result<Bytes, CodecError> {
        match serde_json::to_vec(&Adapted::<T, Strict>::new(value)) {
            // Boxed, so that an in-process store does not keep the spare room of a growing buffer.
            Ok(json) => Ok(json.into_boxed_slice().into()),
            Err(error) => Err(encode_error::<T>(&error)),
        }
    }

    #[inline]
    fn deserialize<T: DeserializeOwned>(&self, stored: &[u8]) -> Result<T, CodecError> {
        serde_json::from_slice(stored).map_err(|error| decode_error::<T>(&error))
    }
}

/// A type's own message may hold its value, so only the known ones are handed on.
#[cold]
fn encode_error<T: ?Sized>(error: &serde_json::Error) -> CodecError {
    let message = error.to_string();
    let known = REFUSALS
        .into_iter()
        .chain(coder::REFUSALS)
        .find(|refusal| *refusal == message);
    CodecError::encode::<T>(known.unwrap_or(if error.is_syntax() {
        // The only thing that serde_json itself refuses while it writes.
        "a map key must be a string, an integer, a bool or a char"
    } else {
        "its `Serialize` implementation failed"
    }))
}

/// The message of `serde_json` quotes what it found (`invalid type: string "…"`), so only the kind and the place are kept.
#[cold]
fn decode_error<T: ?Sized>(error: &serde_json::Error) -> CodecError {
    let what = match error.classify() {
        Category::Data => "this JSON is no such value",
        Category::Eof => "the JSON ends too early",
        Category::Syntax | Category::Io => "this is no JSON",
    };
    let (line, column) = (error.line(), error.column());
    CodecError::decode::<T>(format!("{what} (line {line}, column {column})"))
}
