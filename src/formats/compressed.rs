//! Compression around another format.

use std::borrow::Cow;

use bytes::Bytes;
use lz4_flex::block;
use serde::{Serialize, de::DeserializeOwned};

use super::header::Header;
use crate::{CodecError, Serializer};

/// The default threshold, in bytes. On most smaller values, LZ4 saves less than the header costs.
const DEFAULT_THRESHOLD: usize = 1_024;

const DEFAULT_MAX_INFLATED: usize = 64 << 20;

/// The maximum ratio of LZ4. A stored length beyond it is invalid.
const MAX_RATIO: usize = 255;

/// The byte after the header says whether the value is compressed. After [`LZ4`] comes the inflated
/// length, of [`LENGTH`] bytes.
const STORED: u8 = 0;
const LZ4: u8 = 1;
const LENGTH: usize = 4;

/// A format that compresses large values of another format with LZ4 (feature `compression`).
///
/// ```
/// use codex_kv::{Cache, Compressed, Json, KvBackend as _, Timeout, memory::MemoryBackend};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), codex_kv::CacheError> {
/// let cache = Cache::builder(MemoryBackend::new())
///     .key_prefix("shop")
///     .serializer(Compressed::new(Json).threshold(4_096))
///     .build()?;
/// let page = "<li>the same again</li>".repeat(1_000);
/// cache.set("page", &page, Timeout::Default).await?;
/// assert_eq!(cache.get("page").await?, Some(page));
///
/// let stored = cache.backend().get("shop:1:page").await?.expect("stored just now");
/// assert!(stored.len() < 1_000);
/// # Ok(())
/// # }
/// ```
///
/// A value below the [threshold](Self::threshold), or one that compression would not shrink, is
/// stored uncompressed. A stored value always begins with the bytes `C1 7A`. Other formats report
/// such a value as an error, and this format reports values of other formats as errors. Change the
/// cache's [version](crate::CacheBuilder::version) together with its format.
///
/// Django cannot read these values, and [`incr`](crate::Cache::incr) does not work on them.
///
/// # Limits
///
/// Writing a value larger than [`max_inflated`](Self::max_inflated) bytes fails. Reading fails
/// before it allocates memory if the stored length exceeds this limit or the maximum ratio of LZ4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compressed<S> {
    inner: S,
    threshold: usize,
    max_inflated: usize,
}

impl<S: Serializer> Compressed<S> {
    /// Creates a format that compresses the output of `inner`.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            threshold: DEFAULT_THRESHOLD,
            max_inflated: DEFAULT_MAX_INFLATED,
        }
    }

    /// Sets the minimum size of a compressed value, in bytes. The default is 1,024.
    #[must_use]
    pub fn threshold(mut self, bytes: usize) -> Self {
        self.threshold = bytes;
        self
    }

    /// Sets the maximum size of a value before compression, in bytes. The default is 64 MiB.
    ///
    /// The format supports at most 4 GiB minus one byte. In every process, the limit must be at
    /// least the size of the largest value that any process writes.
    #[must_use]
    pub fn max_inflated(mut self, bytes: usize) -> Self {
        self.max_inflated = bytes.min(u32::MAX as usize);
        self
    }

    fn deflate<T: ?Sized>(&self, value: &Bytes) -> Result<Bytes, CodecError> {
        let too_large = || CodecError::encode::<T>(format!("it is larger than {} bytes", self.max_inflated));
        if value.len() > self.max_inflated {
            return Err(too_large());
        }
        let length = u32::try_from(value.len()).map_err(|_| too_large())?;
        let header = Header::Compressed.bytes();
        if value.len() >= self.threshold {
            let start = [&header[..], &[LZ4], &length.to_le_bytes()].concat();
            let mut deflated = vec![0; start.len() + block::get_maximum_output_size(value.len())];
            deflated[..start.len()].copy_from_slice(&start);
            // The buffer fits the worst case, so compression does not fail. If it ever did, the
            // value would be stored uncompressed.
            if let Ok(written) = block::compress_into(value, &mut deflated[start.len()..])
                && written + LENGTH < value.len()
            {
                deflated.truncate(start.len() + written);
                return Ok(deflated.into_boxed_slice().into());
            }
        }
        Ok([&header[..], &[STORED], value].concat().into())
    }

    fn inflate<'a, T: ?Sized>(&self, stored: &'a [u8]) -> Result<Cow<'a, [u8]>, CodecError> {
        let refused = |reason: &'static str| CodecError::decode::<T>(reason);
        let too_large = || {
            let limit = self.max_inflated;
            CodecError::decode::<T>(format!(
                "it is larger than {limit} bytes, the limit of the cache's format"
            ))
        };
        let body = Header::Compressed
            .strip(stored)
            .ok_or_else(|| refused("it is not compressed by this cache's format"))?;
        match body.split_first() {
            Some((&STORED, value)) if value.len() > self.max_inflated => Err(too_large()),
            Some((&STORED, value)) => Ok(Cow::Borrowed(value)),
            Some((&LZ4, rest)) => {
                let (length, block) = rest
                    .split_first_chunk::<LENGTH>()
                    .ok_or_else(|| refused("end of input"))?;
                let length = u32::from_le_bytes(*length) as usize;
                if length > self.max_inflated {
                    return Err(too_large());
                }
                if length > block.len().saturating_mul(MAX_RATIO) {
                    return Err(refused("not LZ4"));
                }
                let mut value = vec![0; length];
                match block::decompress_into(block, &mut value) {
                    Ok(written) if written == length => Ok(Cow::Owned(value)),
                    _ => Err(refused("not LZ4")),
                }
            }
            _ => Err(refused("a compression that this version does not know")),
        }
    }
}

impl<S: Serializer> Serializer for Compressed<S> {
    fn serialize<T: Serialize + ?Sized>(&self, value: &T) -> Result<Bytes, CodecError> {
        self.deflate::<T>(&self.inner.serialize(value)?)
    }

    fn deserialize<T: DeserializeOwned>(&self, stored: &[u8]) -> Result<T, CodecError> {
        self.inner.deserialize(&self.inflate::<T>(stored)?)
    }

    fn serialize_for<T: Serialize + ?Sized>(&self, stored_key: &str, value: &T) -> Result<Bytes, CodecError> {
        self.deflate::<T>(&self.inner.serialize_for(stored_key, value)?)
    }

    fn deserialize_for<T: DeserializeOwned>(&self, stored_key: &str, stored: &[u8]) -> Result<T, CodecError> {
        self.inner.deserialize_for(stored_key, &self.inflate::<T>(stored)?)
    }

    fn rebind(&self, from: &str, to: &str, stored: Bytes) -> Result<Bytes, CodecError> {
        let inflated = Bytes::copy_from_slice(&self.inflate::<[u8]>(&stored)?);
        let rebound = self.inner.rebind(from, to, inflated.clone())?;
        if rebound == inflated {
            Ok(stored)
        } else {
            self.deflate::<[u8]>(&rebound)
        }
    }
}
