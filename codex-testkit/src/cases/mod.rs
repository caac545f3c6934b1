//! The inputs of the clauses, by class.
//!
//! A clause runs on the product of the classes that matter to it. Each case has a name, so that a
//! failure shows the combination.

pub mod durations;
pub mod keys;
pub mod lists;
pub(crate) mod states;
pub mod values;
