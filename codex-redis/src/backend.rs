//! The verbs.

use std::{
    collections::HashMap,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use codex_traits::{
    AnyBackend, Capabilities, Capability, Condition, Cursor, Expiry, KvBackend, OnMissing, Pattern, Result, ScanPage,
    ScanRequest, SetOptions, SetOutcome, Ttl,
};
use redis::Value;

use crate::{
    commands::{self, ExpiryArguments, KEYS_PER_UNLINK},
    config::builder::RedisBuilder,
    connection::multiplexer::Deadline,
    observe::metrics,
    route::{Permit, Router, Servers, Standalone, cluster::Cluster, scan},
    wire::{Command, Failure, reply},
};

/// How many keys one MGET names. More are asked for in a transaction; Redis takes a million
/// arguments at a time.
const KEYS_PER_MGET: usize = 100_000;

/// The most keys that a page looks at, whatever the hint: the server does nothing else meanwhile.
const LARGEST_PAGE: usize = 10_000;

/// How many keys `del_matching` looks at in one round trip. With 1000, a concurrent reader waited 2
/// ms now and then.
const DELETED_PAGE: usize = 500;

/// What a verb comes to, before its name is attached to a failure.
type Outcome<T> = std::result::Result<T, Failure>;

/// A Redis or Valkey server as a [`KvBackend`].
///
/// A clone is another handle on the same connections. See [the crate](crate) for deadlines,
/// failures and runtimes.
///
/// # Cancellation
///
/// A call whose future is dropped may still be carried out by the server, once. The next call gets
/// its own answer.
#[derive(Clone)]
pub struct RedisBackend(Arc<Router>);

impl RedisBackend {
    /// Connects to the server that the URL names, with all other settings at their defaults;
    /// [`RedisBuilder::url`] has the URL's forms.
    ///
    /// # Errors
    ///
    /// Those of [`RedisBuilder::build`].
    pub async fn connect(url: &str) -> Result<Self> {
        Self::builder().url(url).build().await
    }

    /// Settings, all at their defaults.
    pub fn builder() -> RedisBuilder {
        RedisBuilder::new()
    }

    /// Makes a handle to the server that the URL names, which the first call dials: no server is
    /// needed at the start. It needs no runtime.
    ///
    /// ```
    /// let backend = codex_redis::RedisBackend::connect_lazy("redis://cache.internal:6379/0")?;
    /// # Ok::<(), codex_traits::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](codex_traits::ErrorKind::Config) for a bad setting. If the server is
    /// down, or the password is wrong, the calls say so.
    pub fn connect_lazy(url: &str) -> Result<Self> {
        Self::builder().url(url).build_lazy()
    }

    pub(crate) fn router(&self) -> &Router {
        &self.0
    }

    /// Begins a call, once it may. Its name is attached to whatever goes wrong with it by
    /// [`Call::end`].
    pub(crate) async fn begin(&self, verb: &'static str) -> Result<Call<'_>> {
        let counted = metrics::Call::begin(verb);
        match self.0.admit(verb).await {
            Ok(permit) => Ok(Call { verb, counted, permit }),
            Err(failure) => {
                counted.end(failure.outcome());
                Err(failure.into_error(verb))
            }
        }
    }
}

impl RedisBuilder {
    /// Checks the settings, dials, logs in, and waits for a first answer.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](codex_traits::ErrorKind::Config) for a bad setting, a refused
    /// password, a missing one, and a database that the server does not have;
    /// [`ErrorKind::Connection`](codex_traits::ErrorKind::Connection) or
    /// [`ErrorKind::Timeout`](codex_traits::ErrorKind::Timeout) where the server is not reached
    /// within [`connect_timeout`](Self::connect_timeout);
    /// [`ErrorKind::Server`](codex_traits::ErrorKind::Server) where it is still loading its data.
    pub async fn build(self) -> Result<RedisBackend> {
        let checked = self.check()?;
        let is_lazy = checked.lazy;
        let router = Router::new(checked);
        if !is_lazy {
            router
                .connect()
                .await
                .map_err(|failure| failure.into_error("connect"))?;
        }
        Ok(RedisBackend(Arc::new(router)))
    }

    /// Checks the settings, and leaves the dial to the first call, as with [`lazy`](Self::lazy). It
    /// needs no runtime.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](codex_traits::ErrorKind::Config) for a bad setting.
    pub fn build_lazy(self) -> Result<RedisBackend> {
        Ok(RedisBackend(Arc::new(Router::new(self.check()?))))
    }
}

/// A call under way.
pub(crate) struct Call<'a> {
    verb: &'static str,
    counted: metrics::Call,
    permit: Permit<'a>,
}

impl Call<'_> {
    /// Until when the call may take, in all its round trips.
    pub(crate) fn deadline(&self) -> Deadline {
        self.permit.deadline
    }

    /// Ends the call, and attaches its verb to a failure.
    pub(crate) fn end<T>(self, outcome: Outcome<T>) -> Result<T> {
        match outcome {
            Ok(value) => {
                self.counted.end("ok");
                Ok(value)
            }
            Err(failure) => {
                self.counted.end(failure.outcome());
                Err(failure.into_error(self.verb))
            }
        }
    }
}

impl fmt::Debug for RedisBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<RedisBackend> for AnyBackend {
    fn from(backend: RedisBackend) -> Self {
        Self::new(backend)
    }
}

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
        let answer = self.0.command(call.deadline(), key, &get).await;
        call.end(answer.and_then(reply::bytes))
    }

    async fn set(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        let expiry = expiry_arguments(options.expiry, "set")?;
        let call = self.begin("set").await?;
        let (deadline, router) = (call.deadline(), &*self.0);
        let condition = match &options.condition {
            Condition::Always => {
                let set = commands::set(key, &value, &expiry);
                let answer = router.command(deadline, key, &set).await;
                return call.end(answer.and_then(reply::written).map(|()| SetOutcome::Written));
            }
            Condition::IfAbsent => "NX",
            Condition::IfPresent => "XX",
            Condition::IfEquals(expected) => {
                let arguments = |script| expiry.add_to(Command::arg(script, expected).arg(&value));
                let answer = commands::SET_IF_EQUALS.run(router, deadline, key, arguments).await;
                return call.end(answer.and_then(reply::outcome));
            }
        };
        let set = commands::set(key, &value, &expiry).arg(condition);
        let answer = router.command(deadline, key, &set).await;
        call.end(answer.and_then(reply::outcome))
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
                answers.and_then(|answers| removed(answers, keys.len()))
            }
            Servers::Cluster(cluster) => unlink_each(cluster, deadline, keys).await,
        };
        call.end(removed)
    }

    async fn del_if_equals(&self, key: &str, expected: &[u8]) -> Result<bool> {
        let call = self.begin("del_if_equals").await?;
        let arguments = |script| Command::arg(script, expected);
        let answer = commands::DEL_IF_EQUALS
            .run(&self.0, call.deadline(), key, arguments)
            .await;
        call.end(answer.and_then(reply::flag))
    }

    async fn expire(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let millis = match expiry {
            Expiry::After(Duration::ZERO) => None,
            expiry => millis(expiry, "expire")?,
        };
        let call = self.begin("expire").await?;
        let (deadline, router) = (call.deadline(), &*self.0);
        let command = match (expiry, millis) {
            (Expiry::Never, _) => {
                let answer = commands::PERSIST.run(router, deadline, key, |script| script).await;
                return call.end(answer.and_then(reply::flag));
            }
            (Expiry::Keep, _) => Command::read("EXISTS").arg(key),
            (Expiry::After(_), None) => Command::new("UNLINK").arg(key),
            (Expiry::After(_), Some(millis)) => Command::new("PEXPIRE").arg(key).arg(millis),
        };
        let answer = router.command(deadline, key, &command).await;
        call.end(answer.and_then(reply::flag))
    }

    async fn ttl(&self, key: &str) -> Result<Ttl> {
        let call = self.begin("ttl").await?;
        let answer = self
            .0
            .command(call.deadline(), key, &Command::read("PTTL").arg(key))
            .await;
        call.end(answer.and_then(reply::ttl))
    }

    /// On one server `GET` and `PTTL` in a transaction, on a cluster a script: value and time to
    /// live are of one moment.
    async fn get_with_ttl(&self, key: &str) -> Result<Option<(Bytes, Ttl)>> {
        let call = self.begin("get_with_ttl").await?;
        let deadline = call.deadline();
        let answers = match &self.0.servers {
            Servers::One(server) => {
                let commands = [Command::read("GET").arg(key), Command::read("PTTL").arg(key)];
                server.transaction(deadline, &commands).await
            }
            Servers::Cluster(_) => {
                let answer = commands::GET_WITH_TTL
                    .run(&self.0, deadline, key, |script| script)
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
        let count = request.checked_count_hint()?.min(LARGEST_PAGE);
        let call = self.begin("scan").await?;
        let deadline = call.deadline();
        let page = match &self.0.servers {
            Servers::One(server) => page(server, deadline, &request, count).await,
            Servers::Cluster(cluster) => {
                Box::pin(cluster.scan(deadline, &request.cursor, request.pattern, count)).await
            }
        };
        call.end(page)
    }

    /// One MGET, and so one snapshot. From 100,000 keys on it is several in one transaction, which
    /// is one snapshot too. On a cluster each key is asked for by itself, in one round trip per
    /// node.
    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let call = self.begin("get_many").await?;
        let values = self.values(call.deadline(), keys).await;
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
                // Of a key that is named twice only the last value is sent: a redirection could
                // change their order.
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
        let (deadline, router) = (call.deadline(), &*self.0);
        if matches!(on_missing, OnMissing::Create(Expiry::Never | Expiry::Keep)) {
            // INCRBY itself does exactly this: a counter that it creates has no time to live.
            let incr = Command::new("INCRBY").arg(key).arg(delta);
            let answer = router.command(deadline, key, &incr).await;
            return call.end(answer.and_then(reply::integer).map(Some));
        }
        let arguments = |script| {
            let script = Command::arg(script, delta);
            match lifetime {
                Some(millis) => script.arg(millis),
                None => script.arg(""),
            }
        };
        let answer = commands::INCREMENT.run(router, deadline, key, arguments).await;
        call.end(match on_missing {
            OnMissing::Refuse => answer.and_then(reply::optional_counter),
            OnMissing::Create(_) => answer.and_then(reply::counter).map(Some),
        })
    }

    /// Each page has a deadline of its own. It is one round trip, because the keys of the page
    /// before are removed along with the question for the next; on a cluster it is two.
    async fn del_matching(&self, pattern: &Pattern) -> Result<u64> {
        let call = self.begin("del_matching").await?;
        let removed = match &self.0.servers {
            Servers::One(server) => Box::pin(self.del_pages(server, pattern)).await,
            Servers::Cluster(cluster) => Box::pin(self.del_pages_each(cluster, pattern)).await,
        };
        call.end(removed)
    }
}

impl RedisBackend {
    /// Reads several values.
    pub(crate) async fn values(&self, deadline: Deadline, keys: &[&str]) -> Outcome<Vec<Option<Bytes>>> {
        match &self.0.servers {
            Servers::One(server) => get_all(server, deadline, keys).await,
            Servers::Cluster(cluster) => get_each(cluster, deadline, keys).await,
        }
    }

    async fn del_pages(&self, server: &Standalone, pattern: &Pattern) -> Outcome<u64> {
        let mut removed_in_all = 0_u64;
        let mut found: Vec<String> = Vec::new();
        let mut cursor = Some(0);
        while cursor.is_some() || !found.is_empty() {
            let mut batch = commands::unlink(&found);
            if let Some(cursor) = cursor {
                batch.push(scan(cursor, pattern, DELETED_PAGE));
            }
            let answers = server.all(self.0.deadline("del_matching"), &batch).await?;
            drop(batch);
            let mut answers = reply::all_accepted(answers)?;
            let page = match cursor {
                Some(_) => Some(reply::page(answers.pop().unwrap_or_default())?),
                None => None,
            };
            removed_in_all = removed_in_all.saturating_add(removed(answers, found.len())?);
            (cursor, found) = match page {
                Some((0, keys)) => (None, keys),
                Some((next, keys)) => (Some(next), keys),
                None => (None, Vec::new()),
            };
        }
        Ok(removed_in_all)
    }

    async fn del_pages_each(&self, cluster: &Arc<Cluster>, pattern: &Pattern) -> Outcome<u64> {
        let mut removed_in_all = 0_u64;
        let mut cursor = Cursor::start();
        loop {
            let deadline = self.0.deadline("del_matching");
            let page = cluster.scan(deadline, &cursor, pattern, DELETED_PAGE).await?;
            let removed = unlink_each(cluster, deadline, &page.keys).await?;
            removed_in_all = removed_in_all.saturating_add(removed);
            match page.next {
                Some(next) => cursor = next,
                None => return Ok(removed_in_all),
            }
        }
    }
}

/// One page of the only server.
async fn page(server: &Standalone, deadline: Deadline, request: &ScanRequest<'_>, count: usize) -> Outcome<ScanPage> {
    let cursor = read_cursor(&request.cursor)?;
    let answer = server.command(deadline, &scan(cursor, request.pattern, count)).await?;
    let (next, keys) = reply::page(answer)?;
    let next = match next {
        0 => None,
        next => Some(Cursor::new(next.to_string()).map_err(|_| Failure::unexpected())?),
    };
    Ok(ScanPage::new(keys, next))
}

async fn get_all(server: &Standalone, deadline: Deadline, keys: &[&str]) -> Outcome<Vec<Option<Bytes>>> {
    if keys.len() <= KEYS_PER_MGET {
        let answer = server.command(deadline, &Command::read("MGET").args(keys)).await?;
        return reply::values(answer, keys.len());
    }
    let chunks = keys.chunks(KEYS_PER_MGET);
    let commands: Vec<_> = chunks.clone().map(|chunk| Command::read("MGET").args(chunk)).collect();
    let answers = server.transaction(deadline, &commands).await?;
    let mut values = Vec::with_capacity(keys.len());
    for (answer, chunk) in answers.into_iter().zip(chunks) {
        values.extend(reply::values(answer, chunk.len())?);
    }
    Ok(values)
}

/// By MGET, for which a key of another type is missing.
async fn get_each(cluster: &Arc<Cluster>, deadline: Deadline, keys: &[&str]) -> Outcome<Vec<Option<Bytes>>> {
    let commands: Vec<_> = keys.iter().map(|key| Command::read("MGET").arg(*key)).collect();
    let answers = cluster.all(deadline, keys, &commands).await?;
    let value = |answer| Ok(reply::values(answer, 1)?.pop().flatten());
    reply::all_accepted(answers)?.into_iter().map(value).collect()
}

async fn unlink_each<K: AsRef<[u8]> + Sync>(cluster: &Arc<Cluster>, deadline: Deadline, keys: &[K]) -> Outcome<u64> {
    let commands: Vec<_> = keys
        .iter()
        .map(|key| Command::new("UNLINK").arg(key.as_ref()))
        .collect();
    let answers = reply::all_accepted(cluster.all(deadline, keys, &commands).await?)?;
    let counts = answers.into_iter().map(reply::flag);
    counts.map(|flag| flag.map(u64::from)).sum()
}

/// The sum of the answers to UNLINK of this many keys.
fn removed(answers: Vec<Value>, keys: usize) -> Outcome<u64> {
    let answers = reply::all_accepted(answers)?;
    let mut left = keys;
    let mut sum = 0_u64;
    for answer in answers {
        let named = left.min(KEYS_PER_UNLINK);
        left -= named;
        sum = sum.saturating_add(reply::count(answer, named)?);
    }
    Ok(sum)
}

/// Redis's own cursor, as it writes it. Its 0 is both the beginning and the end, and is never
/// handed out.
fn read_cursor(cursor: &Cursor) -> Outcome<u64> {
    if cursor.is_start() {
        return Ok(0);
    }
    let number = cursor.as_str().parse().ok().filter(|number: &u64| *number != 0);
    number
        .filter(|number| number.to_string() == cursor.as_str())
        .ok_or_else(Failure::unreadable_cursor)
}

fn expiry_arguments(expiry: Expiry, verb: &'static str) -> Result<ExpiryArguments> {
    Ok(ExpiryArguments::new(expiry, millis(expiry, verb)?))
}

/// The milliseconds of an `After`. The server refuses an expiry that ends too late, but only if it
/// comes to setting it: not if a compared value differs, or a counter exists. So it is refused here
/// as well, by our clock.
fn millis(expiry: Expiry, verb: &'static str) -> Result<Option<i64>> {
    let unix_millis = || {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
    };
    expiry.to_millis_at(verb, unix_millis)
}
