//! The inputs that the clauses run through, class by class.
//!
//! A clause takes the product of the classes that matter to it. Each case names itself, so that a
//! failure says which combination it was.

pub mod durations;
pub mod keys;
pub mod lists;
pub(crate) mod states;
pub mod values;
