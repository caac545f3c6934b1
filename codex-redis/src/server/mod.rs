//! One server: where it is, and the connections to it.

pub(crate) mod connection_cell;
pub(crate) mod locate;
pub(crate) mod pool;
pub(crate) mod sentinel;
#[expect(clippy::module_inception, reason = "the floor is named after its main type")]
pub(crate) mod server;
