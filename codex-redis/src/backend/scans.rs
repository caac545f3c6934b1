//! Scans, and the deletion of all keys that match a pattern.

use std::sync::Arc;

use codex_traits::{Cursor, Pattern, ScanPage, ScanRequest};

use super::{Outcome, many};
use crate::{
    commands,
    connection::multiplexer::Deadline,
    route::{Router, Standalone, cluster::Cluster, scan},
    wire::{Failure, reply},
};

/// The maximum number of keys that one page examines, even if the hint is larger. The server runs
/// no other command in the meantime.
pub(super) const LARGEST_PAGE: usize = 10_000;

/// The number of keys that `del_matching` examines in one round trip. With 1000, a concurrent
/// reader sometimes waited 2 ms.
const DELETED_PAGE: usize = 500;

/// Returns one page of a scan of one server.
pub(super) async fn page(
    server: &Standalone,
    deadline: Deadline,
    request: &ScanRequest<'_>,
    count: usize,
) -> Outcome<ScanPage> {
    let cursor = read_cursor(&request.cursor)?;
    let answer = server.command(deadline, &scan(cursor, request.pattern, count)).await?;
    let (next, keys) = reply::page(answer, cursor)?;
    let next = match next {
        0 => None,
        next => Some(Cursor::new(next.to_string()).map_err(|_| Failure::unexpected())?),
    };
    Ok(ScanPage::new(keys, next))
}

/// Deletes the matching keys of one server.
pub(super) async fn delete(router: &Router, server: &Standalone, pattern: &Pattern) -> Outcome<u64> {
    let mut removed_in_all = 0_u64;
    let mut found: Vec<String> = Vec::new();
    let mut cursor = Some(0);
    let mut circle = Circle::default();
    while cursor.is_some() || !found.is_empty() {
        let mut batch = commands::unlink(&found);
        if let Some(cursor) = cursor {
            batch.push(scan(cursor, pattern, DELETED_PAGE));
        }
        let answers = server.all(router.deadline("del_matching"), &batch).await?;
        drop(batch);
        let mut answers = reply::all_accepted(answers)?;
        let page = match cursor {
            Some(asked) => Some(reply::page(answers.pop().unwrap_or_default(), asked)?),
            None => None,
        };
        removed_in_all = removed_in_all.saturating_add(many::removed(answers, found.len())?);
        (cursor, found) = match page {
            Some((0, keys)) => (None, keys),
            Some((next, keys)) => {
                circle.check(&next)?;
                (Some(next), keys)
            }
            None => (None, Vec::new()),
        };
    }
    Ok(removed_in_all)
}

/// Deletes the matching keys of a cluster.
pub(super) async fn delete_on_cluster(router: &Router, cluster: &Arc<Cluster>, pattern: &Pattern) -> Outcome<u64> {
    let mut removed_in_all = 0_u64;
    let mut cursor = Cursor::start();
    let mut circle = Circle::default();
    loop {
        let deadline = router.deadline("del_matching");
        let page = cluster.scan(deadline, &cursor, pattern, DELETED_PAGE).await?;
        let removed = many::unlink_each(cluster, deadline, &page.keys).await?;
        removed_in_all = removed_in_all.saturating_add(removed);
        match page.next {
            Some(next) => {
                circle.check(&next)?;
                cursor = next;
            }
            None => return Ok(removed_in_all),
        }
    }
}

/// A detector of endless scans, by Brent's cycle-finding algorithm. A server walks its table in one
/// direction, so a correct server never repeats a cursor.
struct Circle<T> {
    saved: Option<T>,
    steps: u64,
    limit: u64,
}

impl<T> Default for Circle<T> {
    fn default() -> Self {
        Self {
            saved: None,
            steps: 0,
            limit: 1,
        }
    }
}

impl<T: Clone + PartialEq> Circle<T> {
    /// Records the next cursor. Fails once the cursors are found to repeat.
    fn check(&mut self, cursor: &T) -> Outcome<()> {
        if self.saved.as_ref() == Some(cursor) {
            return Err(Failure::endless_scan());
        }
        self.steps += 1;
        if self.steps == self.limit {
            self.saved = Some(cursor.clone());
            self.steps = 0;
            self.limit = self.limit.saturating_mul(2);
        }
        Ok(())
    }
}

/// Parses the cursor of an earlier page. Redis's cursor 0 is both the beginning and the end, so a
/// page never returns it.
fn read_cursor(cursor: &Cursor) -> Outcome<u64> {
    if cursor.is_start() {
        return Ok(0);
    }
    reply::cursor_of(cursor.as_str())
        .filter(|number| *number != 0)
        .ok_or_else(Failure::unreadable_cursor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_is_found_within_a_few_rounds_of_it() {
        for (before, round) in [(0, 1), (0, 2), (3, 1), (7, 5), (100, 1000)] {
            let mut circle = Circle::default();
            let cursors = (0..before).chain((before..before + round).cycle());
            let found = cursors
                .take(4 * (before + round))
                .position(|cursor| circle.check(&cursor).is_err());
            assert!(found.is_some(), "{before} cursors, then {round} in a circle");
        }
        let mut circle = Circle::default();
        assert!((0..100_000).all(|cursor| circle.check(&cursor).is_ok()));
    }
}
