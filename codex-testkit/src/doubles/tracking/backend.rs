//! Calls that do not use a stream.

use std::sync::{MutexGuard, PoisonError, atomic::Ordering};

use bytes::Bytes;
use codex_traits::{
    Capabilities, Capability, Cursor, Error, ErrorKind, Expiry, KvBackend, Result, ScanPage, ScanRequest, SetOptions,
    SetOutcome, Ttl,
};
use tokio::time::{sleep, sleep_until};

use super::{
    Shared, TrackingStore,
    feed::{closed, late},
    link::Link,
    server::Server,
};

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TrackingStore {
    /// Sends a request. Once sent, the request runs exactly once, even if the caller drops this
    /// future.
    async fn call<T: Send + 'static>(
        &self,
        operation: &'static str,
        run: impl FnOnce(&mut Server, u64) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let shared = self.shared.clone();
        shared.requests.fetch_add(1, Ordering::Relaxed);
        let (program, is_outside) = (self.program, self.is_outside);
        let generation = shared.link.state().generation;
        let arrival = move |link: &Link| {
            if is_outside {
                Link::arrival_outside()
            } else {
                link.arrival()
            }
        };
        let sent = arrival(&shared.link);
        let passing = tokio::spawn(async move {
            let link = &shared.link;
            sleep_until(sent).await;
            link.wait(|state| !state.is_frozen && (is_outside || !state.holds_calls))
                .await;
            let answer = {
                let mut server = shared.lock();
                if !is_outside {
                    server.end_outdated(program);
                }
                run(&mut server, program)
            };
            sleep_until(arrival(link)).await;
            link.wait(|state| is_outside || !state.holds_calls).await;
            answer
        });
        tokio::select! {
            biased;
            answer = passing => answer.unwrap_or_else(|_| Err(closed(operation))),
            () = self.shared.link.wait(|state| !is_outside && state.generation > generation) => Err(closed(operation)),
            () = sleep(self.shared.deadline) => Err(late(operation)),
        }
    }

    /// Reads the value and the time to live, bypassing every stream.
    pub(super) async fn read_elsewhere(&self, key: &str) -> Result<(Option<Bytes>, Ttl)> {
        let key = key.to_owned();
        self.call("get", move |server, _| {
            let model = server.model_of(&key);
            Ok((model.get(&key), model.ttl(&key)))
        })
        .await
    }
}

/// Hashes `key` with FNV-1a.
fn hash(key: &str) -> u64 {
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    key.bytes().fold(0xcbf2_9ce4_8422_2325, mix)
}

fn refused(kind: ErrorKind, expiry: Expiry, operation: &'static str) -> Error {
    match expiry.to_millis(operation) {
        Err(error) => error,
        Ok(_) => Error::new(kind, operation, "the store refused the call"),
    }
}

impl KvBackend for TrackingStore {
    fn capabilities(&self) -> Capabilities {
        let capabilities = Capabilities::new();
        if self.nodes() > 1 {
            return capabilities.with(Capability::Cluster);
        }
        capabilities
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        Ok(self.read_elsewhere(key).await?.0)
    }

    async fn set(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        let key = key.to_owned();
        self.call("set", move |server, program| {
            let expiry = options.expiry;
            let written = server.model_of(&key).set(&key, value, options);
            let outcome = written.map_err(|kind| refused(kind, expiry, "set"))?;
            if outcome.is_written() {
                server.report(&key, Some(program));
            }
            Ok(outcome)
        })
        .await
    }

    async fn del(&self, keys: &[&str]) -> Result<u64> {
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        self.call("del", move |server, program| {
            let mut removed = 0;
            for key in &keys {
                if server.model_of(key).del(&[key]) == 1 {
                    removed += 1;
                    server.report(key, Some(program));
                }
            }
            Ok(removed)
        })
        .await
    }

    async fn del_if_equals(&self, key: &str, expected: &[u8]) -> Result<bool> {
        let (key, expected) = (key.to_owned(), expected.to_owned());
        self.call("del_if_equals", move |server, program| {
            let is_removed = server.model_of(&key).del_if_equals(&key, &expected);
            if is_removed {
                server.report(&key, Some(program));
            }
            Ok(is_removed)
        })
        .await
    }

    async fn expire(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let key = key.to_owned();
        self.call("expire", move |server, program| {
            let changed = server.model_of(&key).expire(&key, expiry);
            let exists = changed.map_err(|kind| refused(kind, expiry, "expire"))?;
            if exists {
                server.report(&key, Some(program));
            }
            Ok(exists)
        })
        .await
    }

    async fn ttl(&self, key: &str) -> Result<Ttl> {
        Ok(self.read_elsewhere(key).await?.1)
    }

    async fn scan(&self, request: ScanRequest<'_>) -> Result<ScanPage> {
        let hint = request.checked_count_hint()?;
        let (pattern, cursor) = (request.pattern.clone(), request.cursor.as_str().to_owned());
        let from = if cursor.is_empty() {
            Ok(0)
        } else {
            cursor.parse::<u64>()
        };
        let from = from.map_err(|_| Error::unreadable_cursor())?;
        self.call("scan", move |server, _| {
            let keys = server.models().flat_map(|model| model.keys(&pattern));
            // Sorted by hash, because a cursor cannot hold every key.
            let mut keys: Vec<(u64, String)> = keys
                .map(|key| (hash(&key), key))
                .filter(|(hash, _)| *hash >= from)
                .collect();
            keys.sort_unstable();
            let next = keys.get(hint).map(|(hash, _)| *hash);
            // Keys with the same hash are on the same page.
            let page = keys.iter().take_while(|(hash, _)| next.is_none_or(|next| *hash < next));
            let mut page: Vec<String> = page.map(|(_, key)| key.clone()).collect();
            let mut next = next;
            if page.is_empty() && next.is_some() {
                page = keys.into_iter().map(|(_, key)| key).collect();
                next = None;
            }
            let next = next.map(|next| Cursor::new(next.to_string())).transpose()?;
            Ok(ScanPage::new(page, next))
        })
        .await
    }
}
