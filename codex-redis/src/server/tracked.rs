//! The tracked connection to a server. It carries reads of keys whose changes the server pushes,
//! and proofs that the server still does so.
//!
//! All runtimes share one tracked connection at a time, because the pushes of two connections would
//! have no defined order. The runtime that opens the connection drives it. A call on another
//! runtime that does not get its answer soon tests whether that runtime is being driven, and ends
//! the connection if it is not.

use std::{
    fmt,
    sync::{
        Arc, PoisonError, RwLock, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use codex_traits::{ErrorKind, NodeId, TrackingListener};
use redis::Value;
use tokio::{
    runtime::Handle,
    sync::watch,
    time::{Instant, timeout_at},
};

use super::{
    Server,
    locate::Locate,
    other_runtime::from_another_runtime,
    server::{answered, failed},
    tracked_checks as checks,
    tracked_pushes::{Pushes, Watching},
};
use crate::{
    config::settings::{RespVersion, Settings},
    connection::{
        connect::{Connection, ask, open},
        failure::{DialError, Lost, catch_panic},
        multiplexer::{Answering, Deadline},
    },
    observe::{Name, Outcome, RoundTrip},
    wire::{Command, Failure, Request, reply::Replies},
};

/// The number of attempts to check the canary if the server is emptied meanwhile.
const CANARY_ATTEMPTS: u32 = 5;

/// A function that makes a canary: a key that is read, written and seen to be pushed before a
/// connection is used. Returns `None` if the server serves no slots.
pub(crate) type Canary = Box<dyn Fn() -> Option<String> + Send + Sync>;

/// The tracked connection to one server.
pub(crate) struct Tracked<L: Locate> {
    server: Arc<Server<L>>,
    node: NodeId,
    canary: Canary,
    is_cluster: bool,
    settings: Settings,
    listener: Arc<dyn TrackingListener>,
    state: RwLock<State>,
    /// The number of attempts to open a connection.
    attempts: AtomicU64,
}

#[derive(Debug)]
enum State {
    Closed {
        /// No attempt is made before this.
        until: Instant,
        failures: u32,
    },
    Opening {
        number: u64,
        /// After this, another runtime may try.
        until: Instant,
        failures: u32,
        outcome: Opened,
    },
    Open(Arc<Session>),
    /// The feed was dropped.
    Ended,
}

/// The outcome of an attempt, or `None` while it is in progress.
type Opened = watch::Receiver<Option<Result<(), DialError>>>;

/// A connection that has passed the checks.
#[derive(Debug)]
struct Session {
    connection: Connection,
    runtime: Handle,
    identity: checks::Identity,
    /// The number of stalled connections to the server before this one was opened.
    stalls: u64,
}

/// A reply on the tracked connection, or the reason why the read has none.
pub(crate) enum Read {
    Answered(Replies),
    /// The connection is open and did not answer in time.
    Failed(Failure),
    /// There was no answer. The read can be sent over another connection.
    Elsewhere,
}

impl<L: Locate> Tracked<L> {
    pub(crate) fn new(
        server: Arc<Server<L>>,
        node: NodeId,
        canary: Canary,
        is_cluster: bool,
        listener: Arc<dyn TrackingListener>,
    ) -> Self {
        let settings = Settings {
            resp: RespVersion::Resp3,
            ..server.settings().clone()
        };
        Self {
            server,
            node,
            canary,
            is_cluster,
            settings,
            listener,
            state: RwLock::new(State::Closed {
                until: Instant::now(),
                failures: 0,
            }),
            attempts: AtomicU64::new(0),
        }
    }

    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    pub(crate) fn server(&self) -> &Arc<Server<L>> {
        &self.server
    }

    fn state(&self) -> RwLockWriteGuard<'_, State> {
        // Every change is one assignment, so a panic elsewhere leaves no partial change.
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the connection. A failure has the kind for the call that builds a handle.
    pub(crate) async fn connect(self: &Arc<Self>) -> Result<(), Failure> {
        let Some(mut opened) = self.open() else {
            return Ok(());
        };
        let outcome = opened.wait_for(Option::is_some).await;
        match outcome.as_deref() {
            Ok(Some(outcome)) => outcome.clone().map_err(DialError::into_connect_failure),
            _ => Err(DialError::late(checks::NOT_OPENED).into_connect_failure()),
        }
    }

    /// Opens the connection in the background if it is not open and an attempt is due. Returns
    /// `None` if it is open or may not be opened now.
    fn open(self: &Arc<Self>) -> Option<Opened> {
        let runtime = Handle::try_current().ok()?;
        let mut state = self.state();
        let now = Instant::now();
        let failures = match &*state {
            State::Open(session) if !session.connection.multiplexer().is_closed() => return None,
            State::Open(_) => 0,
            State::Closed { until, .. } if now < *until => return None,
            // An attempt that was dropped with its runtime has no sender any more. An attempt on a
            // runtime that is not driven takes too long.
            State::Opening { until, outcome, .. } if now < *until && outcome.has_changed().is_ok() => {
                return Some(outcome.clone());
            }
            State::Closed { failures, .. } | State::Opening { failures, .. } => *failures,
            State::Ended => return None,
        };
        let number = self.attempts.fetch_add(1, Ordering::Relaxed);
        let (sender, outcome) = watch::channel(None);
        *state = State::Opening {
            number,
            // Leaves time for the dial and the checks after it.
            until: now + self.settings.connect_timeout.saturating_mul(2),
            failures,
            outcome: outcome.clone(),
        };
        // Notify with the state locked, so that no other attempt is announced in between.
        self.listener.opening(self.node);
        drop(state);
        let tracked = Arc::clone(self);
        let driver = runtime.clone();
        runtime.spawn(async move {
            let opened = Box::pin(catch_panic(tracked.dial(driver))).await;
            let _ = sender.send(Some(tracked.settle(number, failures, opened)));
        });
        Some(outcome)
    }

    fn settle(&self, number: u64, failures: u32, opened: Result<Session, DialError>) -> Result<(), DialError> {
        let mut state = self.state();
        if !matches!(&*state, State::Opening { number: current, .. } if *current == number) {
            return Err(DialError::late(checks::NOT_OPENED));
        }
        match opened {
            Ok(session) => {
                self.listener.opened(self.node);
                *state = State::Open(Arc::new(session));
                Ok(())
            }
            Err(error) => {
                tracing::debug!(server = ?self.server.place(), error = error.message, "no tracked connection");
                let pause = self.settings.backoff_min.saturating_mul(1 << failures.min(16));
                let longest = self.server.place().longest_pause(&self.settings);
                *state = State::Closed {
                    until: Instant::now() + pause.min(longest),
                    failures: failures.saturating_add(1),
                };
                Err(error)
            }
        }
    }

    /// Opens a connection and checks that it tracks.
    async fn dial(&self, runtime: Handle) -> Result<Session, DialError> {
        let stalls = self.server.stalls().count();
        let deadline = Instant::now() + self.settings.connect_timeout;
        let address = match self.server.place().fixed() {
            Some(address) => address.clone(),
            None => self.server.place().locate().await?,
        };
        let canary = (self.canary)().ok_or_else(checks::no_slots)?;
        let pushes = Arc::new(Pushes {
            node: self.node,
            address: address.clone(),
            canary: canary.clone(),
            has_seen_canary: AtomicBool::new(false),
            was_flushed: AtomicBool::new(false),
            listener: Arc::clone(&self.listener),
            stalls: self.server.stalls().clone(),
        });
        let watch = Box::new(Watching(Arc::clone(&pushes)));
        let connection = open(&address, &self.settings, deadline, watch)
            .await
            .map_err(checks::not_connected)?;
        let questions = checks::opening(self.is_cluster);
        let replies = ask(&connection, &questions, &self.settings).await?;
        let identity = checks::opened(&replies, self.is_cluster)?;
        for _ in 0..CANARY_ATTEMPTS {
            pushes.was_flushed.store(false, Ordering::Release);
            // The commands of a read, so that a missing right is found now.
            let read = [Command::read("GET").arg(&canary), Command::read("PTTL").arg(&canary)];
            checks::canary_read(&ask(&connection, &read, &self.settings).await?)?;
            self.write_canary(&canary, deadline).await?;
            // The push comes before the reply to any request after the write.
            let proof = ask(&connection, &checks::proof(self.is_cluster), &self.settings).await?;
            checks::proven(&proof, self.is_cluster, &identity)?;
            if pushes.has_seen_canary.load(Ordering::Acquire) {
                return Ok(Session {
                    connection,
                    runtime,
                    identity,
                    stalls,
                });
            }
            // After a FLUSHDB in between, the server has forgotten the read and pushes no key.
            if !pushes.was_flushed.load(Ordering::Acquire) {
                return Err(checks::no_push());
            }
        }
        Err(checks::flushed_too_often())
    }

    /// Writes the canary over an ordinary connection.
    async fn write_canary(&self, canary: &str, at: Instant) -> Result<(), DialError> {
        let deadline = Deadline {
            at,
            latest: at,
            verb: "connect",
        };
        // Removed in the same transaction, so that no other client sees it.
        let commands = [
            Command::new("SET").arg(canary).arg("").arg("PX").arg(1000_u64),
            Command::new("UNLINK").arg(canary),
        ];
        let write = || Box::pin(self.server.write_aside(deadline, Request::transaction(&commands)));
        let written = match write().await {
            // An idle connection may have been closed meanwhile.
            Err(failure) if failure.kind() == ErrorKind::Connection => write().await,
            written => written,
        };
        let replies = written.map_err(|failure| checks::canary_not_written(&failure))?;
        checks::canary_written(replies.as_slice())
    }

    /// Returns the connection, if it is open, leads to the current server, and no other connection
    /// has stalled since it was opened. Opens a connection if there is none.
    fn session(self: &Arc<Self>) -> Option<Arc<Session>> {
        // Every read takes this lock, so it is a shared lock.
        let open = match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Open(session) if !session.connection.multiplexer().is_closed() => Some(Arc::clone(session)),
            _ => None,
        };
        let Some(session) = open else {
            self.open();
            return None;
        };
        // A firewall or a fail-over that silently cut another connection has cut this connection
        // too, and opening a connection costs less than finding out.
        let is_doubtful = self.server.stalls().count() != session.stalls;
        if self.server.place().is_at(session.connection.address()) && !is_doubtful {
            return Some(session);
        }
        self.leave(&session);
        self.open();
        None
    }

    /// Abandons this connection. Everything that was read over it is invalidated before the next
    /// connection is opened.
    fn leave(&self, session: &Arc<Session>) {
        let mut state = self.state();
        if matches!(&*state, State::Open(current) if Arc::ptr_eq(current, session)) {
            session.connection.multiplexer().stop();
            *state = State::Closed {
                until: Instant::now(),
                failures: 0,
            };
        }
    }

    /// Ends the connection for good.
    pub(crate) fn end(&self) {
        let before = std::mem::replace(&mut *self.state(), State::Ended);
        if let State::Open(session) = before {
            session.connection.multiplexer().stop();
        }
    }

    /// Sends a read over the tracked connection. Returns `None` if the connection does not accept
    /// it.
    ///
    /// The request is not needed afterwards, so the future that waits for the answer need not hold
    /// its commands.
    pub(crate) fn send(self: &Arc<Self>, deadline: Deadline, request: &Request<'_, '_>) -> Option<Sent<'_, L>> {
        let session = self.session()?;
        // Behind a large reply, a small read would wait too long, and count as a sign of a stall.
        if session.connection.multiplexer().is_clogged() {
            return None;
        }
        let name = request.name();
        let mut seen = RoundTrip::begin(self.settings.database, || name);
        seen.address(|| session.connection.address().parts());
        let Ok(answer) = session.connection.multiplexer().send(request, None, deadline) else {
            seen.end(deadline.verb, ELSEWHERE, || name, &self.server.slow());
            return None;
        };
        seen.sent(Instant::now());
        Some(Sent {
            tracked: self,
            session,
            seen,
            name,
            deadline,
            answer,
        })
    }

    /// Proves that the connection is alive, tracks, leads to the current server, and may still read
    /// `key`. Abandons a connection that fails the proof, but not one that is late because it
    /// transfers a large reply. Returns the reply to a read of the key's time to live.
    pub(crate) async fn prove(
        self: &Arc<Self>,
        deadline: Deadline,
        key: Option<&str>,
    ) -> Result<Option<Value>, Failure> {
        let Some(session) = self.session() else {
            return Err(checks::not_open());
        };
        if session.connection.multiplexer().is_clogged() {
            return Err(checks::busy());
        }
        let proof = self.proof(&session, deadline, key).await;
        if let Err(error) = &proof
            // The end of the connection would cut the large reply behind which the proof waits.
            && !(error.is_late() && session.connection.multiplexer().is_clogged())
        {
            self.leave(&session);
        }
        proof.map_err(DialError::into_failure)
    }

    async fn proof(
        &self,
        session: &Session,
        deadline: Deadline,
        key: Option<&str>,
    ) -> Result<Option<Value>, DialError> {
        let mut questions = checks::proof(self.is_cluster);
        questions.extend(key.map(|key| Command::read("PTTL").arg(key)));
        let request = Request::all(&questions);
        let asked = async {
            let answer = session.connection.multiplexer().send(&request, None, deadline)?;
            // The runtime that drives the connection also enforces the deadline, if it is being
            // driven.
            match timeout_at(deadline.at, answer).await {
                Ok(Ok(Ok(answer))) => Ok(answer.into_replies().into_vec()),
                Ok(Ok(Err(Lost::Late))) | Err(_) => Err(DialError::late(checks::NO_PROOF)),
                Ok(_) => Err(DialError::unreachable(checks::NOT_OPENED)),
            }
        };
        let place = self.server.place();
        let located = async {
            if place.fixed().is_some() {
                return Ok(());
            }
            let address = place.locate().await?;
            if address == *session.connection.address() {
                Ok(())
            } else {
                Err(checks::moved())
            }
        };
        let (mut replies, ()) = futures_util::future::try_join(asked, located).await?;
        let left = if key.is_some() { replies.pop() } else { None };
        checks::proven(&replies, self.is_cluster, &session.identity)?;
        checks::readable(left.as_ref())?;
        Ok(left)
    }
}

/// The outcome of a read that another connection must answer.
const ELSEWHERE: Outcome = Outcome {
    error: Some("connection"),
    code: None,
};

/// A read that was sent over the tracked connection.
pub(crate) struct Sent<'a, L: Locate> {
    tracked: &'a Tracked<L>,
    session: Arc<Session>,
    seen: RoundTrip,
    name: Name,
    deadline: Deadline,
    answer: Answering,
}

impl<L: Locate> Sent<'_, L> {
    /// Waits for the answer.
    pub(crate) async fn answer(self) -> Read {
        let Self {
            tracked,
            session,
            mut seen,
            name,
            deadline,
            answer,
        } = self;
        let is_foreign = Handle::try_current().is_ok_and(|handle| handle.id() != session.runtime.id());
        let answer = if is_foreign {
            let answer = Box::pin(from_another_runtime(&session.runtime, deadline, answer)).await;
            if answer.is_none() {
                tracked.leave(&session);
            }
            answer
        } else {
            Some(answer.await)
        };
        let read = match answer {
            Some(Ok(Ok(answer))) => {
                seen.answered(answer.at());
                Read::Answered(answer.into_replies())
            }
            Some(Ok(Err(lost @ Lost::Late))) => Read::Failed(lost.into()),
            Some(Ok(Err(Lost::Broken { .. })) | Err(_)) | None => Read::Elsewhere,
        };
        let outcome = match &read {
            Read::Answered(replies) => answered(replies),
            Read::Failed(failure) => failed(failure),
            Read::Elsewhere => ELSEWHERE,
        };
        seen.end(deadline.verb, outcome, || name, &tracked.server.slow());
        read
    }
}

impl<L: Locate> fmt::Debug for Tracked<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.server.place().fmt(f)
    }
}

impl<L: Locate> Drop for Tracked<L> {
    fn drop(&mut self) {
        self.end();
    }
}
