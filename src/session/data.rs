//! The data of a session: names and values, the values as the JSON text that somebody wrote.

use std::{borrow::Borrow, fmt};

use indexmap::IndexMap;
use serde::{Serialize, de::DeserializeOwned};

use super::{CodecError, codec};

/// The names and values of a session, in the order they came in.
///
/// A value is kept as JSON text until it is asked for, so that what another program wrote goes back
/// as it came: an integer of 70 bits, `1e+16`, a lone surrogate, and Python's `NaN`, which is no
/// JSON. A name that holds a lone surrogate is no Rust text: it is kept and written back, but
/// cannot be asked for and is not listed. Equality does not look at the order.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SessionData {
    entries: IndexMap<Name, Box<str>>,
}

impl SessionData {
    /// Returns no data.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the data of a JSON object, as Python's `json.loads` reads it: of a name that comes
    /// twice the last value counts.
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

    /// Returns the value, if there is one.
    ///
    /// A `Box<serde_json::value::RawValue>`, also one inside a struct, a map or a list, takes any
    /// value as it was written, Python's `NaN` too. Every other type refuses such a number.
    ///
    /// # Errors
    ///
    /// [`CodecError::WrongType`] if it is there and cannot be read as `T`.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, CodecError> {
        self.get_json(name).map(codec::value_from_json).transpose()
    }

    /// Returns the value as its JSON text.
    pub fn get_json(&self, name: &str) -> Option<&str> {
        self.entries.get(name.as_bytes()).map(Box::as_ref)
    }

    /// Sets a value: a new one goes to the end, one that is there keeps its place.
    ///
    /// # Errors
    ///
    /// [`CodecError::Unwritable`] for what JSON has no form for: NaN, an infinity, raw bytes, a map
    /// key that is no text; and for a value in more than 127 arrays and objects, which is as deep
    /// as [`get`](Self::get) reads. Nothing is changed then.
    pub fn insert<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), CodecError> {
        let text = codec::value_to_json(value)?;
        self.entries.insert(Name::new(name), text);
        Ok(())
    }

    /// Sets a value that is JSON text already.
    pub(super) fn insert_json(&mut self, name: &str, json: String) {
        self.entries.insert(Name::new(name), json.into());
    }

    /// Removes a value and returns whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        self.entries.shift_remove(name.as_bytes()).is_some()
    }

    /// Returns whether there is such a value.
    pub fn contains_key(&self, name: &str) -> bool {
        self.entries.contains_key(name.as_bytes())
    }

    /// Returns the names, in order; without those that are no text.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().filter_map(Name::as_str)
    }

    /// Removes everything.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// Returns whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns how many values there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Makes one name be as it is there, absent or with its value.
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

/// A name as WTF-8, that is UTF-8 where lone surrogates are allowed: Python writes them, and Rust's
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
