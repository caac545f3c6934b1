//! zlib of short texts.
//!
//! Each thread keeps one compressor and one decompressor (about 270 KiB and 50 KiB) from its first session on: to make them anew takes ten
//! times as long as to use them on a session.

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

thread_local! {
    // Level 6 is what Python's `zlib.compress` takes by default.
    static DEFLATE: RefCell<Compress> = RefCell::new(Compress::new(Compression::default(), true));
    static INFLATE: RefCell<Decompress> = RefCell::new(Decompress::new(true));
}

/// No zlib stream is shorter: two bytes of header, two of an empty block, four of checksum.
const SHORTEST: usize = 8;

/// What to begin with for a text whose length is not known.
const GUESS: usize = 1024;

/// The zlib form, where that has no more than `limit` bytes.
pub(super) fn deflated(text: &[u8], limit: usize) -> Option<Vec<u8>> {
    if limit < SHORTEST {
        return None;
    }
    DEFLATE.with_borrow_mut(|deflate| {
        deflate.reset();
        let mut out = Vec::with_capacity(limit);
        // It fills the room there is; where that is not enough, it is not at its end, and the plain form is the right one.
        let status = deflate.compress_vec(text, &mut out, FlushCompress::Finish).ok()?;
        (status == Status::StreamEnd && out.len() <= limit).then_some(out)
    })
}

/// The text of a zlib stream, or of a longer one than `limit` its beginning, one byte longer than that at least. `None` where it is no zlib
/// stream, or not a whole one. What follows the stream is not looked at.
pub(super) fn inflated(stream: &[u8], limit: usize) -> Option<Vec<u8>> {
    INFLATE.with_borrow_mut(|inflate| {
        inflate.reset(true);
        let mut out: Vec<u8> = Vec::new();
        let mut rest = stream;
        loop {
            if out.len() > limit {
                return Some(out);
            }
            if out.len() == out.capacity() {
                // Never much more than what is allowed, however well the stream is compressed.
                let room = limit.saturating_add(1) - out.len();
                out.reserve_exact(out.len().max(GUESS).min(room));
            }
            let (taken, made) = (inflate.total_in(), out.len());
            let status = inflate.decompress_vec(rest, &mut out, FlushDecompress::None).ok()?;
            let taken = usize::try_from(inflate.total_in() - taken).ok()?;
            rest = &rest[taken..];
            match status {
                Status::StreamEnd => return Some(out),
                // The end is missing.
                _ if taken == 0 && out.len() == made => return None,
                _ => {}
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_deflated_is_inflated_whatever_came_before() {
        let texts = [
            "a".repeat(100),
            "{\"a\":1,\"a\":1,\"a\":1,\"a\":1}".to_owned(),
            "ab".repeat(100_000),
        ];
        for text in texts.iter().cycle().take(9) {
            let deflated = deflated(text.as_bytes(), text.len()).unwrap();
            assert_eq!(inflated(&deflated, 1 << 20).unwrap(), text.as_bytes());
            // With something behind it, and without its end.
            assert_eq!(
                inflated(&[&deflated, &b"rest"[..]].concat(), 1 << 20).unwrap(),
                text.as_bytes()
            );
            for cut in [1, 4, deflated.len() - 1, deflated.len()] {
                assert_eq!(inflated(&deflated[..deflated.len() - cut], 1 << 20), None, "{cut}");
            }
            assert_eq!(inflated(b"no zlib stream at all", 1 << 20), None);
        }
    }

    #[test]
    fn the_limits_are_exact() {
        let text = "a".repeat(5_000);
        let whole = deflated(text.as_bytes(), 5_000).unwrap();
        assert_eq!(deflated(text.as_bytes(), whole.len()).as_ref(), Some(&whole));
        assert_eq!(deflated(text.as_bytes(), whole.len() - 1), None);
        assert_eq!(deflated(b"abc", 7), None);
        for limit in [0, 1, 4_999] {
            let beginning = inflated(&whole, limit).unwrap();
            assert!(beginning.len() > limit && beginning.len() <= limit + 1, "{limit}");
        }
        assert_eq!(inflated(&whole, 5_000).unwrap().len(), 5_000);
        assert_eq!(inflated(&whole, usize::MAX).unwrap().len(), 5_000);
    }
}
