//! The form of a set, a sorted list, for `#[serde(with = "coder::set")]`.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::CoderError;

/// Returns the sorted elements of a set, so that equal sets have equal texts.
pub fn dump_set<'a, T: Ord>(set: impl IntoIterator<Item = &'a T>) -> Vec<&'a T> {
    let mut list: Vec<&T> = set.into_iter().collect();
    list.sort_unstable();
    list
}

/// Returns the set of the elements in a list.
///
/// # Errors
///
/// [`CoderError`] if an element occurs twice, which no set can contain.
pub fn load_set<T, C>(list: Vec<T>) -> Result<C, CoderError>
where
    C: FromIterator<T>,
    for<'a> &'a C: IntoIterator<Item = &'a T>,
{
    let elements = list.len();
    let set: C = list.into_iter().collect();
    if (&set).into_iter().count() == elements {
        Ok(set)
    } else {
        Err(CoderError::new("expected a list without duplicates"))
    }
}

/// Writes the form.
///
/// # Errors
///
/// Fails if an element cannot be written or the serializer fails.
pub fn serialize<T, C, S>(set: &C, serializer: S) -> Result<S::Ok, S::Error>
where
    T: Ord + Serialize,
    for<'a> &'a C: IntoIterator<Item = &'a T>,
    S: Serializer,
{
    dump_set(set).serialize(serializer)
}

/// Reads the form.
///
/// # Errors
///
/// Fails on input that is not a list of `T`, or in which an element occurs twice.
pub fn deserialize<'de, T, C, D>(deserializer: D) -> Result<C, D::Error>
where
    T: Deserialize<'de>,
    C: FromIterator<T>,
    for<'a> &'a C: IntoIterator<Item = &'a T>,
    D: Deserializer<'de>,
{
    load_set(Vec::deserialize(deserializer)?).map_err(de::Error::custom)
}
