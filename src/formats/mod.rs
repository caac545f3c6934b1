//! Formats of a cache's values other than JSON.
//!
//! Each format has its own header, so that the other formats report its values as errors and never
//! misread them.

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
