//! The values that strict JSON refuses.

use serde::ser::{Error, Serializer};

use crate::adapt::Policy;

const NOT_FINITE: &str = "NaN and the infinities have no JSON form";
const BYTES: &str = "raw bytes have no JSON form; `coder::bytes` writes them as hex";
const FLOAT_KEY: &str = "a map key must be a string, an integer, a bool or a char; it is a float";

/// The messages of [`Strict`]. None of them contains a value.
pub(super) const REFUSALS: [&str; 3] = [NOT_FINITE, BYTES, FLOAT_KEY];

/// A policy that refuses values that `serde_json` would silently convert to `null` or to a list of
/// numbers.
pub(crate) struct Strict;

impl Policy for Strict {
    type Keys = StrictKey;

    #[inline]
    fn f32<S: Serializer>(serializer: S, value: f32) -> Result<S::Ok, S::Error> {
        if value.is_finite() {
            serializer.serialize_f32(value)
        } else {
            Err(S::Error::custom(NOT_FINITE))
        }
    }

    #[inline]
    fn f64<S: Serializer>(serializer: S, value: f64) -> Result<S::Ok, S::Error> {
        if value.is_finite() {
            serializer.serialize_f64(value)
        } else {
            Err(S::Error::custom(NOT_FINITE))
        }
    }

    fn bytes<S: Serializer>(_: S, _: &[u8]) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom(BYTES))
    }
}

/// The same policy for map keys. `serde_json` would write a float key as text. It already refuses
/// all other keys except strings, integers, bools and chars.
pub(crate) struct StrictKey;

impl Policy for StrictKey {
    type Keys = Self;

    fn f32<S: Serializer>(_: S, _: f32) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom(FLOAT_KEY))
    }

    fn f64<S: Serializer>(_: S, _: f64) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom(FLOAT_KEY))
    }

    fn bytes<S: Serializer>(_: S, _: &[u8]) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom(BYTES))
    }
}
