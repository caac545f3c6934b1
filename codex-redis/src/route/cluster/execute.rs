//! The dispatch of commands to the nodes until each command has its answer.

use std::{sync::Arc, time::Duration};

use codex_traits::ErrorKind;
use futures_util::future::join_all;
use redis::Value;
use tokio::time::{Instant, sleep};

use super::{Cluster, redirect::Redirect, slots::slot_of};
use crate::{
    config::settings::Address,
    connection::multiplexer::Deadline,
    observe,
    server::Server,
    wire::{
        Command, Failure, Request,
        error::{known_code, refused, server_error},
        request::Pick,
    },
};

/// The pauses before a command is sent again while no node can serve its slot.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
];

/// The number of redirections in a row that are followed without a pause. Two nodes that name each
/// other would redirect forever.
const HOPS: usize = 5;

/// The time reserved for sending a command again is the command timeout divided by this, and at
/// most [`LONGEST_RESERVE`]. With less time left, the refusal is the answer, because a command that
/// is sent and not answered may have been executed.
const RESERVE: u32 = 4;
const LONGEST_RESERVE: Duration = Duration::from_millis(250);

/// A command of a call, with the slot of its key.
pub(super) struct Part {
    slot: u16,
    next: Next,
    /// The last refusal of a node.
    refusal: Option<Value>,
}

/// The next destination of a command.
enum Next {
    /// To the node that serves its slot.
    Owner,
    Moved(Arc<Server<Address>>),
    Asked(Arc<Server<Address>>),
    /// To the node that serves its slot, after a pause.
    Later,
    /// To the node that serves its slot, if that is a different node by now. Otherwise the command
    /// fails with this failure.
    Elsewhere(Arc<Server<Address>>, Failure),
}

impl Part {
    pub(super) fn of(key: &[u8]) -> Self {
        Self {
            slot: slot_of(key),
            next: Next::Owner,
            refusal: None,
        }
    }

    pub(super) fn unreachable(&mut self, server: Arc<Server<Address>>, failure: Failure) {
        self.next = Next::Elsewhere(server, failure);
    }

    pub(super) fn redirect(&mut self, cluster: &Arc<Cluster>, redirect: Redirect, reply: Value) {
        self.refusal = Some(reply);
        self.next = match redirect {
            Redirect::Ask(address) => Next::Asked(cluster.named(address)),
            Redirect::Moved(address) => {
                cluster.refresh();
                Next::Moved(cluster.named(address))
            }
            Redirect::Later => {
                cluster.refresh();
                Next::Later
            }
        };
    }

    /// Returns the reason why the command is sent again.
    fn why(&self) -> Option<&'static str> {
        match &self.next {
            Next::Owner => None,
            Next::Elsewhere(..) => Some("not sent"),
            Next::Moved(_) | Next::Asked(_) | Next::Later => {
                let refusal = self.refusal.as_ref().and_then(server_error)?;
                Some(known_code(refusal.code()))
            }
        }
    }

    /// Returns the last refusal of a node. The command did not run.
    fn refused(&self) -> Option<Failure> {
        let error = server_error(self.refusal.as_ref()?)?;
        Some(match error.code() {
            "MOVED" => redirected("the nodes of the cluster redirect this slot to each other (MOVED)"),
            "ASK" => redirected("the nodes of the cluster redirect this slot to each other (ASK)"),
            _ => refused(error, true),
        })
    }

    /// Returns the failure of a command that is not sent again.
    fn unsent(&self, failure: Failure) -> Failure {
        self.refused().unwrap_or(failure)
    }
}

/// The commands that are sent to one node together.
struct Group {
    server: Arc<Server<Address>>,
    picks: Vec<Pick>,
}

impl Cluster {
    /// Sends each command to its node. Repeats a command that a node refused without running it,
    /// until the deadline.
    pub(super) async fn run(
        self: &Arc<Self>,
        deadline: Deadline,
        commands: &[Command<'_>],
        mut parts: Vec<Part>,
    ) -> Result<Vec<Value>, Failure> {
        let mut replies: Vec<Option<Value>> = parts.iter().map(|_| None).collect();
        for round in 0.. {
            if replies.iter().all(Option::is_some) {
                break;
            }
            if round > 0 {
                self.before_the_next(deadline, round, &parts, &replies)
                    .await
                    .map_err(|failure| in_part(failure, &replies))?;
            }
            let groups = self.grouped(deadline, &mut parts, &replies).await;
            let groups = groups.map_err(|failure| in_part(failure, &replies))?;
            let sent = groups.into_iter().map(|group| async move {
                let answer = group
                    .server
                    .request(deadline, Request::picked(commands, &group.picks))
                    .await;
                (group, answer)
            });
            let mut failed = None;
            for (group, answer) in join_all(sent).await {
                match answer {
                    Ok(answers) => {
                        let mut answers = answers.into_vec().into_iter();
                        for pick in &group.picks {
                            if pick.asking {
                                answers.next();
                            }
                            let (Some(reply), Some(part)) = (answers.next(), parts.get_mut(pick.at)) else {
                                return Err(Failure::unexpected());
                            };
                            match Redirect::of(&reply, group.server.place()) {
                                None => replies[pick.at] = Some(reply),
                                Some(redirect) => part.redirect(self, redirect, reply),
                            }
                        }
                    }
                    Err(failure) if !failure.may_have_executed() && failure.kind() != ErrorKind::Config => {
                        for pick in &group.picks {
                            parts[pick.at].unreachable(Arc::clone(&group.server), failure.clone());
                        }
                    }
                    Err(failure) => {
                        self.refresh();
                        failed = Some(failure);
                    }
                }
            }
            if let Some(failure) = failed {
                return Err(failure);
            }
        }
        let replies: Option<Vec<Value>> = replies.into_iter().collect();
        replies.ok_or_else(Failure::unexpected)
    }

    /// Returns the time until which commands are sent again.
    fn last_moment(&self, deadline: Deadline) -> Instant {
        let reserve = (self.settings.command_timeout / RESERVE).min(LONGEST_RESERVE);
        deadline.at.checked_sub(reserve).unwrap_or(deadline.at)
    }

    /// Pauses if a command has to wait. If no time is left to send refused commands again, fails
    /// with a refusal.
    async fn before_the_next(
        self: &Arc<Self>,
        deadline: Deadline,
        round: usize,
        parts: &[Part],
        replies: &[Option<Value>],
    ) -> Result<(), Failure> {
        let mut open = parts
            .iter()
            .zip(replies)
            .filter_map(|(part, reply)| reply.is_none().then_some(part));
        let is_waiting = open.clone().any(|part| matches!(part.next, Next::Later));
        let pause = if is_waiting || round >= HOPS {
            PAUSES[round.min(PAUSES.len()) - 1]
        } else {
            Duration::ZERO
        };
        if Instant::now() + pause < self.last_moment(deadline) {
            if !pause.is_zero() {
                sleep(pause).await;
            }
            return Ok(());
        }
        match open.find_map(Part::refused) {
            Some(refusal) => Err(refusal),
            // The commands were not sent. A refreshed map may help, and costs nothing.
            None => Ok(()),
        }
    }

    /// Returns the commands without an answer, grouped by their next node.
    async fn grouped(
        self: &Arc<Self>,
        deadline: Deadline,
        parts: &mut [Part],
        replies: &[Option<Value>],
    ) -> Result<Vec<Group>, Failure> {
        let mut map = self.map();
        let is_lost = |(part, reply): (&Part, &Option<Value>)| match &part.next {
            _ if reply.is_some() => false,
            Next::Elsewhere(server, _) => map
                .owner(part.slot)
                .is_none_or(|master| Arc::ptr_eq(&master.server, server)),
            Next::Moved(_) | Next::Asked(_) => false,
            Next::Owner | Next::Later => map.owner(part.slot).is_none(),
        };
        if parts.iter().zip(replies).any(is_lost) {
            self.refreshed(Deadline {
                at: self.last_moment(deadline),
                ..deadline
            })
            .await;
            map = self.map();
        }
        let mut groups: Vec<Group> = Vec::new();
        for (at, part) in parts.iter_mut().enumerate() {
            if replies[at].is_some() {
                continue;
            }
            let owner = map.owner(part.slot).map(|master| &master.server);
            let server = match (&part.next, owner) {
                (Next::Moved(server) | Next::Asked(server), _) => server,
                (Next::Elsewhere(server, _), Some(owner)) if !Arc::ptr_eq(server, owner) => owner,
                (Next::Elsewhere(_, failure), _) => return Err(part.unsent(failure.clone())),
                (Next::Owner | Next::Later, Some(owner)) => owner,
                (Next::Owner | Next::Later, None) => return Err(part.unsent(nobody())),
            };
            let known = groups.iter().position(|group| Arc::ptr_eq(&group.server, server));
            let place = known.unwrap_or_else(|| {
                groups.push(Group {
                    server: Arc::clone(server),
                    picks: Vec::new(),
                });
                groups.len() - 1
            });
            if let Some(reason) = part.why() {
                observe::sent_again(deadline.verb, reason);
            }
            groups[place].picks.push(Pick {
                at,
                asking: matches!(part.next, Next::Asked(_)),
            });
        }
        Ok(groups)
    }
}

/// Returns the failure of a slot that no node is known to serve.
pub(super) fn nobody() -> Failure {
    Failure::new(ErrorKind::Server, "no node of the cluster serves this slot")
        .not_executed()
        .retryable()
}

fn redirected(message: &'static str) -> Failure {
    Failure::new(ErrorKind::Server, message).not_executed().retryable()
}

/// Returns the failure of a call. It says so if other parts of the call were executed.
fn in_part(failure: Failure, replies: &[Option<Value>]) -> Failure {
    let ran = |reply: &Option<Value>| reply.as_ref().is_some_and(|reply| server_error(reply).is_none());
    if failure.may_have_executed() || !replies.iter().any(ran) {
        return failure;
    }
    Failure::new(
        failure.kind(),
        "a node of the cluster could not be reached; the other nodes may have executed their parts",
    )
}
