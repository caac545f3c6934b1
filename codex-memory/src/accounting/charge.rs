//! The charge of an entry against `max_bytes`.

use crate::index::{key, value::Value};

/// The bytes of an entry besides its value and a long key: the entry itself (96 bytes, plus a sixth
/// unused), its share of a bucket's 68 bytes and of the directory, its queue node (16 bytes, plus
/// an eighth unused) and its ghost (13 bytes, in a table that is 7/16 full).
const OVERHEAD: usize = 112 + 6 + 18 + 30;

/// Returns the charge of an entry whose key and value together have this footprint.
pub(crate) fn charge(footprint: usize) -> usize {
    footprint.saturating_add(OVERHEAD)
}

/// The charges of one entry before a write and after it.
pub(crate) struct Charges {
    pub(crate) before: usize,
    pub(crate) after: usize,
}

impl Charges {
    /// Returns the charges for a write of `value` that replaces a value with the footprint
    /// `replaced`, or creates the entry if that is `None`.
    pub(crate) fn new(key: &str, value: Option<&Value>, replaced: Option<usize>) -> Self {
        let key = charge(key::footprint(key.len()));
        Self {
            before: replaced.map_or(0, |replaced| key + replaced),
            after: key + value.map_or(0, Value::footprint),
        }
    }

    /// Returns the bytes that the write needs in addition.
    pub(crate) fn growth(&self) -> usize {
        self.after.saturating_sub(self.before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_charged_what_the_docs_of_max_bytes_say() {
        assert_eq!((charge(0), charge(1000)), (166, 1166));
    }
}
