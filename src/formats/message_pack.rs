//! The MessagePack format.

use bytes::Bytes;
use rmp_serde::{Deserializer, decode::Error as DecodeError, encode::Error as EncodeError};
use serde::{Serialize, de::DeserializeOwned};

use super::header::Header;
use crate::{CodecError, Serializer, cache::data_category, coder};

mod depth;

use depth::{MAX_DEPTH, Unreadable};

/// The MessagePack format (feature `messagepack`): smaller than JSON, and exact for floats and
/// bytes.
///
/// Structs are written as maps with field names, so that a field can be added later. NaN, the
/// infinities, raw bytes and map keys of any type are preserved.
///
/// A stored value begins with the bytes `C1 6D`. Other formats report such a value as an error, and
/// this format reports values of other formats as errors. Change the cache's
/// [version](crate::CacheBuilder::version) together with its format.
///
/// Django cannot read these values, and [`incr`](crate::Cache::incr) does not work on them.
///
/// ```
/// use codex_kv::{Cache, MessagePack, Timeout, memory::MemoryBackend};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), codex_kv::CacheError> {
/// let builder = Cache::builder(MemoryBackend::new()).key_prefix("shop");
/// let cache = builder.serializer(MessagePack).build()?;
/// cache.set("limits", &[f64::MIN, f64::INFINITY], Timeout::Default).await?;
/// assert_eq!(cache.get("limits").await?, Some([f64::MIN, f64::INFINITY]));
/// # Ok(())
/// # }
/// ```
///
/// # Limits
///
/// Writing or reading a value nested in more than 127 arrays and maps fails.
///
/// # Types that MessagePack cannot read back
///
/// serde hides these types from the writer, so their values are stored but cannot be read back
/// unchanged:
///
/// | type | why | use instead |
/// |---|---|---|
/// | in a `#[serde(flatten)]` field, an untagged or an internally tagged enum: `u128`, `i128`, and types with a binary form, such as `Uuid` and `IpAddr` | serde buffers the value there, and reads the buffer as 64 bits and as text | a plain field, or a string |
/// | `Option<Option<T>>`, `Option<()>`, an `Option` of another type with a nil, such as `Value` | two values have one nil: `Some(None)` is read as `None` | an enum |
/// | a `#[serde(flatten)]` field, or a newtype variant of an internally tagged enum, with a field or map key of the same name as another field or the tag | the name is written twice, and reading is an error | distinct names |
/// | [`RawValue`](serde_json::value::RawValue) | only `serde_json` reads it | a string |
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MessagePack;

impl Serializer for MessagePack {
    fn serialize<T: Serialize + ?Sized>(&self, value: &T) -> Result<Bytes, CodecError> {
        let mut written = Vec::with_capacity(128);
        written.extend_from_slice(&Header::MessagePack.bytes());
        let mut serializer = rmp_serde::Serializer::new(&mut written).with_struct_map();
        value
            .serialize(&mut serializer)
            .map_err(|error| encode_error::<T>(&error))?;
        depth::check(&written[Header::LENGTH..]).map_err(|unreadable| match unreadable {
            Unreadable::TooDeep => CodecError::encode::<T>(format!(
                "it is nested too deeply: MessagePack is read through at most {MAX_DEPTH} arrays and maps"
            )),
            Unreadable::Malformed => CodecError::encode::<T>("its `Serialize` implementation did not write one value"),
        })?;
        // Boxed, so that an in-process store does not keep the buffer's spare capacity.
        Ok(written.into_boxed_slice().into())
    }

    fn deserialize<T: DeserializeOwned>(&self, stored: &[u8]) -> Result<T, CodecError> {
        let value = Header::MessagePack
            .strip(stored)
            .ok_or_else(|| CodecError::decode::<T>("it is not MessagePack of this cache's format"))?;
        // `rmp-serde` descends into enums without a limit, and ignores trailing bytes.
        depth::check(value).map_err(|unreadable| {
            CodecError::decode::<T>(match unreadable {
                Unreadable::TooDeep => "nested too deeply to be read",
                Unreadable::Malformed => "not MessagePack",
            })
        })?;
        T::deserialize(&mut Deserializer::from_read_ref(value))
            .map_err(|error| CodecError::decode::<T>(category(&error)))
    }
}

/// Passes on only known messages, because a type's own message may contain its value.
#[cold]
fn encode_error<T: ?Sized>(error: &EncodeError) -> CodecError {
    let message = error.to_string();
    let known = coder::REFUSALS.into_iter().find(|refusal| *refusal == message);
    CodecError::encode::<T>(known.unwrap_or("its `Serialize` implementation failed"))
}

#[cold]
fn category(error: &DecodeError) -> &'static str {
    match error {
        DecodeError::InvalidMarkerRead(_) | DecodeError::InvalidDataRead(_) => "end of input",
        DecodeError::TypeMismatch(_) => "wrong type",
        DecodeError::OutOfRange => "value out of range",
        DecodeError::LengthMismatch(_) => "wrong number of elements",
        DecodeError::Utf8Error(_) => "a text that is not UTF-8",
        DecodeError::DepthLimitExceeded => "nested too deeply to be read",
        _ => data_category(&error.to_string()),
    }
}
