//! The index from keys to entries: extendible hashing, and the memory of keys and values.

pub(crate) mod bucket;
pub(crate) mod directory;
pub(crate) mod entry;
pub(crate) mod key;
pub(crate) mod prefix;
pub(crate) mod value;
