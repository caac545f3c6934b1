//! zlib compression of short texts.
//!
//! Each thread keeps one compressor and one decompressor (about 270 KiB and 50 KiB) from its first
//! session on. Creating them takes ten times as long as processing a session.

use std::cell::RefCell;

use super::quick_zlib;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

thread_local! {
    // Level 6 is the default of Python's `zlib.compress`.
    static DEFLATE: RefCell<Compress> = RefCell::new(Compress::new(Compression::default(), true));
    static INFLATE: RefCell<Decompress> = RefCell::new(Decompress::new(true));
}

/// The initial capacity for a text of unknown length.
const GUESS: usize = 1024;

/// The length up to which zlib (RFC 1950, 1951) cannot shorten ASCII text without a repeated
/// sequence of three bytes. Such a text has no matches, and the fixed code takes 8 bits per byte. A
/// dynamic code costs 17 bits of header, 15 for the code lengths' own code, 16 for the two longest
/// runs of absent bytes, 2 for the end and for distances, and a bit for each byte and the end. With
/// the 6 bytes of zlib's frame the sum exceeds `length - 2` up to a length of 16.
const NEVER_SHORTER: usize = 16;

fn is_never_shorter(text: &[u8]) -> bool {
    let repeats = |at: usize| text[at + 1..].windows(3).any(|three| text[at..].starts_with(three));
    text.len() <= NEVER_SHORTER && text.is_ascii() && !(0..text.len()).any(repeats)
}

/// Returns the zlib form of a text if it has at most `limit` bytes. `limit` must be at most the
/// length of the text minus two. Short texts use the [quick](quick_zlib) compressor.
pub(super) fn deflated(text: &[u8], limit: usize) -> Option<Vec<u8>> {
    if is_never_shorter(text) {
        return None;
    }
    if text.len() <= quick_zlib::LONGEST {
        let quick = quick_zlib::deflated(text);
        // If the gain is small, let the general compressor decide, so that every text that Django
        // would compress is compressed.
        if quick.len() <= text.len() / 5 * 4 && quick.len() <= limit {
            return Some(quick);
        }
    }
    compressed(text, limit)
}

fn compressed(text: &[u8], limit: usize) -> Option<Vec<u8>> {
    DEFLATE.with_borrow_mut(|deflate| {
        deflate.reset();
        let mut out = Vec::with_capacity(limit);
        // The compressor stops when the buffer is full. The stream is then incomplete, and the
        // caller uses the plain form.
        let status = deflate.compress_vec(text, &mut out, FlushCompress::Finish).ok()?;
        (status == Status::StreamEnd && out.len() <= limit).then_some(out)
    })
}

/// Returns the text of a zlib stream. If the text is longer than `limit`, returns at least its
/// first `limit + 1` bytes. Returns `None` if the input is not a complete zlib stream. Bytes after
/// the stream are ignored.
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
                // Limits the buffer, regardless of the compression ratio of the stream.
                let room = limit.saturating_sub(out.len()).saturating_add(1);
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
            let deflated = compressed(text.as_bytes(), text.len()).unwrap();
            assert_eq!(inflated(&deflated, 1 << 20).unwrap(), text.as_bytes());
            // With trailing bytes, and truncated.
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
        let whole = compressed(text.as_bytes(), 5_000).unwrap();
        assert_eq!(compressed(text.as_bytes(), whole.len()).as_ref(), Some(&whole));
        assert_eq!(compressed(text.as_bytes(), whole.len() - 1), None);
        assert_eq!(compressed(b"abc", 7), None);
        assert_eq!(compressed(b"", 0), None);
        for limit in [0, 1, 3_000, 4_999] {
            let beginning = inflated(&whole, limit).unwrap();
            assert!(beginning.len() > limit && beginning.len() <= limit + 1, "{limit}");
        }
        assert_eq!(inflated(&whole, 5_000).unwrap().len(), 5_000);
        assert_eq!(inflated(&whole, usize::MAX).unwrap().len(), 5_000);
    }

    /// The number of distinct bytes decides whether a dynamic code helps, so the texts vary it.
    #[test]
    fn what_is_not_tried_is_never_shorter() {
        let mut state = 1_u64;
        let mut next = |below: u64| {
            // The generator of Knuth's MMIX. Its high bits are the random bits.
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let (mut skipped, mut tried) = (0, 0);
        for _ in 0..3_000 {
            let (length, kinds) = (next(17), 1 + next(20));
            let text: Vec<u8> = (0..length).map(|_| b'0' + u8::try_from(next(kinds)).unwrap()).collect();
            if is_never_shorter(&text) {
                skipped += 1;
                assert_eq!(compressed(&text, text.len().saturating_sub(2)), None, "{text:?}");
            } else {
                tried += 1;
            }
        }
        assert!(skipped > 1_000 && tried > 200, "{skipped} {tried}");
        assert!(is_never_shorter(br#"{"visits":12}"#));
        for tried in [
            &b"{\"visits\":1111}"[..],
            b"abcdefghijklmnopq",
            b"abcabc",
            "\u{e9}".as_bytes(),
        ] {
            assert!(!is_never_shorter(tried), "{tried:?}");
        }
    }
}
