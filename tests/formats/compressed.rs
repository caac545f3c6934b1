//! Tests of compression.

use codex_kv::{Compressed, Json, MessagePack, Serializer};

fn stored(marker: u8, bytes: &[u8]) -> Vec<u8> {
    [b"\xc1z", &[marker][..], bytes].concat()
}

#[test]
fn cval_11_large_values_are_compressed_and_small_ones_kept() {
    let format = Compressed::new(Json);
    let large = "the same again, ".repeat(10_000);
    let written = format.serialize(&large).unwrap();
    assert!(written.len() < large.len() / 50, "{}", written.len());
    assert_eq!(format.deserialize::<String>(&written).unwrap(), large);
    assert_eq!(&*format.serialize(&42).unwrap(), b"\xc1z\x0042");
    // The threshold counts the bytes of the inner format.
    for (length, is_compressed) in [(1_021, false), (1_022, true)] {
        let text = "a".repeat(length);
        let written = format.serialize(&text).unwrap();
        assert_eq!(written.len() < length, is_compressed, "{length}");
        assert_eq!(format.deserialize::<String>(&written).unwrap(), text);
    }
}

#[test]
fn cval_11_what_compression_does_not_make_smaller_is_kept() {
    let mut state = 1_u64;
    let noise: Vec<u64> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state ^ state >> 33
    })
    .take(1_000)
    .collect();
    let format = Compressed::new(MessagePack);
    let plain = MessagePack.serialize(&noise).unwrap();
    let written = format.serialize(&noise).unwrap();
    assert_eq!(written.len(), plain.len() + 3);
    assert_eq!(format.deserialize::<Vec<u64>>(&written).unwrap(), noise);
}

#[test]
fn cval_11_the_inflated_size_is_bounded() {
    let format = Compressed::new(Json).max_inflated(10_000);
    let fits = "a".repeat(9_998);
    let written = format.serialize(&fits).unwrap();
    assert_eq!(format.deserialize::<String>(&written).unwrap(), fits);

    let refusal = format.serialize(&"a".repeat(9_999)).unwrap_err();
    assert!(
        refusal.to_string().contains("larger than 10000 bytes") && !refusal.is_decode(),
        "{refusal}"
    );
    let larger = Compressed::new(Json).serialize(&"a".repeat(9_999)).unwrap();
    let refusal = format.deserialize::<String>(&larger).unwrap_err();
    assert!(
        refusal.to_string().contains("larger than 10000 bytes") && refusal.is_decode(),
        "{refusal}"
    );
    let kept = Compressed::new(Json)
        .threshold(usize::MAX)
        .serialize(&"a".repeat(9_999))
        .unwrap();
    format.deserialize::<String>(&kept).unwrap_err();
}

/// A false length in the header causes no allocation of that length.
#[test]
fn cval_11_a_false_claim_takes_no_memory() {
    let format = Compressed::new(Json).max_inflated(usize::MAX);
    let claim = stored(1, &[&u32::MAX.to_le_bytes()[..], &[0; 64]].concat());
    let counted = allocation_counter::measure(|| {
        format.deserialize::<String>(&claim).unwrap_err();
    });
    assert!(counted.bytes_max < 10_000, "{counted:?}");
}

#[test]
fn cval_11_a_damaged_value_is_an_error() {
    let format = Compressed::new(Json).threshold(0);
    let text = "the same again, ".repeat(100);
    let written = format.serialize(&text).unwrap();
    for cut in 0..written.len() {
        format.deserialize::<String>(&written[..cut]).unwrap_err();
    }
    for length in [0_u32, 1, 1_601, 1_603, 1_700] {
        let mut claimed = written.to_vec();
        claimed[3..7].copy_from_slice(&length.to_le_bytes());
        format.deserialize::<String>(&claimed).unwrap_err();
    }
    format.deserialize::<u8>(&stored(2, b"42")).unwrap_err();
    format.deserialize::<u8>(&stored(1, b"")).unwrap_err();
    format.deserialize::<u8>(b"\xc1z").unwrap_err();
}
