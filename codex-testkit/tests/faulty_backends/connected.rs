//! An in-process model of a client with a single connection to its store. It models how calls wait
//! and when the client abandons the connection, with the faults that such clients have.

use std::{
    future::{Future, pending},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use codex_memory::{ManualClock, MemoryBackend};
use codex_testkit::{
    Breaker, Harness, Outage, OutageKind, Time, VirtualTime,
    doubles::{Intercepted, Interceptor, Reply, Request, Verb},
};
use codex_traits::{Error, ErrorKind, Result};
use futures_util::future::BoxFuture;
use tokio::{
    runtime::Handle,
    sync::watch,
    time::{Instant, sleep, timeout_at},
};

use super::keyspace::lock;

macro_rules! connection_faults {
    ($($fault:ident $clause:ident $text:literal)*) => {
        /// A fault of the client.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum ConnectionFault {
            $($fault,)*
        }

        /// Each fault, the clause that it must fail, and its description.
        pub(crate) const ALL: &[(ConnectionFault, &str, &str)] =
            &[$((ConnectionFault::$fault, stringify!($clause), $text),)*];

        /// Calls `$callback!` with every fault.
        #[allow(unused_macros, reason = "one test uses it")]
        macro_rules! every_connection_fault {
            ($callback:ident) => { $callback! { $($fault $clause)* } };
        }
    };
}

connection_faults! {
    HealthAsksNothing life_11 "health is Ok without a request to the store"
    HealthHasNoDeadline life_11 "health waits until a stalled store resumes"
    HealthIsStale life_11 "health repeats its first result"
    OnlyCallersLeave life_12 "a dead connection is abandoned only if a caller waits out its deadline"
    DroppedCallsKeepTheirTurn life_12 "a dropped call never releases its turn"
    DeadlineBeginsWithTheTurn life_13 "a deadline begins only when the previous call has been written"
    AnyFrameIsProgress life_13 "an unrelated frame extends every deadline"
    FloodIsReadAtOnce life_13 "frames are read without yielding as long as any arrive"
    RepliesAreUnbounded life_14 "a reply of any length is read"
    LongReplyIsCut life_14 "a reply that is too long is truncated and returned"
    DrivenByTheFirstRuntime life_15 "a connection is driven by the runtime that created it"
}

#[allow(
    unused_imports,
    clippy::single_component_path_imports,
    reason = "one test uses the macro, by this path"
)]
pub(crate) use every_connection_fault;

const DEADLINE: Duration = Duration::from_millis(100);

/// The deadline of a write that the socket buffer cannot hold.
const LARGE_DEADLINE: Duration = Duration::from_secs(20);

const SOCKET_BUFFER: usize = 1 << 20;
const MAX_REPLY_BYTES: u64 = 1 << 20;
const MOST_CALLS: usize = 1024;

/// The network to the store, with its current outage.
#[derive(Debug, Default)]
struct Line {
    outage: watch::Sender<Option<OutageKind>>,
    flooded: AtomicU64,
}

impl Line {
    fn outage(&self) -> Option<OutageKind> {
        *self.outage.borrow()
    }

    async fn is_repaired(&self) {
        let mut changes = self.outage.subscribe();
        if changes.wait_for(Option::is_none).await.is_err() {
            pending::<()>().await;
        }
    }
}

/// The current connection of a client.
#[derive(Debug, Default, Clone, Copy)]
struct Connection {
    is_dead: bool,
    /// The time at which the oldest unanswered request was sent.
    unanswered_since: Option<Instant>,
}

#[derive(Debug)]
struct Client {
    fault: Option<ConnectionFault>,
    line: Arc<Line>,
    connection: Mutex<Connection>,
    writing: tokio::sync::Mutex<()>,
    calls: AtomicUsize,
    home: Option<Handle>,
    healthy: Mutex<Option<bool>>,
}

impl Client {
    fn has(&self, fault: ConnectionFault) -> bool {
        self.fault == Some(fault)
    }

    fn reconnect(&self) {
        *lock(&self.connection) = Connection::default();
    }

    /// Waits until the request is answered.
    async fn exchange(&self, verb: Verb, bytes: usize) -> Result<()> {
        let operation = verb.name();
        let failed = |kind, message| Err(Error::new(kind, operation, message));
        let patience = if bytes > SOCKET_BUFFER {
            LARGE_DEADLINE
        } else {
            DEADLINE
        };
        let mut deadline = Instant::now() + patience;
        let timed_out = || {
            self.reconnect();
            failed(ErrorKind::Timeout, "no answer in time")
        };
        if self.line.outage() == Some(OutageKind::Refused) {
            return Err(Error::new(ErrorKind::Connection, operation, "connection refused").not_executed());
        }
        let is_dead = self.send();
        let turn = if self.has(ConnectionFault::DeadlineBeginsWithTheTurn) {
            let turn = self.writing.lock().await;
            deadline = Instant::now() + patience;
            turn
        } else {
            match timeout_at(deadline, self.writing.lock()).await {
                Ok(turn) => turn,
                Err(_) => return timed_out(),
            }
        };
        if is_dead && bytes > SOCKET_BUFFER {
            // The write waits for room in the buffer, and other calls wait for the write.
            sleep(deadline - Instant::now()).await;
            return timed_out();
        }
        drop(turn);
        let answered = match self.line.outage() {
            _ if is_dead => timeout_at(deadline, pending::<()>()).await.is_ok(),
            Some(OutageKind::Stalled) => timeout_at(deadline, self.line.is_repaired()).await.is_ok(),
            Some(OutageKind::UnrelatedFrames) => self.read_flood(deadline).await,
            Some(OutageKind::EndlessReply) => {
                self.read_endless_reply().await;
                self.reconnect();
                if self.has(ConnectionFault::LongReplyIsCut) {
                    return Ok(());
                }
                return failed(ErrorKind::Connection, "the answer is too long");
            }
            _ => true,
        };
        if !answered {
            return timed_out();
        }
        lock(&self.connection).unanswered_since = None;
        Ok(())
    }

    /// Sends a request, and returns whether its connection is dead.
    fn send(&self) -> bool {
        let mut connection = lock(&self.connection);
        let is_late = |since: Instant| since.elapsed() > DEADLINE;
        if connection.unanswered_since.is_some_and(is_late) && !self.has(ConnectionFault::OnlyCallersLeave) {
            *connection = Connection::default();
        }
        connection.is_dead |= self.line.outage() == Some(OutageKind::HalfOpen);
        connection.unanswered_since.get_or_insert_with(Instant::now);
        connection.is_dead
    }

    /// Returns whether an answer arrived between the frames of a flood.
    async fn read_flood(&self, deadline: Instant) -> bool {
        while self.line.outage() == Some(OutageKind::UnrelatedFrames) {
            match self.fault {
                Some(ConnectionFault::AnyFrameIsProgress) => sleep(Duration::from_millis(1)).await,
                Some(ConnectionFault::FloodIsReadAtOnce) => {
                    // Long enough for the clause to fail, but short enough to free the thread
                    // eventually.
                    std::thread::sleep(Duration::from_secs(5));
                    return false;
                }
                _ => return timeout_at(deadline, pending::<()>()).await.is_ok(),
            }
        }
        true
    }

    async fn read_endless_reply(&self) {
        const CHUNK: u64 = 64 << 10;
        let most = if self.has(ConnectionFault::RepliesAreUnbounded) {
            MAX_REPLY_BYTES * 64
        } else {
            MAX_REPLY_BYTES
        };
        for _ in 0..most / CHUNK {
            self.line.flooded.fetch_add(CHUNK, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    }
}

/// A client whose handles share one connection to the store.
#[derive(Debug, Clone)]
pub(crate) struct SharedClient(Arc<Client>);

impl Interceptor for SharedClient {
    async fn around<T: Reply>(&self, request: Request<'_>, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        self.0.around(request, call).await
    }
}

impl Client {
    async fn around<T: Reply>(&self, request: Request<'_>, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let verb = request.verb();
        if let (Some(home), true) = (&self.home, self.has(ConnectionFault::DrivenByTheFirstRuntime)) {
            let _ = home.spawn(async {}).await;
        }
        if self.calls.fetch_add(1, Ordering::SeqCst) > MOST_CALLS {
            self.calls.fetch_sub(1, Ordering::SeqCst);
            return Err(Error::new(ErrorKind::Connection, verb.name(), "too many calls").not_executed());
        }
        // Dropping the call also releases the turn, unless that is the fault.
        let turn = Turn(&self.calls);
        let turn = if self.has(ConnectionFault::DroppedCallsKeepTheirTurn) {
            std::mem::forget(turn);
            None
        } else {
            Some(turn)
        };
        let bytes = request.values().iter().map(|value| value.len()).sum();
        let exchanged = match self.fault {
            Some(ConnectionFault::HealthAsksNothing) if verb == Verb::Health => Ok(()),
            Some(ConnectionFault::HealthHasNoDeadline) if verb == Verb::Health => {
                self.line.is_repaired().await;
                Ok(())
            }
            Some(ConnectionFault::HealthIsStale) if verb == Verb::Health => {
                let known = *lock(&self.healthy);
                if known.is_some() {
                    Ok(())
                } else {
                    let exchanged = self.exchange(verb, bytes).await;
                    *lock(&self.healthy) = Some(exchanged.is_ok());
                    exchanged
                }
            }
            _ => self.exchange(verb, bytes).await,
        };
        if turn.is_none() {
            self.calls.fetch_sub(1, Ordering::SeqCst);
        }
        exchanged?;
        call.await
    }
}

struct Turn<'a>(&'a AtomicUsize);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The switch of the network.
struct Switch(Arc<Line>);

impl Breaker for Switch {
    fn kinds(&self) -> Vec<OutageKind> {
        vec![
            OutageKind::Refused,
            OutageKind::Stalled,
            OutageKind::HalfOpen,
            OutageKind::UnrelatedFrames,
            OutageKind::EndlessReply,
        ]
    }

    fn begin(&self, kind: OutageKind) -> BoxFuture<'_, ()> {
        self.0.outage.send_replace(Some(kind));
        Box::pin(async {})
    }

    fn end(&self) -> BoxFuture<'_, ()> {
        self.0.outage.send_replace(None);
        Box::pin(async {})
    }

    fn flooded_bytes(&self) -> Option<u64> {
        Some(self.0.flooded.load(Ordering::Relaxed))
    }
}

/// A harness of clients of in-process stores.
#[derive(Default)]
pub(crate) struct ConnectedHarness {
    fault: Option<ConnectionFault>,
    line: Arc<Line>,
    clock: ManualClock,
}

impl ConnectedHarness {
    pub(crate) fn new(fault: Option<ConnectionFault>) -> Self {
        Self {
            fault,
            ..Self::default()
        }
    }
}

impl Harness for ConnectedHarness {
    type Backend = Intercepted<MemoryBackend, SharedClient>;

    async fn fresh(&self) -> Self::Backend {
        let client = Client {
            fault: self.fault,
            line: self.line.clone(),
            connection: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
            calls: AtomicUsize::new(0),
            home: Handle::try_current().ok(),
            healthy: Mutex::default(),
        };
        Intercepted::with_interceptor(
            MemoryBackend::with_clock(self.clock.clone()),
            SharedClient(Arc::new(client)),
        )
    }

    fn time(&self) -> Time {
        let clock = self.clock.clone();
        Time::Virtual(VirtualTime::from_fn(move |by| clock.advance(by)))
    }

    async fn outage(&self) -> Option<Outage> {
        Some(Outage::new(Switch(self.line.clone())))
    }

    fn reopen(&self, backend: &Self::Backend) -> Option<Self::Backend> {
        Some(backend.clone())
    }

    fn deadline(&self) -> Duration {
        DEADLINE
    }

    fn max_reply_bytes(&self) -> u64 {
        MAX_REPLY_BYTES
    }
}
