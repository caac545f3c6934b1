//! The kinds whose form is a single text.

use std::fmt;

use serde::{
    Deserializer, Serializer,
    de::{self, Visitor},
    ser,
};

use super::CoderError;

/// A type whose values have a text form of the given `Kind`, one of the types in
/// [`kind`](super::kind). Implement this trait for your own type to use it with
/// [`dump_datetime`](super::dump_datetime) and the other functions.
pub trait TextForm<Kind>: Sized {
    /// Returns the text of this value.
    ///
    /// # Errors
    ///
    /// [`CoderError`] if the form cannot represent the value exactly.
    fn to_text(&self) -> Result<String, CoderError>;

    /// Parses the value of `text`.
    ///
    /// # Errors
    ///
    /// [`CoderError`] if `text` is not in this form, or if this type cannot hold its value exactly.
    fn from_text(text: &str) -> Result<Self, CoderError>;
}

pub(super) fn serialize<K, T: TextForm<K>, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&value.to_text().map_err(ser::Error::custom)?)
}

/// Reads a text and converts it with `load`.
pub(super) fn deserialize<'de, T, D: Deserializer<'de>>(
    deserializer: D,
    load: fn(&str) -> Result<T, CoderError>,
) -> Result<T, D::Error> {
    struct Text<T>(fn(&str) -> Result<T, CoderError>);

    impl<T> Visitor<'_> for Text<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text in one of the coder's forms")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            self.0(text).map_err(E::custom)
        }
    }

    deserializer.deserialize_str(Text(load))
}

/// Reads the empty text as `None`. No value has the empty text as its form.
fn load_option<K, T: TextForm<K>>(text: &str) -> Result<Option<T>, CoderError> {
    if text.is_empty() {
        Ok(None)
    } else {
        T::from_text(text).map(Some)
    }
}

macro_rules! kinds {
    ($($module:ident: $kind:ident, $article:literal, $dump:ident, $load:ident;)*) => {$(
        #[doc = concat!("Returns the text of ", $article, ".")]
        ///
        /// # Errors
        ///
        /// [`CoderError`] if the form cannot represent the value exactly.
        pub fn $dump(value: &impl TextForm<super::kind::$kind>) -> Result<String, CoderError> {
            value.to_text()
        }

        #[doc = concat!("Reads ", $article, ".")]
        ///
        /// # Errors
        ///
        /// [`CoderError`] if the text is not in the form of this kind, or if the type cannot hold
        /// its value exactly. A type may read forms that it does not write: a `Decimal` reads
        /// `1E+3` and writes `1000`.
        pub fn $load<T: TextForm<super::kind::$kind>>(text: &str) -> Result<T, CoderError> {
            T::from_text(text)
        }

        #[doc = concat!("For `#[serde(with = \"coder::", stringify!($module), "\")]`, and `…::option` for an `Option`.")]
        pub mod $module {
            use serde::{Deserializer, Serializer};

            use crate::coder::{kind::$kind, text::{self, TextForm}};

            /// Writes the form.
            ///
            /// # Errors
            ///
            /// Fails if the form cannot hold the value exactly.
            pub fn serialize<T: TextForm<$kind>, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
                text::serialize(value, serializer)
            }

            /// Reads the form.
            ///
            /// # Errors
            ///
            /// Fails if the text is not in the form of this kind, or if `T` cannot hold it exactly.
            pub fn deserialize<'de, T: TextForm<$kind>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
                text::deserialize(deserializer, T::from_text)
            }

            /// The form of an `Option`. `None` is the empty text.
            pub mod option {
                use serde::{Deserializer, Serializer};

                use crate::coder::{kind::$kind, text::{self, TextForm}};

                /// Writes the form, or the empty text.
                ///
                /// # Errors
                ///
                /// Fails if the form cannot hold the value exactly.
                pub fn serialize<T: TextForm<$kind>, S: Serializer>(
                    value: &Option<T>,
                    serializer: S,
                ) -> Result<S::Ok, S::Error> {
                    match value {
                        Some(value) => text::serialize(value, serializer),
                        None => serializer.serialize_str(""),
                    }
                }

                /// Reads the form, or the empty text.
                ///
                /// # Errors
                ///
                /// Fails if the text is neither, or if `T` cannot hold it exactly.
                pub fn deserialize<'de, T: TextForm<$kind>, D: Deserializer<'de>>(
                    deserializer: D,
                ) -> Result<Option<T>, D::Error> {
                    text::deserialize(deserializer, text::load_option)
                }
            }
        }
    )*};
}

kinds! {
    datetime: DateTime, "a datetime", dump_datetime, load_datetime;
    date: Date, "a date", dump_date, load_date;
    time: Time, "a time of day", dump_time, load_time;
    decimal: Decimal, "a decimal number", dump_decimal, load_decimal;
    uuid: Uuid, "a UUID", dump_uuid, load_uuid;
}
