//! Settings as plain values: the builder, URLs, and what comes of them when they are checked.

pub(crate) mod builder;
mod parameters;
pub(crate) mod settings;
mod spellings;
#[cfg(feature = "tls")]
pub(crate) mod tls;
pub(crate) mod url;
