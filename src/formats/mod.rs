//! The formats of a cache's values beside JSON.
//!
//! Each begins with a header of its own, so that a value of one format is an error in every other
//! one, and is never read as another value.

#[cfg(feature = "compression")]
mod compressed;
#[cfg(feature = "encryption")]
mod encrypted;
mod header;
#[cfg(feature = "messagepack")]
mod message_pack;

#[cfg(feature = "compression")]
pub use compressed::Compressed;
#[cfg(feature = "encryption")]
pub use encrypted::Encrypted;
#[cfg(feature = "messagepack")]
pub use message_pack::MessagePack;
