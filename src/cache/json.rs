//! Strict JSON: every written value can be read back, and errors show no value.

use std::io;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{error::Category, ser::Formatter};

use super::strict::{REFUSALS, Strict};
use crate::{CodecError, adapt::Adapted, coder};

/// The maximum number of arrays and objects around a value that `serde_json` reads. Its limit of
/// 128 includes the value itself.
pub(crate) const MAX_DEPTH: usize = 127;

pub(crate) const TOO_DEEP: &str = "it is nested too deeply: JSON is read through at most 127 arrays and objects";

#[inline]
pub(super) fn write<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, CodecError> {
    let mut json = Vec::with_capacity(128);
    let mut serializer = serde_json::Serializer::with_formatter(&mut json, Readable::default());
    match Adapted::<T, Strict>::new(value).serialize(&mut serializer) {
        // Boxed, so that an in-process store does not keep the buffer's spare capacity.
        Ok(()) => Ok(json.into_boxed_slice().into()),
        Err(error) => Err(encode_error::<T>(&error)),
    }
}

#[inline]
pub(super) fn read<T: DeserializeOwned>(stored: &[u8]) -> Result<T, CodecError> {
    // `serde_json::from_slice` skips the fields that the type does not have without validating
    // their UTF-8.
    let Ok(text) = std::str::from_utf8(stored) else {
        return Err(CodecError::decode::<T>("it is not UTF-8"));
    };
    serde_json::from_str(text).map_err(|error| decode_error::<T>(&error))
}

/// The nesting depth of a writer in arrays and objects, up to the limit of `serde_json`'s reader.
///
/// `serde_json` reads a [`RawValue`](serde_json::value::RawValue) without a depth limit, so raw
/// values do not count.
#[derive(Default)]
pub(crate) struct Depth(usize);

impl Depth {
    /// Enters an array or object, and fails if the depth exceeds the limit.
    #[inline]
    pub(crate) fn enter(&mut self) -> io::Result<()> {
        self.0 += 1;
        if self.0 > MAX_DEPTH {
            return Err(io::Error::other(TOO_DEEP));
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn leave(&mut self) {
        self.0 -= 1;
    }
}

/// A compact formatter that fails on JSON nested too deeply to be read back.
#[derive(Default)]
struct Readable(Depth);

impl Formatter for Readable {
    #[inline]
    fn begin_array<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.enter()?;
        writer.write_all(b"[")
    }

    #[inline]
    fn end_array<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.leave();
        writer.write_all(b"]")
    }

    #[inline]
    fn begin_object<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.enter()?;
        writer.write_all(b"{")
    }

    #[inline]
    fn end_object<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.leave();
        writer.write_all(b"}")
    }
}

/// Passes on only known messages, because a type's own message may contain its value.
#[cold]
fn encode_error<T: ?Sized>(error: &serde_json::Error) -> CodecError {
    let message = error.to_string();
    let known = REFUSALS
        .into_iter()
        .chain(coder::REFUSALS)
        .chain([TOO_DEEP])
        .find(|refusal| *refusal == message);
    CodecError::encode::<T>(match known {
        Some(known) => known,
        // Writing into memory does not fail, so the error comes from `Depth`.
        None if error.is_io() => TOO_DEEP,
        // `serde_json` itself refuses only map keys.
        None if error.is_syntax() => "a map key must be a string, an integer, a bool or a char",
        None => "its `Serialize` implementation failed",
    })
}

/// Keeps only the category and the position, because the messages of `serde_json` and serde quote
/// the input (`invalid type: string "…"`).
#[cold]
fn decode_error<T: ?Sized>(error: &serde_json::Error) -> CodecError {
    let category = category(error);
    let (line, column) = (error.line(), error.column());
    CodecError::decode::<T>(format!("{category} (line {line}, column {column})"))
}

pub(crate) fn category(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        Category::Eof => "end of input",
        Category::Data => data_category(&error.to_string()),
        Category::Syntax | Category::Io => {
            if error.to_string().starts_with("recursion limit exceeded") {
                "nested too deeply to be read"
            } else {
                "not JSON"
            }
        }
    }
}

/// Returns the category of a serde message. The message itself quotes the input.
pub(crate) fn data_category(message: &str) -> &'static str {
    /// The prefixes of serde's messages.
    const DATA: [(&str, &str); 7] = [
        ("missing field", "missing field"),
        ("unknown field", "unknown field"),
        ("duplicate field", "duplicate field"),
        ("unknown variant", "unknown variant"),
        ("invalid length", "wrong number of elements"),
        ("invalid value", "value out of range"),
        ("invalid type", "wrong type"),
    ];
    let known = DATA.iter().find(|(start, _)| message.starts_with(start));
    known.map_or("wrong type or value", |(_, category)| category)
}
