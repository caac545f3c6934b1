//! Visitors for types that request parts from serde instead of a form: the elements of a list, or
//! the fields of a struct.
//!
//! Each visitor accepts both the form and the parts, because a value behind a type that hides it
//! from the writer is written as its parts.

use std::{fmt, time::SystemTime};

use serde::de::{Error, MapAccess, SeqAccess, Visitor, value::SeqDeserializer};

use super::{
    TextForm,
    bytes::load_bytes,
    kind,
    seconds::{EXPECTED_SECONDS, micros_of, micros_of_whole},
};

/// Not a limit of the coder: serde does not write an earlier `SystemTime` either.
const BEFORE_1970: &str = "serde reads no `SystemTime` before 1970; use `coder::Datetime`";

/// A visitor for bytes from hex or from a list of numbers.
pub(super) struct HexOrList<V>(pub(super) V);

impl<'de, V: Visitor<'de>> Visitor<'de> for HexOrList<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes as hex")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<V::Value, E> {
        let bytes = load_bytes(text).map_err(E::custom)?;
        let mut elements = SeqDeserializer::new(bytes.into_iter());
        let value = self.0.visit_seq(&mut elements)?;
        // An array reads as many elements as it has and ignores the rest.
        elements.end()?;
        Ok(value)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(access)
    }
}

/// A visitor for a span of time from its seconds, or from whole seconds and nanoseconds.
pub(super) struct SecondsOrParts<V>(pub(super) V);

impl<'de, V: Visitor<'de>> SecondsOrParts<V> {
    fn micros<E: Error>(self, micros: Option<i128>) -> Result<V::Value, E> {
        let micros = micros.ok_or_else(|| E::custom(EXPECTED_SECONDS))?;
        let whole = i64::try_from(micros.div_euclid(1_000_000)).map_err(E::custom)?;
        let nanos = i64::try_from(micros.rem_euclid(1_000_000) * 1_000).map_err(E::custom)?;
        self.0.visit_seq(SeqDeserializer::new([whole, nanos].into_iter()))
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for SecondsOrParts<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the seconds of a timedelta")
    }

    fn visit_f64<E: Error>(self, seconds: f64) -> Result<V::Value, E> {
        self.micros(micros_of(seconds))
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<V::Value, E> {
        self.micros(micros_of_whole(seconds.into()))
    }

    fn visit_i64<E: Error>(self, seconds: i64) -> Result<V::Value, E> {
        self.micros(micros_of_whole(seconds.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(access)
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(access)
    }
}

/// A visitor for a `SystemTime` from a datetime, or from whole seconds and nanoseconds since 1970.
pub(super) struct DatetimeOrParts<V>(pub(super) V);

impl<'de, V: Visitor<'de>> Visitor<'de> for DatetimeOrParts<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a datetime with its offset")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<V::Value, E> {
        let moment: SystemTime = TextForm::<kind::DateTime>::from_text(text).map_err(E::custom)?;
        let since = moment
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_err(|_| E::custom(BEFORE_1970))?;
        let parts = [since.as_secs(), since.subsec_nanos().into()];
        self.0.visit_seq(SeqDeserializer::new(parts.into_iter()))
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(access)
    }
}
