//! Commands on their way to the nodes, until each has its answer.

use std::{sync::Arc, time::Duration};

use codex_traits::{Error, ErrorKind, Result};
use futures_util::future::join_all;
use redis::{Cmd, Pipeline, Value, cmd};
use tokio::time::{Instant, sleep};

use super::{Cluster, address_of, redirect::Redirect, slots::slot_of};
use crate::{
    observe,
    server::server::{Node, server_error},
};

/// The pauses while a cluster can serve a slot neither here nor there.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
];

/// Redirections in a row that are followed at once. Two nodes that name each other would go on for ever.
const HOPS: usize = 5;

/// A command on one key.
pub(crate) struct Part<'a> {
    slot: u16,
    command: std::borrow::Cow<'a, Cmd>,
    next: Next,
}

/// Where a command goes next.
enum Next {
    /// To whoever serves its slot.
    Owner,
    Moved(Arc<Node>),
    Asked(Arc<Node>),
    /// To whoever serves its slot, after a pause; or else this is its answer.
    Later(Value),
    /// To whoever serves its slot, if that is another one by now; or else this is its error.
    Elsewhere(Arc<Node>, Error),
}

impl Next {
    /// Why it is sent again.
    fn why(&self) -> Option<&'static str> {
        match self {
            Self::Owner => None,
            Self::Moved(_) => Some("MOVED"),
            Self::Asked(_) => Some("ASK"),
            Self::Later(refusal) => server_error(refusal).map(|error| observe::known_code(error.code())),
            Self::Elsewhere(..) => Some("not sent"),
        }
    }
}

impl<'a> Part<'a> {
    pub(crate) fn new(key: &str, command: &'a Cmd) -> Self {
        Self {
            slot: slot_of(key.as_bytes()),
            command: std::borrow::Cow::Borrowed(command),
            next: Next::Owner,
        }
    }

    pub(crate) fn owned(key: &str, command: Cmd) -> Self {
        Self {
            slot: slot_of(key.as_bytes()),
            command: std::borrow::Cow::Owned(command),
            next: Next::Owner,
        }
    }

    pub(super) fn redirected(mut self, cluster: &Arc<Cluster>, redirect: Redirect, reply: Value) -> Self {
        self.redirect(cluster, redirect, reply);
        self
    }

    pub(super) fn unreachable(mut self, node: Arc<Node>, error: Error) -> Self {
        self.next = Next::Elsewhere(node, error);
        self
    }

    fn redirect(&mut self, cluster: &Arc<Cluster>, redirect: Redirect, reply: Value) {
        self.next = match redirect {
            Redirect::Ask(address) => Next::Asked(cluster.named(address)),
            Redirect::Moved(address) => {
                cluster.refresh();
                Next::Moved(cluster.named(address))
            }
            Redirect::Later => {
                cluster.refresh();
                Next::Later(reply)
            }
        };
    }
}

/// What is sent to one node together.
struct Group {
    node: Arc<Node>,
    pipeline: Pipeline,
    /// Which part each reply is for; `None` for the reply to ASKING.
    replies: Vec<Option<usize>>,
}

impl Group {
    fn add(&mut self, at: usize, part: &Part<'_>) {
        if matches!(part.next, Next::Asked(_)) {
            self.pipeline.add_command(cmd("ASKING"));
            self.replies.push(None);
        }
        self.pipeline.add_command(part.command.clone().into_owned());
        self.replies.push(Some(at));
    }
}

impl Cluster {
    /// Sends each part where it goes, again and again where a node has refused it without running it, until the deadline.
    pub(super) async fn run(
        self: &Arc<Self>,
        operation: &'static str,
        deadline: Instant,
        mut parts: Vec<Part<'_>>,
    ) -> Result<Vec<Value>> {
        let mut replies: Vec<Option<Value>> = parts.iter().map(|_| None).collect();
        for round in 0.. {
            if round > 0 {
                self.before_the_next(operation, deadline, round, &parts, &mut replies)
                    .await?;
            }
            let groups = self.grouped(operation, deadline, &mut parts, &replies).await;
            let groups = groups.map_err(|error| in_part(operation, error, &replies))?;
            if groups.is_empty() {
                break;
            }
            let sent = groups.into_iter().map(|group| async move {
                let answer = group.node.pipeline(operation, deadline, &group.pipeline).await;
                (group.node, group.replies, answer)
            });
            let mut failure = None;
            for (node, places, answer) in join_all(sent).await {
                match answer {
                    Ok(answers) => {
                        for (place, reply) in places.into_iter().zip(answers) {
                            let Some(at) = place else { continue };
                            match Redirect::of(&reply, address_of(&node)) {
                                None => replies[at] = Some(reply),
                                Some(redirect) => parts[at].redirect(self, redirect, reply),
                            }
                        }
                    }
                    Err(error) if !error.may_have_executed() && error.kind() != ErrorKind::Config => {
                        for at in places.into_iter().flatten() {
                            let copy = Error::new(error.kind(), operation, "the node could not be reached");
                            parts[at].next = Next::Elsewhere(Arc::clone(&node), copy.not_executed());
                        }
                    }
                    Err(error) => {
                        self.refresh();
                        failure = Some(error);
                    }
                }
            }
            if let Some(failure) = failure {
                return Err(failure);
            }
        }
        let replies: Option<Vec<Value>> = replies.into_iter().collect();
        replies.ok_or_else(|| crate::wire::error::unexpected(operation))
    }

    /// Waits where that helps. What is refused at the deadline has its answer with that.
    async fn before_the_next(
        self: &Arc<Self>,
        operation: &'static str,
        deadline: Instant,
        round: usize,
        parts: &[Part<'_>],
        replies: &mut [Option<Value>],
    ) -> Result<()> {
        let open = || parts.iter().enumerate();
        let waiting = open().any(|(at, part)| replies[at].is_none() && matches!(part.next, Next::Later(_)));
        if !waiting && round < HOPS {
            return Ok(());
        }
        let pause = PAUSES[round.min(PAUSES.len()) - 1];
        if Instant::now() + pause < deadline {
            sleep(pause).await;
            return Ok(());
        }
        for (at, part) in parts.iter().enumerate() {
            if replies[at].is_none() {
                match &part.next {
                    Next::Later(refusal) => replies[at] = Some(refusal.clone()),
                    _ => return Err(in_part(operation, too_many_hops(operation), replies)),
                }
            }
        }
        Ok(())
    }

    /// The parts without an answer, by the node that they go to next.
    async fn grouped(
        self: &Arc<Self>,
        operation: &'static str,
        deadline: Instant,
        parts: &mut [Part<'_>],
        replies: &[Option<Value>],
    ) -> Result<Vec<Group>> {
        let mut map = self.map();
        let lost = |at: usize, part: &Part<'_>| match &part.next {
            _ if replies[at].is_some() => false,
            Next::Elsewhere(node, _) => map
                .owner(part.slot)
                .is_none_or(|master| Arc::ptr_eq(&master.node, node)),
            Next::Moved(_) | Next::Asked(_) => false,
            Next::Owner | Next::Later(_) => map.owner(part.slot).is_none(),
        };
        if parts.iter().enumerate().any(|(at, part)| lost(at, part)) {
            self.refreshed(deadline).await;
            map = self.map();
        }
        let mut groups: Vec<Group> = Vec::new();
        for (at, part) in parts.iter_mut().enumerate() {
            if replies[at].is_some() {
                continue;
            }
            let owner = map.owner(part.slot).map(|master| Arc::clone(&master.node));
            let node = match (&part.next, owner) {
                (Next::Moved(node) | Next::Asked(node), _) => Arc::clone(node),
                (Next::Elsewhere(node, _), Some(owner)) if !Arc::ptr_eq(node, &owner) => owner,
                (Next::Elsewhere(..), _) => {
                    return Err(match std::mem::replace(&mut part.next, Next::Owner) {
                        Next::Elsewhere(_, error) => error,
                        _ => nobody(operation),
                    });
                }
                (Next::Owner | Next::Later(_), Some(owner)) => owner,
                (Next::Owner | Next::Later(_), None) => return Err(nobody(operation)),
            };
            let known = groups.iter().position(|group| Arc::ptr_eq(&group.node, &node));
            let place = known.unwrap_or_else(|| {
                groups.push(Group {
                    node,
                    pipeline: Pipeline::new(),
                    replies: Vec::new(),
                });
                groups.len() - 1
            });
            if let Some(reason) = part.next.why() {
                observe::sent_again(operation, reason);
            }
            groups[place].add(at, part);
        }
        Ok(groups)
    }
}

/// No node serves the slot, as far as is known.
pub(super) fn nobody(operation: &'static str) -> Error {
    Error::new(ErrorKind::Server, operation, "no node of the cluster serves this slot")
        .not_executed()
        .retryable()
}

fn too_many_hops(operation: &'static str) -> Error {
    Error::new(
        ErrorKind::Server,
        operation,
        "the nodes of the cluster name each other for this slot",
    )
    .not_executed()
    .retryable()
}

/// The error of a call of which other parts may have been carried out.
fn in_part(operation: &'static str, error: Error, replies: &[Option<Value>]) -> Error {
    let ran = |reply: &Option<Value>| {
        reply
            .as_ref()
            .is_some_and(|reply| !matches!(reply, Value::ServerError(_)))
    };
    if error.may_have_executed() || !replies.iter().any(ran) {
        return error;
    }
    Error::new(
        error.kind(),
        operation,
        "a node of the cluster could not be asked; the part for the others is carried out",
    )
}
