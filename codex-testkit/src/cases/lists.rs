//! Lists of keys by length, and lists that name keys more than once.

/// Numbers of keys in a call: 0, 1, a few, and whole batches of stores, with and without a rest.
pub const COUNTS: [usize; 15] = [0, 1, 2, 8, 9, 100, 101, 256, 257, 1000, 1001, 1024, 1025, 5001, 10_000];

/// The counts for a clause that makes many calls per count.
pub const FEW_COUNTS: [usize; 6] = [0, 1, 8, 9, 101, 1001];

/// Returns `count` different keys, distributed over the slots of a cluster.
pub fn keys(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{name} {number} of {count}")).collect()
}

/// Returns indices into a list of `count` keys. Every key occurs, and many keys occur again: the
/// last key first, the first key last, some as neighbours, and every seventh key at a distance.
pub fn with_duplicates(count: usize) -> Vec<usize> {
    let Some(last) = count.checked_sub(1) else {
        return Vec::new();
    };
    let middle = count / 2;
    let mut places = vec![last];
    for place in 0..count {
        places.push(place);
        if place == middle {
            places.push(place);
        }
    }
    places.extend((0..count).rev().step_by(7));
    places.push(0);
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_named_and_both_ends_are_named_again() {
        for count in COUNTS {
            let places = with_duplicates(count);
            let named = |place: usize| places.iter().filter(|named| **named == place).count();
            assert!((0..count.min(300)).all(|place| named(place) > 0), "{count}");
            if count > 0 {
                assert!(named(0) > 1 && named(count - 1) > 1 && named(count / 2) > 1, "{count}");
            }
        }
    }
}
