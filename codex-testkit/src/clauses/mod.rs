//! The clauses, one file per group.

mod alternate;
pub(crate) mod cond;
pub(crate) mod del;
pub(crate) mod durable;
pub(crate) mod exp;
pub(crate) mod get;
pub(crate) mod glob;
pub(crate) mod incr;
pub(crate) mod many;
mod matrix;
pub(crate) mod resilience;
pub(crate) mod scan;
pub(crate) mod set;
pub(crate) mod ttl;

// The list addresses clauses by group, and a group is named after the ids of its clauses.
pub(crate) use durable as dur;
pub(crate) use resilience as life;
