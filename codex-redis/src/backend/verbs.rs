//! The verbs of the contract as commands and scripts.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use codex_traits::{
    Capabilities, Capability, Condition, Expiry, KvBackend, OnMissing, Pattern, Result, ScanPage, ScanRequest,
    SetOptions, SetOutcome, Ttl,
};

use super::{RedisBackend, many, scans};
use crate::{
    commands::{self, ExpiryArguments},
    route::Servers,
    wire::{Command, reply},
};

#[deny(
    clippy::missing_trait_methods,
    reason = "each provided verb takes a round trip per key or more"
)]
impl KvBackend for RedisBackend {
    fn capabilities(&self) -> Capabilities {
        let common = Capabilities::new()
            .with(Capability::LargeValues)
            .with(Capability::ForeignTypes)
            .with(Capability::AtomicGetWithTtl);
        match &self.0.servers {
            Servers::One(_) => common.with(Capability::AtomicMany),
            Servers::Cluster(_) => common.with(Capability::Cluster),
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        let call = self.begin("get").await?;
        let get = Command::read("GET").arg(key);
        let answer = self.0.command(call.timing(), key, &get).await;
        call.end(answer.and_then(reply::bytes))
    }

    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn keeps each argument twice in its future"
    )]
    fn set(&self, key: &str, value: Bytes, options: SetOptions) -> impl Future<Output = Result<SetOutcome>> + Send {
        async move {
            let expiry = expiry_arguments(options.expiry, "set")?;
            let call = self.begin("set").await?;
            let router = &*self.0;
            if let Condition::IfEquals(expected) = &options.condition {
                let arguments = |script| {
                    let mut script = Command::arg(script, expected).arg(&value);
                    expiry.push_to(&mut script);
                    script
                };
                let answer = commands::SET_IF_EQUALS.run(router, call.timing(), key, arguments).await;
                return call.end(answer.and_then(reply::outcome));
            }
            let mut set = commands::set(key, &value, &expiry);
            match options.condition {
                Condition::IfAbsent => set.push("NX".into()),
                Condition::IfPresent => set.push("XX".into()),
                Condition::Always | Condition::IfEquals(_) => {}
            }
            let answer = router.command(call.timing(), key, &set).await;
            call.end(match options.condition {
                Condition::Always => answer.and_then(reply::written).map(|()| SetOutcome::Written),
                _ => answer.and_then(reply::outcome),
            })
        }
    }

    async fn del(&self, keys: &[&str]) -> Result<u64> {
        if keys.is_empty() {
            return Ok(0);
        }
        let call = self.begin("del").await?;
        let deadline = call.deadline();
        let removed = match &self.0.servers {
            Servers::One(server) => {
                let answers = server.all(deadline, &commands::unlink(keys)).await;
                answers.and_then(|answers| many::removed(answers, keys.len()))
            }
            Servers::Cluster(cluster) => many::unlink_each(cluster, deadline, keys).await,
        };
        call.end(removed)
    }

    async fn del_if_equals(&self, key: &str, expected: &[u8]) -> Result<bool> {
        let call = self.begin("del_if_equals").await?;
        let arguments = |script| Command::arg(script, expected);
        let answer = commands::DEL_IF_EQUALS
            .run(&self.0, call.timing(), key, arguments)
            .await;
        call.end(answer.and_then(reply::flag))
    }

    async fn expire(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let millis = match expiry {
            Expiry::After(Duration::ZERO) => None,
            expiry => millis(expiry, "expire")?,
        };
        let call = self.begin("expire").await?;
        let router = &*self.0;
        let command = match (expiry, millis) {
            (Expiry::Never, _) => {
                let answer = commands::PERSIST.run(router, call.timing(), key, |script| script).await;
                return call.end(answer.and_then(reply::flag));
            }
            (Expiry::Keep, _) => Command::read("EXISTS").arg(key),
            (Expiry::After(_), None) => Command::new("UNLINK").arg(key),
            (Expiry::After(_), Some(millis)) => Command::new("PEXPIRE").arg(key).arg(millis),
        };
        let answer = router.command(call.timing(), key, &command).await;
        call.end(answer.and_then(reply::flag))
    }

    async fn ttl(&self, key: &str) -> Result<Ttl> {
        let call = self.begin("ttl").await?;
        let answer = self
            .0
            .command(call.timing(), key, &Command::read("PTTL").arg(key))
            .await;
        call.end(answer.and_then(reply::ttl))
    }

    /// Runs `GET` and `PTTL` in a transaction on one server, and in a script on a cluster, so that
    /// the value and its time to live are read atomically.
    async fn get_with_ttl(&self, key: &str) -> Result<Option<(Bytes, Ttl)>> {
        let call = self.begin("get_with_ttl").await?;
        let deadline = call.deadline();
        let answers = match &self.0.servers {
            Servers::One(server) => {
                let commands = [Command::read("GET").arg(key), Command::read("PTTL").arg(key)];
                Box::pin(server.transaction(deadline, &commands)).await
            }
            Servers::Cluster(_) => {
                let answer = commands::GET_WITH_TTL
                    .run(&self.0, call.timing(), key, |script| script)
                    .await;
                answer.and_then(reply::array)
            }
        };
        call.end(answers.and_then(reply::value_and_ttl))
    }

    async fn health(&self) -> Result<()> {
        Self::health(self).await.map(drop)
    }

    async fn scan(&self, request: ScanRequest<'_>) -> Result<ScanPage> {
        let count = request.checked_count_hint()?.min(scans::LARGEST_PAGE);
        let call = self.begin("scan").await?;
        let deadline = call.deadline();
        let page = match &self.0.servers {
            Servers::One(server) => scans::page(server, deadline, &request, count).await,
            Servers::Cluster(cluster) => {
                Box::pin(cluster.scan(deadline, &request.cursor, request.pattern, count)).await
            }
        };
        call.end(page)
    }

    /// Sends one MGET, or several in one transaction for more than 100,000 keys. Both read a
    /// snapshot. On a cluster each key has its own MGET, in one round trip per node, and the values
    /// are not a snapshot.
    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let call = self.begin("get_many").await?;
        let values = self.values(call.timing(), keys).await;
        call.end(values)
    }

    async fn set_many(&self, entries: &[(&str, Bytes)], expiry: Expiry) -> Result<()> {
        let expiry = expiry_arguments(expiry, "set_many")?;
        if entries.is_empty() {
            return Ok(());
        }
        let call = self.begin("set_many").await?;
        let deadline = call.deadline();
        let answers = match &self.0.servers {
            Servers::One(server) => {
                let sets = entries.iter().map(|(key, value)| commands::set(key, value, &expiry));
                server.all(deadline, &sets.collect::<Vec<_>>()).await
            }
            Servers::Cluster(cluster) => {
                // If a key occurs twice, only its last value is sent, because a redirection could
                // change the order.
                let last: HashMap<&str, &Bytes> = entries.iter().map(|(key, value)| (*key, value)).collect();
                let sets = last.iter().map(|(key, value)| commands::set(key, value, &expiry));
                let sets: Vec<_> = sets.collect();
                cluster.all(deadline, last.keys(), &sets).await
            }
        };
        let written = answers.and_then(|answers| {
            let answers = reply::all_accepted(answers)?;
            answers.into_iter().try_for_each(reply::written)
        });
        call.end(written)
    }

    async fn incr(&self, key: &str, delta: i64, on_missing: OnMissing) -> Result<Option<i64>> {
        let lifetime = match on_missing {
            OnMissing::Create(expiry) => millis(expiry, "incr")?,
            OnMissing::Refuse => None,
        };
        let call = self.begin("incr").await?;
        let router = &*self.0;
        if matches!(on_missing, OnMissing::Create(Expiry::Never | Expiry::Keep)) {
            // INCRBY alone suffices: it creates a missing counter without a time to live.
            let incr = Command::new("INCRBY").arg(key).arg(delta);
            let answer = router.command(call.timing(), key, &incr).await;
            return call.end(answer.and_then(reply::integer).map(Some));
        }
        let arguments = |script| {
            let script = Command::arg(script, delta);
            match lifetime {
                Some(millis) => script.arg(millis),
                None => script.arg(""),
            }
        };
        let answer = commands::INCREMENT.run(router, call.timing(), key, arguments).await;
        call.end(match on_missing {
            OnMissing::Refuse => answer.and_then(reply::optional_counter),
            OnMissing::Create(_) => answer.and_then(reply::counter).map(Some),
        })
    }

    /// Gives each page its own deadline. A page takes one round trip, because the request for the
    /// next page also removes the keys of the previous page. On a cluster a page takes two.
    async fn del_matching(&self, pattern: &Pattern) -> Result<u64> {
        let call = self.begin("del_matching").await?;
        let removed = match &self.0.servers {
            Servers::One(server) => Box::pin(scans::delete(&self.0, server, pattern)).await,
            Servers::Cluster(cluster) => Box::pin(scans::delete_on_cluster(&self.0, cluster, pattern)).await,
        };
        call.end(removed)
    }
}

fn expiry_arguments(expiry: Expiry, verb: &'static str) -> Result<ExpiryArguments> {
    Ok(ExpiryArguments::new(expiry, millis(expiry, verb)?))
}

/// Returns the milliseconds of an `After`. The server refuses an expiry that is too far in the
/// future only when it sets that expiry, and not if the compared value differs or the counter
/// exists. This function always refuses it, by the local clock.
fn millis(expiry: Expiry, verb: &'static str) -> Result<Option<i64>> {
    let unix_millis = || {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
    };
    expiry.to_millis_at(verb, unix_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest block that glibc serves from its per-thread cache. `AnyBackend` boxes the future
    /// of each call.
    const CACHED: usize = 1_032;

    #[test]
    fn the_futures_of_usual_calls_are_small() {
        let backend = RedisBackend::connect_lazy("redis://localhost").unwrap();
        let (key, keys) = ("k", ["k"]);
        let sizes = [
            ("get", size_of_val(&backend.get(key))),
            ("get_many", size_of_val(&backend.get_many(&keys))),
            ("get_with_ttl", size_of_val(&backend.get_with_ttl(key))),
            ("set", size_of_val(&backend.set(key, Bytes::new(), SetOptions::new()))),
            ("set_many", size_of_val(&backend.set_many(&[], Expiry::Never))),
            ("del", size_of_val(&backend.del(&keys))),
            ("del_if_equals", size_of_val(&backend.del_if_equals(key, b""))),
            ("expire", size_of_val(&backend.expire(key, Expiry::Never))),
            ("ttl", size_of_val(&backend.ttl(key))),
            ("incr", size_of_val(&backend.incr(key, 1, OnMissing::Refuse))),
        ];
        assert!(sizes.iter().all(|(_, size)| *size <= CACHED), "{sizes:?}");
    }
}
