//! Commands on many keys.

use std::sync::Arc;

use bytes::Bytes;
use redis::Value;

use super::Outcome;
use crate::{
    commands::KEYS_PER_UNLINK,
    connection::multiplexer::Deadline,
    route::{Standalone, cluster::Cluster},
    wire::{Command, reply},
};

/// The maximum number of keys in one MGET, because Redis accepts about a million arguments per
/// command. Larger reads use several MGETs in a transaction.
const KEYS_PER_MGET: usize = 100_000;

/// Returns the MGET of these keys, or `None` if there are too many for one command.
pub(super) fn mget<'a>(keys: &'a [&str]) -> Option<Command<'a>> {
    (keys.len() <= KEYS_PER_MGET).then(|| Command::read("MGET").args(keys))
}

/// Reads a snapshot of more keys than one MGET can take, from one server.
pub(super) async fn get_in_parts(
    server: &Standalone,
    deadline: Deadline,
    keys: &[&str],
) -> Outcome<Vec<Option<Bytes>>> {
    let chunks = keys.chunks(KEYS_PER_MGET);
    let commands: Vec<_> = chunks.clone().map(|chunk| Command::read("MGET").args(chunk)).collect();
    let answers = server.transaction(deadline, &commands).await?;
    let mut values = Vec::with_capacity(keys.len());
    for (answer, chunk) in answers.into_iter().zip(chunks) {
        values.extend(reply::values(answer, chunk.len())?);
    }
    Ok(values)
}

/// Reads each key with its own MGET. Unlike GET, MGET reports a key of another type as missing.
pub(super) async fn get_each(cluster: &Arc<Cluster>, deadline: Deadline, keys: &[&str]) -> Outcome<Vec<Option<Bytes>>> {
    let commands: Vec<_> = keys.iter().map(|key| Command::read("MGET").arg(*key)).collect();
    let answers = cluster.all(deadline, keys, &commands).await?;
    let value = |answer| Ok(reply::values(answer, 1)?.pop().flatten());
    reply::all_accepted(answers)?.into_iter().map(value).collect()
}

/// Removes each key with its own UNLINK and returns the number of removed keys.
pub(super) async fn unlink_each<K: AsRef<[u8]> + Sync>(
    cluster: &Arc<Cluster>,
    deadline: Deadline,
    keys: &[K],
) -> Outcome<u64> {
    let commands: Vec<_> = keys
        .iter()
        .map(|key| Command::new("UNLINK").arg(key.as_ref()))
        .collect();
    let answers = reply::all_accepted(cluster.all(deadline, keys, &commands).await?)?;
    let counts = answers.into_iter().map(reply::flag);
    counts.map(|flag| flag.map(u64::from)).sum()
}

/// Returns the sum of the replies to the UNLINK commands for `keys` keys.
pub(super) fn removed(answers: Vec<Value>, keys: usize) -> Outcome<u64> {
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
