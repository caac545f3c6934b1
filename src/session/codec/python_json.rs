//! JSON text as Python's `json.dumps(data, separators=(",", ":"))` writes it and `json.loads` reads
//! it.
//!
//! It differs from the JSON of RFC 8259 in two ways: every non-ASCII character is escaped, and
//! `NaN`, `Infinity` and `-Infinity` are numbers. These numbers are read and written back
//! unchanged, but never created from a Rust value.

use std::{borrow::Cow, fmt, io};

use indexmap::IndexMap;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, MapAccess, Visitor},
};
use serde_json::{ser::Formatter, value::RawValue};

use super::{CodecError, python_value::PythonValue};
use crate::{
    adapt::Adapted,
    cache::{Depth, Strict, TOO_DEEP},
    session::data::{Name, SessionData},
};

/// Returns the text of one value.
pub(crate) fn value_to_json<T: Serialize + ?Sized>(value: &T) -> Result<Box<str>, CodecError> {
    let mut text = Vec::with_capacity(64);
    // The cause is dropped because an error of a `Serialize` implementation may contain the value.
    Adapted::<T, Strict>::new(value)
        .serialize(&mut serde_json::Serializer::with_formatter(
            &mut text,
            PythonFormatter::default(),
        ))
        .map_err(|error| {
            // Writing to memory does not fail, so an I/O error is `Depth`.
            CodecError::Unwritable(if error.is_io() {
                TOO_DEEP
            } else {
                "it holds NaN, an infinity, raw bytes or a map key that is not text, or its `Serialize` failed"
            })
        })?;
    let text = String::from_utf8(text).map_err(|_| CodecError::Unwritable("its `Serialize` wrote invalid UTF-8"))?;
    Ok(text.into())
}

pub(crate) fn to_json(data: &SessionData) -> String {
    let entries = data.entries();
    let length = entries
        .iter()
        .map(|(name, value)| name.as_bytes().len() + value.len() + 4);
    let mut out = String::with_capacity(length.sum::<usize>() + 2);
    out.push('{');
    for (index, (name, value)) in entries.iter().enumerate() {
        out.push_str(if index == 0 { "\"" } else { ",\"" });
        push_name(&mut out, name);
        out.push_str("\":");
        out.push_str(value);
    }
    out.push('}');
    out
}

pub(crate) fn from_json(text: &str) -> Result<IndexMap<Name, Box<str>>, CodecError> {
    let entries = match serde_json::from_str::<Entries<'_>>(text) {
        Ok(entries) => entries.0,
        // Python's non-JSON numbers are rare, so look for them only after JSON parsing has failed.
        Err(error) => match without_python_numbers(text) {
            Some(standard) => serde_json::from_str::<Entries<'_>>(&standard)
                .map(|entries| entries.taken_from(&standard, text))
                .map_err(|error| malformed(&error))?,
            None => return Err(malformed(&error)),
        },
    };
    let owned = |value: &str| -> Box<str> { escaped(value).into() };
    Ok(entries.into_iter().map(|(name, value)| (name, owned(value))).collect())
}

/// Reduces an error to its kind, because the message of `serde_json` may contain the value.
fn malformed(error: &serde_json::Error) -> CodecError {
    CodecError::Malformed(if error.is_data() {
        "the JSON is not an object"
    } else {
        "the text is not JSON"
    })
}

/// The entries in the order of the text, including duplicate names. The map that receives them
/// resolves duplicates as Python does: a name gets its first position and its last value.
pub(super) struct Entries<'a>(Vec<(Name, &'a str)>);

impl Entries<'_> {
    /// Returns the entries with their values taken from the same positions in `text`, which has the
    /// same layout.
    pub(super) fn taken_from<'b>(self, layout: &str, text: &'b str) -> Vec<(Name, &'b str)> {
        let start = layout.as_ptr().addr();
        let take = |value: &str| {
            let at = value.as_ptr().addr() - start;
            &text[at..at + value.len()]
        };
        self.0.into_iter().map(|(name, value)| (name, take(value))).collect()
    }
}

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(name) = map.next_key::<Name>()? {
                    entries.push((name, map.next_value::<&RawValue>()?.get()));
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

impl<'de> Deserialize<'de> for Name {
    /// Reads the name as bytes: `serde_json` passes a lone surrogate (`"\ud800"`) to them as WTF-8,
    /// and refuses it in text.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Name, E> {
                Ok(Name::from_wtf8(bytes))
            }
        }

        deserializer.deserialize_bytes(Bytes)
    }
}

/// Reads the JSON text of one value.
///
/// Only a [`RawValue`] reads Python's non-JSON numbers (`NaN`), as text: no other type can
/// represent them unchanged.
pub(crate) fn value_from_json<T: DeserializeOwned>(text: &str) -> Result<T, CodecError> {
    let read = match serde_json::from_str(text) {
        Err(_) if without_python_numbers(text).is_some() => T::deserialize(PythonValue::new(text)),
        read => read,
    };
    // The cause is dropped because the message of `serde_json` for a mismatch contains the value.
    read.map_err(|_| CodecError::WrongType {
        expected: std::any::type_name::<T>(),
    })
}

/// Returns `text` with each of Python's non-JSON numbers replaced by a JSON number of the same
/// length, or `None` if it contains no such number.
pub(super) fn without_python_numbers(text: &str) -> Option<String> {
    const NUMBERS: [(&str, &str); 2] = [("NaN", "0e0"), ("Infinity", "0.000000")];

    let bytes = text.as_bytes();
    let mut standard = String::new();
    let mut copied = 0;
    let mut in_string = false;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let found = NUMBERS
            .iter()
            .find(|(number, _)| bytes[at..].starts_with(number.as_bytes()));
        at += match (in_string, byte, found) {
            // The character after a backslash does not end a string.
            (true, b'\\', _) => 2,
            (_, b'"', _) => {
                in_string = !in_string;
                1
            }
            (false, _, Some((number, replacement))) if stands_alone(bytes, at, number.len()) => {
                standard.push_str(&text[copied..at]);
                standard.push_str(replacement);
                copied = at + number.len();
                number.len()
            }
            _ => 1,
        };
    }
    if copied == 0 {
        return None;
    }
    standard.push_str(&text[copied..]);
    Some(standard)
}

/// Returns whether the `length` bytes at `at` are a complete value. `Infinity` may have a sign;
/// `NaN` may not.
fn stands_alone(bytes: &[u8], at: usize, length: usize) -> bool {
    let mut before = &bytes[..at];
    if bytes[at] == b'I' {
        before = before.strip_suffix(b"-").unwrap_or(before);
    }
    let after = bytes.get(at + length);
    let ends = |byte: u8| byte.is_ascii_whitespace() || matches!(byte, b',' | b':' | b'[' | b']' | b'}');
    before.last().copied().is_none_or(ends) && after.copied().is_none_or(ends)
}

/// Returns `text` with all characters from DEL on escaped, as with `ensure_ascii`. In JSON such
/// characters occur only in strings.
fn escaped(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| byte < 0x7f) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() * 3);
    for char in text.chars() {
        push_escaped(&mut out, char);
    }
    Cow::Owned(out)
}

fn push_escaped(out: &mut String, char: char) {
    if char < '\u{7f}' {
        out.push(char);
        return;
    }
    for &mut unit in char.encode_utf16(&mut [0; 2]) {
        push_unit(out, unit);
    }
}

fn push_unit(out: &mut String, unit: u16) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push_str("\\u");
    for shift in [12, 8, 4, 0] {
        out.push(char::from(HEX[usize::from(unit >> shift & 0xf)]));
    }
}

/// Writes a name between its quotes. Lone surrogates are three bytes of WTF-8 each.
fn push_name(out: &mut String, name: &Name) {
    let mut surrogate = 0;
    let mut bytes_of_it = 0;
    for chunk in name.as_bytes().utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                '\0'..' ' => push_unit(out, char as u16),
                _ => push_escaped(out, char),
            }
        }
        // The standard library reports each byte of an encoded surrogate as invalid separately.
        for &byte in chunk.invalid() {
            // ED 101xxxxx 10xxxxxx encodes 1101 1xxx xxxx xxxx: the high four bits are the low bits
            // of the first byte.
            surrogate = surrogate << 6 | u16::from(byte & 0x3f);
            bytes_of_it += 1;
            if bytes_of_it == 3 {
                push_unit(out, surrogate);
                (surrogate, bytes_of_it) = (0, 0);
            }
        }
    }
}

/// A formatter with Python's spelling: ASCII only, `1e+16` and `1e-07` for Rust's `1e16` and
/// `1e-7`. It refuses values that are too deep to be read.
#[derive(Default)]
struct PythonFormatter(Depth);

impl PythonFormatter {
    /// Writes the `Debug` text of a float as Python's `repr` does. Both write the fewest digits
    /// that read back as the same number, and switch to an exponent at the same magnitudes. If two
    /// spellings are equally short and equally close, the last digit can differ; both read back as
    /// the same number.
    fn write_float<W: ?Sized + io::Write>(writer: &mut W, debug: &str) -> io::Result<()> {
        let Some((digits, exponent)) = debug.split_once('e') else {
            return writer.write_all(debug.as_bytes());
        };
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(exponent) => ('-', exponent),
            None => ('+', exponent),
        };
        write!(writer, "{digits}e{sign}{exponent:0>2}")
    }
}

impl Formatter for PythonFormatter {
    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.enter()?;
        writer.write_all(b"[")
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.leave();
        writer.write_all(b"]")
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.enter()?;
        writer.write_all(b"{")
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.leave();
        writer.write_all(b"}")
    }

    fn write_f32<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f32) -> io::Result<()> {
        Self::write_float(writer, &format!("{value:?}"))
    }

    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        Self::write_float(writer, &format!("{value:?}"))
    }

    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        writer.write_all(escaped(fragment).as_bytes())
    }

    fn write_raw_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        writer.write_all(escaped(fragment).as_bytes())
    }
}
