//! Settings as plain values: the builder, URLs, and the checked result.

pub(crate) mod address_map;
pub(crate) mod builder;
pub(crate) mod credentials;
mod parameters;
pub(crate) mod settings;
mod spellings;
#[cfg(feature = "tls")]
pub(crate) mod tls;
pub(crate) mod url;
