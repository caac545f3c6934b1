//! One connection: socket, login, requests in, replies out, deadlines.

pub(crate) mod connect;
mod driver;
pub(crate) mod failure;
pub(crate) mod multiplexer;
mod queue;
#[cfg(feature = "tls")]
pub(crate) mod tls;
