//! The verbs.

use std::{
    collections::HashMap,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use codex_traits::{
    AnyBackend, Capabilities, Capability, Condition, Cursor, Error, Expiry, KvBackend, OnMissing, Pattern, Result,
    ScanPage, ScanRequest, SetOptions, SetOutcome, Ttl,
};
use redis::{Cmd, Pipeline, Value, cmd};

use crate::{
    RedisBuilder, commands,
    config::settings::Checked,
    route::Store,
    route::cluster::{Cluster, Part},
    wire::reply,
    wire::request::{Arguments, Decimal},
};

/// How many keys one UNLINK names: others are served in between.
const KEYS_PER_UNLINK: usize = 1000;

/// How many keys one MGET names. More are asked for in a transaction; Redis takes a million arguments at a time.
const KEYS_PER_MGET: usize = 100_000;

/// The most keys that a page looks at, whatever the hint: the server does nothing else meanwhile.
const LARGEST_PAGE: usize = 10_000;

/// How many keys `del_matching` looks at in one round trip. With 1000, whoever reads meanwhile waited 2 ms now and then.
const DELETED_PAGE: usize = 500;

/// A Redis or Valkey server as a [`KvBackend`].
///
/// A clone is another handle on the same connections. See [the crate](crate) for deadlines, failures and runtimes.
///
/// # Cancellation
///
/// A call whose future is dropped may still be carried out by the server, once. The next call gets its own answer.
#[derive(Clone)]
pub struct RedisBackend(Arc<Store>);

impl RedisBackend {
    /// Connects to the server that the URL names, with all other settings at their defaults; [`RedisBuilder::url`] has the URL's
    /// forms.
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

    /// Makes a handle to the server that the URL names, which the first call dials: no server is needed at the start. It needs no
    /// runtime.
    ///
    /// ```
    /// let backend = codex_redis::RedisBackend::connect_lazy("redis://cache.internal:6379/0")?;
    /// # Ok::<(), codex_traits::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](codex_traits::ErrorKind::Config) for a bad setting. If the server is down, or the password is wrong,
    /// the calls say so.
    pub fn connect_lazy(url: &str) -> Result<Self> {
        Self::builder().url(url).build_lazy()
    }

    pub(crate) async fn dial(checked: Checked) -> Result<Self> {
        let is_lazy = checked.lazy;
        let store = Store::new(checked);
        if !is_lazy {
            store.connect().await?;
        }
        Ok(Self(Arc::new(store)))
    }

    pub(crate) fn lazy(checked: Checked) -> Self {
        Self(Arc::new(Store::new(checked)))
    }

    pub(crate) fn store(&self) -> &Store {
        &self.0
    }

    async fn command(&self, operation: &'static str, key: &str, command: &Cmd) -> Result<Value> {
        self.0.command(operation, key, command).await
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
            .with(Capability::ForeignTypes);
        match &*self.0 {
            Store::One(_) => common.with(Capability::AtomicMany),
            Store::Cluster(_) => common.with(Capability::Cluster),
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        let arguments = Arguments(&[b"GET", key.as_bytes()]);
        reply::bytes("get", self.0.arguments("get", key, arguments).await?)
    }

    async fn set(&self, key: &str, value: Bytes, options: SetOptions) -> Result<SetOutcome> {
        let expiry = ExpiryArguments::new(options.expiry, "set")?;
        let condition: Option<&[u8]> = match &options.condition {
            Condition::Always => None,
            Condition::IfAbsent => Some(b"NX"),
            Condition::IfPresent => Some(b"XX"),
            Condition::IfEquals(expected) => {
                let mut arguments: Vec<&[u8]> = vec![expected, &value];
                arguments.extend(expiry.iter());
                let answer = commands::SET_IF_EQUALS.run(&self.0, "set", key, &arguments).await?;
                return reply::outcome("set", answer);
            }
        };
        let mut arguments = [&b""[..]; 6];
        let all = [&b"SET"[..], key.as_bytes(), &value];
        let mut count = 0;
        for argument in all.into_iter().chain(condition).chain(expiry.iter()) {
            arguments[count] = argument;
            count += 1;
        }
        let answer = self.0.arguments("set", key, Arguments(&arguments[..count])).await?;
        reply::outcome("set", answer)
    }

    async fn del(&self, keys: &[&str]) -> Result<u64> {
        let answers = match &*self.0 {
            Store::One(client) => client.pipeline("del", &unlink(keys)).await?,
            Store::Cluster(cluster) => unlink_each("del", cluster, keys).await?,
        };
        sum("del", answers)
    }

    async fn del_if_equals(&self, key: &str, expected: &[u8]) -> Result<bool> {
        let answer = commands::DEL_IF_EQUALS
            .run(&self.0, "del_if_equals", key, &[expected])
            .await?;
        Ok(reply::count("del_if_equals", answer)? > 0)
    }

    async fn expire(&self, key: &str, expiry: Expiry) -> Result<bool> {
        let answer = match expiry {
            Expiry::Never => commands::PERSIST.run(&self.0, "expire", key, &[]).await?,
            Expiry::Keep => self.command("expire", key, cmd("EXISTS").arg(key)).await?,
            Expiry::After(Duration::ZERO) => self.command("expire", key, cmd("UNLINK").arg(key)).await?,
            Expiry::After(_) => {
                let millis = millis(expiry, "expire")?;
                self.command("expire", key, cmd("PEXPIRE").arg(key).arg(millis)).await?
            }
        };
        Ok(reply::count("expire", answer)? > 0)
    }

    async fn ttl(&self, key: &str) -> Result<Ttl> {
        let answer = self.command("ttl", key, cmd("PTTL").arg(key)).await?;
        reply::ttl("ttl", answer)
    }

    async fn scan(&self, request: ScanRequest<'_>) -> Result<ScanPage> {
        let count = request.checked_count_hint()?.min(LARGEST_PAGE);
        let client = match &*self.0 {
            Store::One(client) => client,
            Store::Cluster(cluster) => return cluster.scan(&request.cursor, request.pattern, count).await,
        };
        let cursor = read_cursor(&request.cursor)?;
        let answer = client.command("scan", &scan(cursor, request.pattern, count)).await?;
        let (next, keys) = reply::page("scan", answer)?;
        let next = match next {
            0 => None,
            next => Some(Cursor::new(next.to_string())?),
        };
        Ok(ScanPage::new(keys, next))
    }

    /// One MGET, and so one snapshot. From 100,000 keys on it is several in one transaction, which is one snapshot too. On a cluster
    /// each key is asked for by itself, in one round trip per node.
    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
        let client = match &*self.0 {
            Store::One(client) => client,
            Store::Cluster(cluster) => return get_each(cluster, keys).await,
        };
        let answers = match keys.len() {
            0 => return Ok(Vec::new()),
            1..=KEYS_PER_MGET => vec![client.command("get_many", &mget(keys)).await?],
            _ => {
                let mut pipeline = Pipeline::new();
                pipeline.atomic();
                for chunk in keys.chunks(KEYS_PER_MGET) {
                    pipeline.add_command(mget(chunk));
                }
                let mut answers = client.pipeline("get_many", &pipeline).await?;
                reply::array("get_many", answers.pop().unwrap_or_default())?
            }
        };
        let mut values = Vec::with_capacity(keys.len());
        for answer in answers {
            for value in reply::array("get_many", answer)? {
                values.push(reply::bytes("get_many", value)?);
            }
        }
        if values.len() != keys.len() {
            return Err(crate::wire::error::unexpected("get_many"));
        }
        Ok(values)
    }

    async fn set_many(&self, entries: &[(&str, Bytes)], expiry: Expiry) -> Result<()> {
        let expiry = ExpiryArguments::new(expiry, "set_many")?;
        let command = |key: &str, value: &Bytes| {
            let mut command = Cmd::with_capacity(5, key.len() + value.len() + 30);
            command.arg("SET").arg(key).arg(&value[..]);
            for argument in expiry.iter() {
                command.arg(argument);
            }
            command
        };
        let answers = match &*self.0 {
            Store::One(client) => {
                let mut pipeline = Pipeline::with_capacity(entries.len());
                for (key, value) in entries {
                    pipeline.add_command(command(key, value));
                }
                client.pipeline("set_many", &pipeline).await?
            }
            Store::Cluster(cluster) => {
                // Of a key that is named twice only the last one is sent: a redirection could change their order.
                let last: HashMap<&str, &Bytes> = entries.iter().map(|(key, value)| (*key, value)).collect();
                let parts = last
                    .into_iter()
                    .map(|(key, value)| Part::owned(key, command(key, value)));
                cluster.all("set_many", parts.collect()).await?
            }
        };
        let answers = reply::all_accepted("set_many", answers)?;
        if answers.iter().all(|answer| *answer == Value::Okay) {
            Ok(())
        } else {
            Err(crate::wire::error::unexpected("set_many"))
        }
    }

    async fn incr(&self, key: &str, delta: i64, on_missing: OnMissing) -> Result<Option<i64>> {
        let made_to_end = match on_missing {
            // INCRBY itself does exactly this: a counter that it creates has no time to live.
            OnMissing::Create(Expiry::Never | Expiry::Keep) => {
                let answer = self.command("incr", key, cmd("INCRBY").arg(key).arg(delta)).await?;
                return reply::counter("incr", answer);
            }
            OnMissing::Create(expiry @ Expiry::After(_)) => millis(expiry, "incr")?.to_string(),
            OnMissing::Refuse => String::new(),
        };
        let delta = delta.to_string();
        let arguments = [delta.as_bytes(), made_to_end.as_bytes()];
        let answer = commands::INCREMENT.run(&self.0, "incr", key, &arguments).await?;
        reply::counter("incr", answer)
    }

    /// Each page is one round trip with a deadline of its own: the keys of the page before are removed along with the question
    /// for the next.
    async fn health(&self) -> Result<()> {
        Self::health(self).await.map(drop)
    }

    async fn del_matching(&self, pattern: &Pattern) -> Result<u64> {
        let client = match &*self.0 {
            Store::One(client) => client,
            Store::Cluster(cluster) => return del_matching_each(cluster, pattern).await,
        };
        let mut removed = 0;
        let mut found = Vec::new();
        let mut cursor = Some(0);
        while cursor.is_some() || !found.is_empty() {
            let keys: Vec<&str> = found.iter().map(String::as_str).collect();
            let mut pipeline = unlink(&keys);
            if let Some(cursor) = cursor {
                pipeline.add_command(scan(cursor, pattern, DELETED_PAGE));
            }
            let answers = client.pipeline("del_matching", &pipeline).await?;
            let mut answers = reply::all_accepted("del_matching", answers)?;
            (cursor, found) = match cursor {
                Some(_) => {
                    let (next, keys) = reply::page("del_matching", answers.pop().unwrap_or_default())?;
                    (Some(next).filter(|next| *next != 0), keys)
                }
                None => (None, Vec::new()),
            };
            removed += sum("del_matching", answers)?;
        }
        Ok(removed)
    }
}

async fn unlink_each<K: AsRef<str> + Sync>(
    operation: &'static str,
    cluster: &Arc<Cluster>,
    keys: &[K],
) -> Result<Vec<Value>> {
    let unlink = |key: &K| Part::owned(key.as_ref(), cmd("UNLINK").arg(key.as_ref()).clone());
    cluster.all(operation, keys.iter().map(unlink).collect()).await
}

/// By MGET, for which a key of another type is none.
async fn get_each(cluster: &Arc<Cluster>, keys: &[&str]) -> Result<Vec<Option<Bytes>>> {
    let parts = keys.iter().map(|key| Part::owned(key, mget(&[*key])));
    let answers = cluster.all("get_many", parts.collect()).await?;
    let answers = reply::all_accepted("get_many", answers)?;
    let value = |answer| {
        let mut values = reply::array("get_many", answer)?.into_iter();
        reply::bytes("get_many", values.next().unwrap_or_default())
    };
    answers.into_iter().map(value).collect()
}

/// Two round trips per page, one of them to the nodes of its keys.
async fn del_matching_each(cluster: &Arc<Cluster>, pattern: &Pattern) -> Result<u64> {
    let mut removed = 0;
    let mut cursor = Cursor::start();
    loop {
        let page = cluster.scan(&cursor, pattern, DELETED_PAGE).await?;
        removed += sum("del_matching", unlink_each("del_matching", cluster, &page.keys).await?)?;
        match page.next {
            Some(next) => cursor = next,
            None => return Ok(removed),
        }
    }
}

fn unlink(keys: &[&str]) -> Pipeline {
    let mut pipeline = Pipeline::new();
    for chunk in keys.chunks(KEYS_PER_UNLINK) {
        pipeline.cmd("UNLINK").arg(chunk);
    }
    pipeline
}

fn mget(keys: &[&str]) -> Cmd {
    let mut command = cmd("MGET");
    command.arg(keys);
    command
}

pub(crate) fn scan(cursor: u64, pattern: &Pattern, count: usize) -> Cmd {
    let mut command = cmd("SCAN");
    command
        .arg(cursor)
        .arg("MATCH")
        .arg(pattern.as_bytes())
        .arg("COUNT")
        .arg(count);
    command
}

fn sum(operation: &'static str, answers: Vec<Value>) -> Result<u64> {
    let answers = reply::all_accepted(operation, answers)?;
    answers.into_iter().map(|answer| reply::count(operation, answer)).sum()
}

/// Redis's own cursor, as it writes it. Its 0 is both the beginning and the end, and is never handed out.
fn read_cursor(cursor: &Cursor) -> Result<u64> {
    if cursor.is_start() {
        return Ok(0);
    }
    let number = cursor.as_str().parse().ok().filter(|number: &u64| *number != 0);
    number
        .filter(|number| number.to_string() == cursor.as_str())
        .ok_or_else(Error::unreadable_cursor)
}

/// What SET is told of the expiry.
struct ExpiryArguments {
    word: Option<&'static [u8]>,
    millis: Option<Decimal>,
}

impl ExpiryArguments {
    fn new(expiry: Expiry, operation: &'static str) -> Result<Self> {
        let (word, millis): (Option<&'static [u8]>, _) = match expiry {
            Expiry::Never => (None, None),
            Expiry::Keep => (Some(b"KEEPTTL"), None),
            Expiry::After(_) => {
                let millis = millis(expiry, operation)?;
                (Some(b"PX"), Some(Decimal::of(millis.unsigned_abs())))
            }
        };
        Ok(Self { word, millis })
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.word.into_iter().chain(self.millis.as_ref().map(Decimal::as_bytes))
    }
}

/// The milliseconds of an `After`. The server refuses what would end too late, but only where it comes to setting it: not where a
/// compared value differs, or a counter exists. So it is refused here as well, by our clock.
fn millis(expiry: Expiry, operation: &'static str) -> Result<i64> {
    let unix_millis = || {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
    };
    Ok(expiry.to_millis_at(operation, unix_millis)?.unwrap_or_default())
}
