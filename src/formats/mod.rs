//! Formats of a cache's values other than JSON.
//!
//! Each format has its own header, so that a value of one format is an error in the others and is
//! never misread.

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
