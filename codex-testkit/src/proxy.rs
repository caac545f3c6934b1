//! A TCP proxy that injects faults.

use std::{
    fmt, future, io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream, UnixStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

use crate::runtime::{runtime, sleep};

/// The time that the system has to release the port of a listener that was closed.
const RELEASE: Duration = Duration::from_secs(20);

/// A fault of a [`Proxy`] on its existing and future connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Passes everything on.
    #[default]
    None,
    /// Cuts all connections and closes the listener. New connections are refused. After the fault
    /// the proxy listens on the same port again. If another process has taken the port for 20 s,
    /// the proxy panics, and refuses connections for good.
    Refuse,
    /// Passes requests on and holds the answers back until the fault ends.
    Stall,
    /// Passes answers on after this delay.
    Delay(Duration),
    /// Resets a connection (RST) once this many bytes of answers have passed on it, including
    /// handshakes.
    ResetAfter(usize),
    /// Cuts a connection once this many bytes of requests have passed on it, including handshakes.
    /// The server may have received half a request.
    CutRequestsAfter(usize),
    /// Cuts a connection instead of passing an answer on: the request was executed, but the client
    /// receives no answer.
    CutBeforeReply,
    /// Acts as [`CutBeforeReply`](Self::CutBeforeReply) for the next answer only. The fault then
    /// ends.
    CutNextReply,
    /// Cuts a connection after an answer has passed.
    CutAfterReply,
    /// Passes the first half of an answer on and then cuts the connection.
    HalfFrame,
    /// Stops reading and writing on every connection that is used. The connection stays dead after
    /// the fault, as if its peer had vanished.
    HalfOpen,
    /// Writes `head` instead of an answer, and then `item` repeatedly. The connection is cut when
    /// the fault ends.
    Flood {
        /// The beginning of an answer. It may be empty.
        head: &'static [u8],
        /// The repeated bytes. They are sent in blocks of about 64 KiB, or one by one if they are
        /// longer. If there are none, only `head` is sent.
        item: &'static [u8],
    },
}

/// A TCP proxy in front of a server. It listens on a port of the loopback interface.
///
/// It runs on the kit's own runtime and stops when it is dropped.
///
/// ```no_run
/// # async fn doc() -> std::io::Result<()> {
/// use codex_testkit::{Fault, Proxy};
///
/// let proxy = Proxy::start("127.0.0.1:6379".parse().unwrap()).await?;
/// let url = format!("redis://{}", proxy.address());
/// proxy.set_fault(Fault::CutNextReply);
/// # Ok(())
/// # }
/// ```
pub struct Proxy {
    address: SocketAddr,
    control: Arc<watch::Sender<Control>>,
    flooded: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

/// The address of the server.
#[derive(Debug, Clone)]
enum Upstream {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

#[derive(Debug, Clone, Copy)]
struct Control {
    fault: Fault,
    /// Incremented to cut every connection that was made under an earlier generation.
    generation: u64,
}

impl Proxy {
    /// Starts a proxy that passes everything on to `upstream`.
    ///
    /// # Errors
    ///
    /// If no port is free.
    pub async fn start(upstream: SocketAddr) -> io::Result<Self> {
        Self::in_front_of(Upstream::Tcp(upstream)).await
    }

    /// Starts a TCP proxy that passes everything on to the server on the Unix socket at `path`.
    ///
    /// # Errors
    ///
    /// If no port is free.
    pub async fn start_unix(path: impl Into<PathBuf>) -> io::Result<Self> {
        Self::in_front_of(Upstream::Unix(path.into())).await
    }

    async fn in_front_of(upstream: Upstream) -> io::Result<Self> {
        // On the kit's runtime, because the caller's runtime may end before the proxy does.
        let bound = runtime().spawn(TcpListener::bind(("127.0.0.1", 0)));
        let listener = bound.await.map_err(io::Error::other)??;
        let address = listener.local_addr()?;
        let control = Control {
            fault: Fault::None,
            generation: 0,
        };
        let control = Arc::new(watch::Sender::new(control));
        let flooded = Arc::new(AtomicU64::new(0));
        let served = serve(listener, address, upstream, control.clone(), flooded.clone());
        let task = runtime().spawn(served);
        Ok(Self {
            address,
            control,
            flooded,
            task,
        })
    }

    /// Returns the address on which the proxy listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Applies `fault` from now on.
    pub fn set_fault(&self, fault: Fault) {
        self.control.send_modify(|control| {
            control.fault = fault;
            control.generation += u64::from(fault == Fault::Refuse);
        });
    }

    /// Returns the current fault.
    pub fn fault(&self) -> Fault {
        self.control.borrow().fault
    }

    /// Returns the number of bytes that all [`Fault::Flood`]s have sent, without their heads.
    pub fn flooded_bytes(&self) -> u64 {
        self.flooded.load(Ordering::Relaxed)
    }

    /// Cuts every connection.
    pub fn cut(&self) {
        self.control.send_modify(|control| control.generation += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("address", &self.address)
            .field("fault", &self.fault())
            .finish_non_exhaustive()
    }
}

async fn serve(
    first: TcpListener,
    address: SocketAddr,
    upstream: Upstream,
    control: Arc<watch::Sender<Control>>,
    flooded: Arc<AtomicU64>,
) {
    let mut listener = Some(first);
    let mut changes = control.subscribe();
    let mut released_by = Instant::now() + RELEASE;
    loop {
        if changes.borrow_and_update().fault == Fault::Refuse {
            // Without a listener, the operating system refuses connections.
            listener = None;
            if changes.changed().await.is_err() {
                return;
            }
            released_by = Instant::now() + RELEASE;
            continue;
        }
        let Some(listening) = &listener else {
            match TcpListener::bind(address).await {
                Ok(bound) => listener = Some(bound),
                // The port is still being released.
                Err(error) => {
                    assert!(
                        Instant::now() < released_by,
                        "the proxy cannot listen on {address} again: {error}"
                    );
                    sleep(Duration::from_millis(5)).await;
                }
            }
            continue;
        };
        tokio::select! {
            accepted = listening.accept() => {
                if let Ok((client, _)) = accepted {
                    // Read before the task runs and dials the server, so that a cut from now on
                    // ends this connection too.
                    let generation = control.borrow().generation;
                    let (control, upstream, flooded) = (control.clone(), upstream.clone(), flooded.clone());
                    tokio::spawn(async move {
                        // An error needs no report: both ends see that the connection ends.
                        let _ = pass(client, upstream, generation, control, &flooded).await;
                    });
                }
            }
            alive = changes.changed() => {
                if alive.is_err() {
                    return;
                }
            }
        }
    }
}

/// Serves a connection until either side or a fault ends it.
async fn pass(
    client: TcpStream,
    upstream: Upstream,
    generation: u64,
    control: Arc<watch::Sender<Control>>,
    flooded: &AtomicU64,
) -> io::Result<()> {
    client.set_nodelay(true)?;
    match upstream {
        Upstream::Tcp(address) => {
            let server = TcpStream::connect(address).await?;
            server.set_nodelay(true)?;
            let (from, to) = server.into_split();
            exchange(client, from, to, generation, &control, flooded).await
        }
        Upstream::Unix(path) => {
            let (from, to) = UnixStream::connect(path).await?.into_split();
            exchange(client, from, to, generation, &control, flooded).await
        }
    }
}

async fn exchange(
    client: TcpStream,
    from_server: impl AsyncRead + Unpin,
    to_server: impl AsyncWrite + Unpin,
    generation: u64,
    control: &watch::Sender<Control>,
    flooded: &AtomicU64,
) -> io::Result<()> {
    let mut cut = control.subscribe();
    let (from_client, to_client) = client.into_split();
    let is_dead = AtomicBool::new(false);
    tokio::select! {
        done = requests(from_client, to_server, control, &is_dead) => done,
        done = replies(from_server, to_client, control, flooded, &is_dead) => done,
        _ = cut.wait_for(|control| control.generation > generation) => Ok(()),
    }
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: impl AsyncWrite + Unpin,
    control: &watch::Sender<Control>,
    is_dead: &AtomicBool,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut passed = 0;
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        let fault = control.borrow().fault;
        stop_if_dead(fault, is_dead).await;
        match fault {
            Fault::CutRequestsAfter(limit) if passed + read >= limit => {
                return to.write_all(&buffer[..limit.saturating_sub(passed)]).await;
            }
            _ => to.write_all(&buffer[..read]).await?,
        }
        passed += read;
    }
}

async fn replies(
    mut from: impl AsyncRead + Unpin,
    mut to: OwnedWriteHalf,
    control: &watch::Sender<Control>,
    flooded: &AtomicU64,
    is_dead: &AtomicBool,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut passed = 0;
    let mut changes = control.subscribe();
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            // A peer that has vanished does not close the connection.
            stop_if_dead(Fault::None, is_dead).await;
            return Ok(());
        }
        let chunk = &buffer[..read];
        // Cannot fail, because this task holds the sender.
        if changes.wait_for(|control| control.fault != Fault::Stall).await.is_err() {
            return Ok(());
        }
        let fault = control.borrow().fault;
        stop_if_dead(fault, is_dead).await;
        match fault {
            Fault::CutBeforeReply | Fault::Refuse => return Ok(()),
            Fault::CutNextReply => {
                let mine = control.send_if_modified(|control| {
                    let mine = control.fault == Fault::CutNextReply;
                    if mine {
                        control.fault = Fault::None;
                    }
                    mine
                });
                if mine {
                    return Ok(());
                }
                to.write_all(chunk).await?;
            }
            Fault::Flood { head, item } => return flood(to, fault, head, item, control, flooded).await,
            Fault::CutAfterReply => return to.write_all(chunk).await,
            Fault::HalfFrame => return to.write_all(&chunk[..read / 2]).await,
            Fault::ResetAfter(limit) if passed + read >= limit => {
                to.write_all(&chunk[..limit.saturating_sub(passed)]).await?;
                to.as_ref().set_zero_linger()?;
                // Without this, dropping `to` would send a FIN before the reset.
                to.forget();
                return Ok(());
            }
            Fault::Delay(delay) => {
                sleep(delay).await;
                to.write_all(chunk).await?;
            }
            Fault::None | Fault::Stall | Fault::HalfOpen | Fault::ResetAfter(_) | Fault::CutRequestsAfter(_) => {
                to.write_all(chunk).await?;
            }
        }
        passed += read;
    }
}

/// Waits for ever if the connection is dead, or dies now. Both directions die together.
async fn stop_if_dead(fault: Fault, is_dead: &AtomicBool) {
    if fault == Fault::HalfOpen {
        is_dead.store(true, Ordering::Relaxed);
    }
    if is_dead.load(Ordering::Relaxed) {
        future::pending::<()>().await;
    }
}

/// Writes `head` and then `item` repeatedly until `fault` ends.
async fn flood(
    mut to: OwnedWriteHalf,
    fault: Fault,
    head: &[u8],
    item: &[u8],
    control: &watch::Sender<Control>,
    flooded: &AtomicU64,
) -> io::Result<()> {
    let mut changes = control.subscribe();
    let items = item.repeat(((64 << 10) / item.len().max(1)).max(1));
    let endless = async {
        to.write_all(head).await?;
        if items.is_empty() {
            return future::pending().await;
        }
        loop {
            to.write_all(&items).await?;
            flooded.fetch_add(items.len() as u64, Ordering::Relaxed);
        }
    };
    tokio::select! {
        failed = endless => failed,
        _ = changes.wait_for(|control| control.fault != fault) => Ok(()),
    }
}
