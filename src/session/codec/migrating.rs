//! Migration between codecs without logging users out.

use std::time::SystemTime;

use bytes::Bytes;

use super::{CodecError, SessionCodec};
use crate::session::SessionData;

/// A codec that writes with one codec and reads the output of two codecs.
///
/// To change the codec while processes of the old and the new version run at the same time, deploy
/// three times. Complete each deployment on every process before the next step:
///
/// 1. `MigratingCodec::new(old, new)`: every process can read the new form.
/// 2. `MigratingCodec::new(new, old)`: processes write the new form.
/// 3. `new` alone, after the longest session that was stored in the old form has ended.
///
/// A process that skips the first step treats sessions in the new form as missing, which logs their
/// users out.
///
/// Reading is only as safe as the weaker of the two codecs.
///
/// ```
/// use codex_kv::session::{DjangoSigned, MigratingCodec};
///
/// let codec = MigratingCodec::new(
///     DjangoSigned::new("the SECRET_KEY of Django's settings"),
///     DjangoSigned::new("the SECRET_KEY of Django's settings")
///         .with_salt("django.contrib.sessions.CachedStore"),
/// );
/// ```
#[derive(Debug, Clone)]
pub struct MigratingCodec<W, R> {
    writes: W,
    also_reads: R,
}

impl<W, R> MigratingCodec<W, R> {
    /// Creates a codec that writes with `writes`. It reads with `writes` first, and with
    /// `also_reads` if that fails.
    pub fn new(writes: W, also_reads: R) -> Self {
        Self { writes, also_reads }
    }
}

impl<W: SessionCodec, R: SessionCodec> SessionCodec for MigratingCodec<W, R> {
    fn encode(&self, data: &SessionData, now: SystemTime) -> Result<Bytes, CodecError> {
        self.writes.encode(data, now)
    }

    fn decode(&self, payload: &[u8]) -> Result<SessionData, CodecError> {
        let read = self.writes.decode(payload);
        read.or_else(|error| self.also_reads.decode(payload).map_err(|_| error))
    }

    fn encode_for(&self, record: &str, data: &SessionData, now: SystemTime) -> Result<Bytes, CodecError> {
        self.writes.encode_for(record, data, now)
    }

    fn decode_for(&self, record: &str, payload: &[u8]) -> Result<SessionData, CodecError> {
        let read = self.writes.decode_for(record, payload);
        read.or_else(|error| self.also_reads.decode_for(record, payload).map_err(|_| error))
    }

    fn validate(&self) -> Result<(), CodecError> {
        self.writes.validate()?;
        self.also_reads.validate()
    }
}
