//! One connection: socket, login, requests in, replies out, deadlines.

pub(crate) mod connect;
mod driver;
pub(crate) mod failure;
mod happy_eyeballs;
mod login;
pub(crate) mod multiplexer;
mod probe;
mod queue;
#[cfg(feature = "tls")]
mod tls;
