//! The streams of the simulated store.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use codex_testkit::doubles::TrackingStore;
use codex_traits::{KvBackend, NodeId, SetOptions, Tracking, TrackingFeed, TrackingListener};

/// Records the calls of a feed.
#[derive(Debug, Default)]
struct Calls(Mutex<Vec<&'static str>>);

impl Calls {
    fn record(&self, call: &'static str) {
        self.0.lock().unwrap().push(call);
    }
}

impl TrackingListener for Calls {
    fn opening(&self, _: NodeId) {
        self.record("opening");
    }

    fn opened(&self, _: NodeId) {
        self.record("opened");
    }

    fn changed(&self, _: NodeId, _: &[u8]) {}

    fn flushed(&self, _: NodeId) {}

    fn closed(&self, _: NodeId) {
        self.record("closed");
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_stream_is_told_once() {
    type Disturb = fn(&TrackingStore);
    let disturbances: [Disturb; 2] = [TrackingStore::cut, |store| store.fail_over("k")];
    for disturb in disturbances {
        let store = TrackingStore::new(1);
        let calls = Arc::new(Calls::default());
        let feed = store.track(calls.clone()).await.unwrap();
        let _ = store.set("k", "v".into(), SetOptions::new()).await;
        disturb(&store);
        // A stream that is no longer to the primary learns of it by the proof that fails.
        let _ = feed.prove(NodeId::ONLY).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(feed.prove(NodeId::ONLY).await.is_ok());
        let calls = calls.0.lock().unwrap().clone();
        assert_eq!(calls, ["opening", "opened", "closed", "opening", "opened"]);
    }
}
