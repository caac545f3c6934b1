//! The outages that a proxy causes, and the RESP frames that it sends for them.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{Fault, OutageKind, Proxy};

/// Frames that answer no request: pushes and attributes.
const UNRELATED: [&[u8]; 3] = [b">0\r\n", b">1\r\n+x\r\n", b"|1\r\n+a\r\n+b\r\n"];

/// Heads and items of replies that never end, or that take more memory than their size on the wire.
const ENDLESS: [(&[u8], &[u8]); 6] = [
    (b"*1000000000\r\n", b":1\r\n"),
    (b"*180000\r\n", b":1\r\n"),
    (
        b"*100000\r\n",
        b"$64\r\n0123456789012345678901234567890123456789012345678901234567890123\r\n",
    ),
    (b"*100000\r\n", b"*100\r\n"),
    (b"$20000000000\r\n", b"xxxxxxxx"),
    (b"$9000000\r\n", b"xxxxxxxx"),
];

/// The faults that a proxy can cause. Holds the indices of the next frames.
#[derive(Debug, Default)]
pub(super) struct ProxyFaults {
    unrelated: AtomicUsize,
    endless: AtomicUsize,
}

impl ProxyFaults {
    pub(super) const KINDS: [OutageKind; 6] = [
        OutageKind::Refused,
        OutageKind::Stalled,
        OutageKind::ReplyLost,
        OutageKind::HalfOpen,
        OutageKind::UnrelatedFrames,
        OutageKind::EndlessReply,
    ];

    /// Breaks the connections through `proxy`.
    pub(super) fn begin(&self, proxy: &Proxy, kind: OutageKind) {
        proxy.set_fault(match kind {
            OutageKind::Refused => Fault::Refuse,
            OutageKind::Stalled => Fault::Stall,
            OutageKind::ReplyLost => Fault::CutNextReply,
            OutageKind::HalfOpen => Fault::HalfOpen,
            OutageKind::UnrelatedFrames => {
                let next = self.unrelated.fetch_add(1, Ordering::Relaxed);
                Fault::Flood {
                    head: b"",
                    item: UNRELATED[next % UNRELATED.len()],
                }
            }
            OutageKind::EndlessReply => {
                let next = self.endless.fetch_add(1, Ordering::Relaxed);
                let (head, item) = ENDLESS[next % ENDLESS.len()];
                Fault::Flood { head, item }
            }
            other => panic!("a proxy cannot bring this about, and `kinds` does not list it: {other}"),
        });
    }
}
