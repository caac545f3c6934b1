//! Reading part of a value.

use std::time::Duration;

use codex_memory::{ManualClock, MemoryBackend};
use codex_traits::{Expiry, KvBackend, OnMissing, SetOptions};

#[tokio::test]
async fn the_reader_chooses_the_part() {
    let clock = ManualClock::new();
    let store = MemoryBackend::with_clock(clock.clone());
    let long = "header".to_owned() + &"v".repeat(5000);
    for (key, value) in [("short", "header and value"), ("long", &long), ("empty", "")] {
        let options = SetOptions::expires_after(Duration::from_secs(1));
        let outcome = store.set(key, value.to_owned().into(), options).await.unwrap();
        assert!(outcome.is_written());
        let part_from = |start: Option<usize>| {
            store.get_from(key, |stored| {
                assert_eq!(stored, value.as_bytes());
                start
            })
        };
        for start in [0, 6, value.len(), value.len() + 1] {
            let part = value.get(start..).map(|part| part.as_bytes().to_vec());
            assert_eq!(part_from(Some(start)).map(Vec::from), part, "{key} from {start}");
        }
        assert_eq!(part_from(None), None);
        assert_eq!(store.get(key).await.unwrap().unwrap(), value);
    }

    let created = store.incr("number", -1234, OnMissing::Create(Expiry::Never)).await;
    assert_eq!(created.unwrap(), Some(-1234));
    assert_eq!(store.get_from("number", |_| Some(1)).unwrap(), "1234");
    assert_eq!(store.get_from("number", |_| Some(6)), None);
    assert_eq!(store.get_from("number", |_| None), None);

    clock.advance(Duration::from_secs(1));
    for key in ["short", "missing"] {
        assert_eq!(store.get_from(key, |_| unreachable!("there is no value")), None);
    }
}
