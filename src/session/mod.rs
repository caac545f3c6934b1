//! Sessions.

mod codec;
mod data;

pub use codec::{CodecError, DjangoSigned, SecretKey, SessionCodec};
pub use data::SessionData;
