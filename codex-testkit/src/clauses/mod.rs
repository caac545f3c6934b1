//! The clauses themselves, a file per group.

pub(crate) mod get;
