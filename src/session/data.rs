//! The data of a session: names and values. Each value keeps its original JSON text.

use std::{borrow::Borrow, fmt};

use indexmap::IndexMap;
use serde::{Serialize, de::DeserializeOwned};

use super::{CodecError, codec};

/// The names and values of a session, in insertion order.
///
/// A value is kept as JSON text until it is read, so that the values of other programs are written
/// back unchanged: an integer of 70 bits, `1e+16`, a lone surrogate, and Python's `NaN`, which is
/// not JSON. A name with a lone surrogate is not valid Rust text. It is kept and written back, but
/// cannot be read and is not listed. Equality ignores the order.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SessionData {
    entries: IndexMap<Name, Box<str>>,
}

impl SessionData {
    /// Returns empty data.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the data of a JSON object, as Python's `json.loads` reads it: if a name occurs
    /// twice, the last value wins.
    ///
    /// # Errors
    ///
    /// [`CodecError::Malformed`] if the text is not JSON, or not an object.
    pub fn from_json(text: &str) -> Result<Self, CodecError> {
        let entries = codec::from_json(text)?;
        Ok(Self { entries })
    }

    /// Returns the JSON text, as Python's `json.dumps(data, separators=(",", ":"))` writes it:
    /// without spaces and in ASCII.
    pub fn to_json(&self) -> String {
        codec::to_json(self)
    }

    /// Returns the value of `name`, or `None` if it has no value.
    ///
    /// A `Box<serde_json::value::RawValue>` reads any value as its original text, including
    /// Python's `NaN`. It can be nested in a struct, a map or a list. All other types refuse such a
    /// number.
    ///
    /// # Errors
    ///
    /// [`CodecError::WrongType`] if the value cannot be read as `T`.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, CodecError> {
        self.get_json(name).map(codec::value_from_json).transpose()
    }

    /// Returns the JSON text of the value.
    pub fn get_json(&self, name: &str) -> Option<&str> {
        self.entries.get(name.as_bytes()).map(Box::as_ref)
    }

    /// Sets a value. A new name is appended; an existing name keeps its position.
    ///
    /// # Errors
    ///
    /// [`CodecError::Unwritable`] if JSON cannot represent the value (NaN, an infinity, raw bytes,
    /// a map key that is not text), or if the value is nested in more than 127 arrays and objects,
    /// which is the limit of [`get`](Self::get). Nothing is changed then.
    pub fn insert<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), CodecError> {
        let text = codec::value_to_json(value)?;
        self.entries.insert(Name::new(name), text);
        Ok(())
    }

    /// Sets a value from its JSON text.
    pub(super) fn insert_json(&mut self, name: &str, json: String) {
        self.entries.insert(Name::new(name), json.into());
    }

    /// Removes a value and returns whether it existed.
    pub fn remove(&mut self, name: &str) -> bool {
        self.entries.shift_remove(name.as_bytes()).is_some()
    }

    /// Returns whether `name` has a value.
    pub fn contains_key(&self, name: &str) -> bool {
        self.entries.contains_key(name.as_bytes())
    }

    /// Returns the names in order, except for names that are not valid text.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().filter_map(Name::as_str)
    }

    /// Removes all values.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Returns whether the data is empty.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the number of values.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Copies the state of one name from `there`: its value or its absence.
    pub(super) fn copy_from(&mut self, there: &Self, name: &Name) {
        match there.entries.get(name) {
            Some(value) => {
                self.entries.insert(name.clone(), value.clone());
            }
            None => {
                self.entries.shift_remove(name);
            }
        }
    }

    pub(super) fn entries(&self) -> &IndexMap<Name, Box<str>> {
        &self.entries
    }
}

impl fmt::Debug for SessionData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionData(<{} values>)", self.len())
    }
}

/// A name as WTF-8, which is UTF-8 plus lone surrogates. Python writes lone surrogates, and Rust's
/// `str` cannot hold them.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Name(Box<[u8]>);

impl Name {
    pub(super) fn new(name: &str) -> Self {
        Self(name.as_bytes().into())
    }

    pub(super) fn from_wtf8(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}
