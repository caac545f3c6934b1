//! A reader of values whose text contains Python's non-JSON numbers (`NaN`).
//!
//! The reader splits objects and arrays, so that a [`RawValue`] at any depth gets its unchanged
//! text and unused values are skipped. All other types parse their part as JSON and refuse such a
//! number.

use std::borrow::Cow;

use serde::{
    Deserializer,
    de::{
        Error as _, IntoDeserializer, Visitor,
        value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer},
    },
};
use serde_json::{Error, value::RawValue};

use super::python_json::{Entries, without_python_numbers};
use crate::cache::MAX_DEPTH;

/// The name by which a [`RawValue`] requests its text. It is private to `serde_json`, so a test
/// covers it.
const RAW_VALUE: &str = "$serde_json::private::RawValue";

/// The text of a value, and the number of enclosing arrays and objects.
#[derive(Clone, Copy)]
pub(super) struct PythonValue<'a> {
    text: &'a str,
    depth: usize,
}

impl<'a> PythonValue<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, depth: 0 }
    }

    fn inside(self) -> Result<impl Fn(&'a str) -> Self, Error> {
        let depth = self.depth + 1;
        if depth > MAX_DEPTH {
            return Err(Error::custom("nested too deeply"));
        }
        Ok(move |text| Self { text, depth })
    }

    /// Returns the text with Python's numbers replaced by JSON numbers of the same length.
    fn standard(self) -> Cow<'a, str> {
        without_python_numbers(self.text).map_or(Cow::Borrowed(self.text), Cow::Owned)
    }

    fn entries(self) -> Result<Vec<(String, Self)>, Error> {
        let (inside, standard) = (self.inside()?, self.standard());
        let entries: Entries<'_> = serde_json::from_str(&standard)?;
        let entries = entries.taken_from(&standard, self.text).into_iter();
        let named = entries.map(|(name, value)| Some((name.as_str()?.to_owned(), inside(value))));
        named
            .collect::<Option<_>>()
            .ok_or_else(|| Error::custom("a name is not text"))
    }

    fn elements(self) -> Result<Vec<Self>, Error> {
        let (inside, standard) = (self.inside()?, self.standard());
        let elements: Vec<&RawValue> = serde_json::from_str(&standard)?;
        let start = standard.as_ptr().addr();
        let taken = elements.into_iter().map(|element| {
            let at = element.get().as_ptr().addr() - start;
            inside(&self.text[at..at + element.get().len()])
        });
        Ok(taken.collect())
    }
}

impl<'de> IntoDeserializer<'de, Error> for PythonValue<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Implements the methods for scalars, which are read as JSON.
macro_rules! scalars {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            serde_json::Deserializer::from_str(self.text).$method(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for PythonValue<'de> {
    type Error = Error;

    scalars! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64 deserialize_char deserialize_str deserialize_string
        deserialize_identifier deserialize_unit
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.text.as_bytes().first() {
            Some(b'{') => visitor.visit_map(MapDeserializer::new(self.entries()?.into_iter())),
            Some(b'[') => visitor.visit_seq(SeqDeserializer::new(self.elements()?.into_iter())),
            _ => serde_json::Deserializer::from_str(self.text).deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.text == "null" {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        if name == RAW_VALUE {
            let entry = std::iter::once((RAW_VALUE, self.text));
            visitor.visit_map(MapDeserializer::new(entry))
        } else {
            visitor.visit_newtype_struct(self)
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if self.text.starts_with('{') {
            visitor.visit_enum(MapAccessDeserializer::new(MapDeserializer::new(
                self.entries()?.into_iter(),
            )))
        } else {
            serde_json::Deserializer::from_str(self.text).deserialize_enum(name, variants, visitor)
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bytes byte_buf unit_struct seq tuple tuple_struct map struct
    }
}
