//! Client tracking: the server pushes the changes of keys that were read.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use codex_traits::{NodeId, Result, TrackedRead, Tracking, TrackingFeed, TrackingListener};
use futures_util::future::{join, join_all};
use redis::Value;

use crate::{
    backend::RedisBackend,
    config::settings::Address,
    connection::multiplexer::{Deadline, LARGE},
    route::{Servers, Standalone, cluster::tracked::TrackedNodes},
    server::{
        Timing,
        locate::Locate,
        sentinel::Sentinels,
        tracked::{Canary, Read, Sent, Tracked},
    },
    wire::{Command, Failure, Request, error::server_error, reply},
};

/// The maximum number of requests in which one call reads over a tracked connection. Each has at
/// most [`LARGE`] bytes. The keys beyond them use other connections, because their answers would
/// delay the pushes and the proofs too long.
const PARTS: usize = 32;

/// The most bytes around a key in its `GET` and `PTTL`.
const FRAMES: usize = 64;

/// The tracked reads of one reader of a [`RedisBackend`].
///
/// A feed has an additional connection to each server, in RESP3 and with `CLIENT TRACKING ON`,
/// which carries reads and proofs only. [`Tracking::track`] opens it, and the next read after a
/// loss reopens it. Until it is open, reads use the other connections. A backend without a feed has
/// no such connection.
///
/// A proof is `HELLO` without arguments. The answer must show the same connection, RESP3, and the
/// role of a primary. Through Sentinel the Sentinels must still name the server. On a cluster,
/// `CLUSTER INFO` must show the same epoch. If the proof names a key, its `PTTL` must not be
/// refused.
pub struct RedisFeed {
    backend: RedisBackend,
    nodes: Nodes,
}

enum Nodes {
    Fixed(Arc<Tracked<Address>>),
    Elected(Arc<Tracked<Sentinels>>),
    Cluster(TrackedNodes),
}

type Outcome<T> = std::result::Result<T, Failure>;

impl Tracking for RedisBackend {
    type Feed = RedisFeed;

    async fn track(&self, listener: Arc<dyn TrackingListener>) -> Result<RedisFeed> {
        let nodes = match &self.router().servers {
            Servers::One(Standalone::Fixed(server)) => Nodes::Fixed(Arc::new(Tracked::new(
                Arc::clone(server),
                NodeId::ONLY,
                canary(),
                false,
                listener,
            ))),
            Servers::One(Standalone::Elected(server)) => Nodes::Elected(Arc::new(Tracked::new(
                Arc::clone(server),
                NodeId::ONLY,
                canary(),
                false,
                listener,
            ))),
            Servers::Cluster(cluster) => Nodes::Cluster(TrackedNodes::new(Arc::clone(cluster), listener)),
        };
        let connected = match &nodes {
            Nodes::Fixed(tracked) => tracked.connect().await,
            Nodes::Elected(tracked) => tracked.connect().await,
            Nodes::Cluster(nodes) => nodes.connect(self.router().deadline("connect")).await,
        };
        connected.map_err(|failure| failure.into_error("connect"))?;
        Ok(RedisFeed {
            backend: self.clone(),
            nodes,
        })
    }
}

impl TrackingFeed for RedisFeed {
    /// Sends `GET` and `PTTL`, one after the other. A change in between is pushed between their
    /// answers.
    async fn get(&self, key: &str) -> Result<TrackedRead> {
        let call = self.backend.begin("get").await?;
        let read = self.read(call.deadline(), key).await;
        call.end(read)
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<TrackedRead>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let call = self.backend.begin("get_many").await?;
        let reads = Box::pin(self.read_many(call.deadline(), keys)).await;
        call.end(reads)
    }

    async fn prove(&self, node: NodeId) -> Result<()> {
        let proof = self.proof(node, None).await;
        proof.map_err(|failure| failure.into_error("prove"))
    }

    /// Adds the `PTTL` of the key to the proof.
    async fn prove_readable(&self, node: NodeId, key: &str) -> Result<()> {
        let proof = self.proof(node, Some(key)).await;
        proof.map_err(|failure| failure.into_error("prove"))
    }
}

impl RedisFeed {
    async fn proof(&self, node: NodeId, key: Option<&str>) -> Outcome<()> {
        let deadline = self.backend.router().deadline("connect");
        match &self.nodes {
            Nodes::Fixed(tracked) => tracked.prove(deadline, key).await.map(drop),
            Nodes::Elected(tracked) => tracked.prove(deadline, key).await.map(drop),
            Nodes::Cluster(nodes) => {
                let tracked = nodes.numbered(node).ok_or_else(Failure::unexpected)?;
                // If the slot of the key has moved, everything of the node is invalidated. The rest
                // of the proof holds.
                if let Some(reply) = tracked.prove(deadline, key).await? {
                    nodes.is_redirected(&tracked, &reply);
                }
                Ok(())
            }
        }
    }

    async fn read(&self, deadline: Deadline, key: &str) -> Outcome<TrackedRead> {
        let (node, read) = match &self.nodes {
            Nodes::Fixed(tracked) => (NodeId::ONLY, read_one(tracked, deadline, key).await),
            Nodes::Elected(tracked) => (NodeId::ONLY, read_one(tracked, deadline, key).await),
            Nodes::Cluster(nodes) => Box::pin(read_in_cluster(nodes, deadline, key)).await,
        };
        match read {
            Read::Answered(replies) => {
                let [value, left] = <[Value; 2]>::try_from(replies.into_vec()).map_err(|_| Failure::unexpected())?;
                Ok(TrackedRead::on(node, reply::bytes(value)?, reply::ttl(left)?))
            }
            Read::Failed(failure) => Err(failure),
            Read::Elsewhere => Box::pin(self.read_elsewhere(deadline, key)).await,
        }
    }

    async fn read_elsewhere(&self, deadline: Deadline, key: &str) -> Outcome<TrackedRead> {
        let command = Command::read("GET").arg(key);
        let answer = self
            .backend
            .router()
            .command(&Timing::waited(deadline), key, &command)
            .await?;
        Ok(TrackedRead::untracked(reply::bytes(answer)?))
    }

    /// Reads the keys over the tracked connections as far as they take them, and the other keys
    /// over the other connections at the same time.
    async fn read_many(&self, deadline: Deadline, keys: &[&str]) -> Outcome<Vec<TrackedRead>> {
        let mut others = Vec::new();
        let (groups, values) = match &self.nodes {
            Nodes::Fixed(tracked) => self.read_all_from(tracked, deadline, keys, &mut others).await,
            Nodes::Elected(tracked) => self.read_all_from(tracked, deadline, keys, &mut others).await,
            Nodes::Cluster(nodes) => {
                let mut groups: Vec<(Arc<Tracked<Address>>, Vec<usize>)> = Vec::new();
                for (at, key) in keys.iter().enumerate() {
                    let Some(tracked) = nodes.of(key.as_bytes()) else {
                        others.push(at);
                        continue;
                    };
                    match groups.iter_mut().find(|(node, _)| Arc::ptr_eq(node, &tracked)) {
                        Some((_, group)) => group.push(at),
                        None => groups.push((tracked, vec![at])),
                    }
                }
                let mut sent = Vec::with_capacity(groups.len());
                for (tracked, group) in &groups {
                    sent.push((tracked, send_parts(tracked, deadline, keys, group, &mut others)));
                }
                let asked = sent.into_iter().map(|(tracked, parts)| async move {
                    let is_redirected = |reply: &Value| nodes.is_redirected(tracked, reply);
                    answers(tracked, parts, &is_redirected).await
                });
                join(join_all(asked), self.read_others(deadline, keys, &others)).await
            }
        };
        let mut reads: Vec<Option<TrackedRead>> = vec![None; keys.len()];
        for group in groups {
            for (at, read) in group? {
                reads[at] = Some(read);
            }
        }
        for (at, value) in others.into_iter().zip(values?) {
            reads[at] = Some(TrackedRead::untracked(value));
        }
        // The keys that moved, and those of a connection that broke.
        let rest: Vec<usize> = (0..keys.len()).filter(|at| reads[*at].is_none()).collect();
        let values = self.read_others(deadline, keys, &rest).await?;
        for (at, value) in rest.into_iter().zip(values) {
            reads[at] = Some(TrackedRead::untracked(value));
        }
        reads
            .into_iter()
            .map(|read| read.ok_or_else(Failure::unexpected))
            .collect()
    }

    /// Reads the keys from a store with one tracked connection. Returns the answers of that
    /// connection, and the values of the keys that were added to `others`.
    async fn read_all_from<L: Locate>(
        &self,
        tracked: &Arc<Tracked<L>>,
        deadline: Deadline,
        keys: &[&str],
        others: &mut Vec<usize>,
    ) -> (Vec<Group>, Outcome<Vec<Option<Bytes>>>) {
        let all: Vec<usize> = (0..keys.len()).collect();
        let parts = send_parts(tracked, deadline, keys, &all, others);
        let values = self.read_others(deadline, keys, others);
        let (group, values) = join(answers(tracked, parts, &|_| false), values).await;
        (vec![group], values)
    }

    /// Reads the keys at these indexes of `keys` over the connections that are not tracked.
    async fn read_others(&self, deadline: Deadline, keys: &[&str], others: &[usize]) -> Outcome<Vec<Option<Bytes>>> {
        if others.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<&str> = others.iter().map(|at| keys[*at]).collect();
        self.backend.values(&Timing::waited(deadline), &keys).await
    }
}

/// Reads a key over the tracked connection of its node.
async fn read_one<L: Locate>(tracked: &Arc<Tracked<L>>, deadline: Deadline, key: &str) -> Read {
    // The block drops the commands before the wait. They would take half of the future's size.
    let sent = {
        let commands = [Command::read("GET").arg(key), Command::read("PTTL").arg(key)];
        tracked.send(deadline, &Request::all(&commands))
    };
    match sent {
        Some(sent) => sent.answer().await,
        None => Read::Elsewhere,
    }
}

async fn read_in_cluster(nodes: &TrackedNodes, deadline: Deadline, key: &str) -> (NodeId, Read) {
    let Some(tracked) = nodes.of(key.as_bytes()) else {
        return (NodeId::ONLY, Read::Elsewhere);
    };
    let read = match read_one(&tracked, deadline, key).await {
        Read::Answered(replies)
            if replies
                .as_slice()
                .iter()
                .any(|reply| nodes.is_redirected(&tracked, reply)) =>
        {
            Read::Elsewhere
        }
        read => read,
    };
    (tracked.node(), read)
}

/// The answers of a node, with the indexes of their keys.
type Group = Outcome<Vec<(usize, TrackedRead)>>;

/// Keys that were asked for in one request, as indexes into the keys of the call.
type Part<'a, L> = (Vec<usize>, Sent<'a, L>);

/// Sends reads of the keys of a group, a list of indexes into `keys`, over the tracked connection
/// of their node. Adds the keys that it does not take to `others`.
fn send_parts<'a, L: Locate>(
    tracked: &'a Arc<Tracked<L>>,
    deadline: Deadline,
    keys: &[&str],
    group: &[usize],
    others: &mut Vec<usize>,
) -> Vec<Part<'a, L>> {
    let both = |at: &usize| {
        [
            Command::read("GET").arg(keys[*at]),
            Command::read("PTTL").arg(keys[*at]),
        ]
    };
    let mut parts = Vec::new();
    let mut left = group;
    while !left.is_empty() && parts.len() < PARTS {
        let mut size = 0;
        let fitting = left.iter().take_while(|at| {
            size += FRAMES + 2 * keys[**at].len();
            size <= LARGE
        });
        let (part, rest) = left.split_at(fitting.count());
        if part.is_empty() {
            // This key alone is too long.
            others.push(left[0]);
            left = &left[1..];
            continue;
        }
        let commands: Vec<Command<'_>> = part.iter().flat_map(both).collect();
        let Some(sent) = tracked.send(deadline, &Request::all(&commands)) else {
            break;
        };
        parts.push((part.to_vec(), sent));
        left = rest;
    }
    others.extend(left);
    parts
}

/// Waits for the answers of a node. Leaves out a key that must be read over another connection.
async fn answers<L: Locate>(
    tracked: &Arc<Tracked<L>>,
    parts: Vec<Part<'_, L>>,
    is_redirected: &(impl Fn(&Value) -> bool + Sync),
) -> Group {
    let answered = parts
        .into_iter()
        .map(|(part, sent)| async move { (part, sent.answer().await) });
    let mut reads = Vec::new();
    for (part, read) in join_all(answered).await {
        let replies = match read {
            Read::Answered(replies) => replies.into_vec(),
            Read::Failed(failure) => return Err(failure),
            Read::Elsewhere => continue,
        };
        let mut replies = replies.into_iter();
        for at in part {
            let (Some(value), Some(left)) = (replies.next(), replies.next()) else {
                break;
            };
            if is_redirected(&value) || is_redirected(&left) {
                continue;
            }
            let is_of_another_type = server_error(&value).is_some_and(|error| error.code() == "WRONGTYPE");
            let read = if is_of_another_type {
                TrackedRead::untracked(None)
            } else {
                TrackedRead::on(tracked.node(), reply::bytes(value)?, reply::ttl(left)?)
            };
            reads.push((at, read));
        }
    }
    Ok(reads)
}

/// Returns a canary with a random key that no other client uses.
fn canary() -> Canary {
    let chance = getrandom::u64().unwrap_or_default();
    Box::new(move || Some(format!("codex-kv:near:{chance:016x}")))
}

impl Drop for RedisFeed {
    fn drop(&mut self) {
        match &self.nodes {
            Nodes::Fixed(tracked) => tracked.end(),
            Nodes::Elected(tracked) => tracked.end(),
            // The connections of a cluster end with `TrackedNodes`.
            Nodes::Cluster(_) => {}
        }
    }
}

impl fmt::Debug for RedisFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("RedisFeed");
        match &self.nodes {
            Nodes::Fixed(tracked) => shown.field("server", tracked),
            Nodes::Elected(tracked) => shown.field("server", tracked),
            Nodes::Cluster(nodes) => shown.field("server", nodes),
        };
        shown.finish_non_exhaustive()
    }
}
