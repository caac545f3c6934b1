//! The harness for clients of a Redis server.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use codex_traits::{Error, ErrorKind, KvBackend, Result};
use futures_util::future::BoxFuture;
use redis::ConnectionAddr;
use tokio::net::lookup_host;

use super::{Database, Leased, REAL_TIME, proxy_faults::ProxyFaults, registry::Registry};
use crate::{
    Breaker, Fault, Foreign, Harness, Outage, OutageKind, Proxy, Time,
    context::Context,
    every_verb::{make_every_call, prepare},
    failure::Failure,
    require::Unavailable,
    runtime::runtime,
};

/// A harness for the backend that `connect` makes from a URL. Each store is a [`Database`] of a
/// server.
///
/// For outages it puts a [`Proxy`] between the backend and the server. The proxy refuses and stalls
/// connections and loses answers. The server itself is not disturbed. There are no outages if the
/// server uses TLS.
///
/// ```no_run
/// use codex_testkit::redis::ServerHarness;
/// # use codex_traits::{AnyBackend, Result};
/// # async fn connect(url: &str) -> Result<AnyBackend> { unimplemented!() }
///
/// # async fn sketch() {
/// let harness = ServerHarness::shared(|url| async move { connect(&url).await }).unwrap();
/// let report = codex_testkit::run(&harness).await;
/// # }
/// ```
pub struct ServerHarness<C> {
    /// The URL of the server, or `None` for the shared server.
    url: Option<String>,
    confined: bool,
    connect: C,
    registry: Arc<Registry>,
    /// The proxy in front of future stores, until the switch that `outage` returned is dropped.
    proxy: Mutex<Weak<Proxy>>,
}

// Repeats the bounds of the `Harness` implementation, so that the argument of a closure needs no
// type.
impl<C, F, B> ServerHarness<C>
where
    C: Fn(String) -> F + Send + Sync,
    F: Future<Output = Result<B>> + Send,
    B: KvBackend + Clone,
{
    /// Creates a harness on the server that the tests share; see [the module](super).
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if there is no server.
    pub fn shared(connect: C) -> Result<Self, Unavailable> {
        drop(Database::lease()?);
        Ok(Self {
            url: None,
            confined: false,
            connect,
            registry: Arc::default(),
            proxy: Mutex::default(),
        })
    }

    /// Creates a harness on the server that `url` names, by the rules of [`Database::lease_from`]:
    /// existing data is not touched.
    ///
    /// # Errors
    ///
    /// As for [`Database::lease_from`].
    pub fn on(url: &str, connect: C) -> Result<Self, Unavailable> {
        let first = Database::lease_from(url)?;
        let confined = Database::lease_at_once(url).is_err();
        drop(first);
        Ok(Self {
            url: Some(url.to_owned()),
            confined,
            connect,
            registry: Arc::default(),
            proxy: Mutex::default(),
        })
    }
}

impl<C, F, B> ServerHarness<C>
where
    C: Fn(String) -> F + Send + Sync,
    F: Future<Output = Result<B>> + Send,
    B: KvBackend + Clone,
{
    /// Calls every verb once. This finds a server that refuses a command of the backend (an ACL,
    /// `rename-command`) before any clause runs.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] with each refused verb and the server's message, or if the backend cannot
    /// connect, or if the database could not be emptied.
    pub async fn check_commands(&self) -> std::result::Result<(), Unavailable> {
        let database = self.lease()?.registered_in(&self.registry);
        let backend = (self.connect)(database.url()).await;
        let backend = backend.map_err(|error| Unavailable::new(format!("the backend does not connect: {error}")))?;
        let context = Context::new(self);
        let store = context.adopt(Leased::new(backend, database));
        let mut refused: Vec<Error> = Vec::new();
        match Box::pin(prepare(&store)).await {
            Ok(()) => {
                let calls = Box::pin(make_every_call(&store)).await;
                refused.extend(calls.into_iter().filter_map(|call| call.answer.err()));
            }
            // The clauses check the other properties of an answer.
            Err(Failure::Broken(message)) => {
                return Err(Unavailable::new(format!("the first write failed: {message}")));
            }
            Err(Failure::NotApplicable(_) | Failure::Avoided(_)) => {}
        }
        drop(store);
        drop(context);
        self.registry.settle().await.map_err(Unavailable::new)?;
        refused.retain(|error| error.kind() == ErrorKind::Server);
        if refused.is_empty() {
            return Ok(());
        }
        let mut refused: Vec<String> = refused.iter().map(with_source).collect();
        refused.dedup();
        Err(Unavailable::new(format!(
            "the server refuses commands that the backend needs: {}",
            refused.join("; ")
        )))
    }
}

impl<C> ServerHarness<C> {
    /// Returns whether only a single database is available: the URL names it, or no second database
    /// is empty. The clause that needs two stores at a time (set-05) then cannot run.
    pub fn is_confined(&self) -> bool {
        self.confined
    }

    fn lease(&self) -> Result<Database, Unavailable> {
        match &self.url {
            Some(url) => Database::lease_from(url),
            None => Database::lease(),
        }
    }
}

impl<C> fmt::Debug for ServerHarness<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL is left out, because it may hold a password.
        f.debug_struct("ServerHarness")
            .field("confined", &self.confined)
            .finish_non_exhaustive()
    }
}

impl<C, F, B> Harness for ServerHarness<C>
where
    C: Fn(String) -> F + Send + Sync,
    F: Future<Output = Result<B>> + Send,
    B: KvBackend + Clone,
{
    type Backend = Leased<B>;

    async fn fresh(&self) -> Leased<B> {
        let database = self
            .lease()
            .unwrap_or_else(|reason| panic!("no store for the clause: {reason}"))
            .registered_in(&self.registry);
        let proxy = self.proxy.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        let url = proxy.map_or_else(|| database.url(), |proxy| database.url_through(proxy.address()));
        let backend = (self.connect)(url).await;
        Leased::new(
            backend.unwrap_or_else(|error| panic!("no connection for the clause: {error}")),
            database,
        )
    }

    fn time(&self) -> Time {
        REAL_TIME
    }

    fn reopen(&self, backend: &Leased<B>) -> Option<Leased<B>> {
        Some(backend.clone())
    }

    async fn plant(&self, backend: &Leased<B>, foreign: &Foreign) -> bool {
        backend.place().plant(foreign)
    }

    async fn is_planted(&self, backend: &Leased<B>, foreign: &Foreign) -> bool {
        backend.place().is_planted(foreign)
    }

    async fn memory_in_use(&self, backend: &Leased<B>) -> Option<u64> {
        backend.place().memory_of_clients()
    }

    async fn outage(&self) -> Option<Outage> {
        let upstream = self.lease().ok()?.upstream()?;
        let proxy = Arc::new(proxy_to(upstream).await?);
        *self.proxy.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&proxy);
        Some(Outage::new(ByProxy {
            proxy,
            faults: ProxyFaults::default(),
        }))
    }

    async fn avoids_many_stars(&self, backend: &Leased<B>) -> Option<&'static str> {
        backend.place().avoids_many_stars()
    }

    async fn clean_up(&self) -> std::result::Result<(), String> {
        self.registry.settle().await
    }
}

/// Returns the message of an error and of its source, which is the server's message.
fn with_source(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error} ({source})"),
        None => error.to_string(),
    }
}

/// Returns a proxy to the server, or `None` if its name cannot be resolved or no proxy can be
/// started.
async fn proxy_to(upstream: ConnectionAddr) -> Option<Proxy> {
    match upstream {
        ConnectionAddr::Tcp(host, port) => {
            // On the kit's runtime, because the caller may use another runtime.
            let found = runtime().spawn(async move { lookup_host((host, port)).await.ok()?.next() });
            Proxy::start(found.await.ok()??).await.ok()
        }
        ConnectionAddr::Unix(path) => Proxy::start_unix(path).await.ok(),
        _ => None,
    }
}

/// The outages that a proxy causes without the server's help.
struct ByProxy {
    proxy: Arc<Proxy>,
    faults: ProxyFaults,
}

impl Breaker for ByProxy {
    fn kinds(&self) -> Vec<OutageKind> {
        ProxyFaults::KINDS.to_vec()
    }

    fn begin(&self, kind: OutageKind) -> BoxFuture<'_, ()> {
        self.faults.begin(&self.proxy, kind);
        Box::pin(async {})
    }

    fn end(&self) -> BoxFuture<'_, ()> {
        self.proxy.set_fault(Fault::None);
        Box::pin(async {})
    }

    fn flooded_bytes(&self) -> Option<u64> {
        Some(self.proxy.flooded_bytes())
    }
}
