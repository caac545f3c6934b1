//! The interface between the kit and the author of a backend.

use std::{
    future::{self, Future},
    process::Command,
    time::Duration,
};

use codex_traits::KvBackend;

use crate::{Outage, Time};

/// The way to a backend: where stores come from, and how time passes for them.
///
/// Two methods are required. The others let the clauses do what the backend's own trait cannot;
/// each has a default that says "cannot", and the clauses that need it then do not apply, and say
/// so.
///
/// ```
/// # use codex_testkit::{Harness, Time};
/// # use codex_traits::*;
/// # struct MyHarness;
/// # trait MyBackend: KvBackend { fn new() -> Self; }
/// # fn sketch<B: MyBackend>() {
/// # struct H<B>(std::marker::PhantomData<fn() -> B>);
/// impl<B: MyBackend> Harness for H<B> {
///     type Backend = B;
///
///     async fn fresh(&self) -> B {
///         B::new()
///     }
///
///     fn time(&self) -> Time {
///         Time::Real { granularity: std::time::Duration::from_millis(1) }
///     }
/// }
/// # }
/// ```
pub trait Harness: Send + Sync {
    /// The backend under test.
    type Backend: KvBackend;

    /// Returns a backend on an empty store that nobody else uses.
    fn fresh(&self) -> impl Future<Output = Self::Backend> + Send;

    /// Returns how time passes for every store of this harness.
    fn time(&self) -> Time;

    /// Returns the switch that takes the stores of this harness out of service. A clause asks for
    /// it before it asks for a store.
    fn outage(&self) -> impl Future<Output = Option<Outage>> + Send {
        future::ready(None)
    }

    /// Returns a second handle on the store of `backend`: a clone, or another connection.
    fn reopen(&self, backend: &Self::Backend) -> Option<Self::Backend> {
        let _ = backend;
        None
    }

    /// Closes `backend` and returns a future that opens its store again from what is stored.
    /// `None`, the default, if the store ends with the backend.
    ///
    /// The store must be closed when the method returns, and must not be opened before the future
    /// is polled: what a clause does in between happens to a closed store.
    ///
    /// ```
    /// # use std::{future::Future, path::{Path, PathBuf}};
    /// # use codex_testkit::{Harness, Time};
    /// # use codex_traits::*;
    /// # trait FileStore: KvBackend { fn open(path: &Path) -> Self; fn path(&self) -> &Path; }
    /// # struct H<B>(std::marker::PhantomData<fn() -> B>);
    /// # impl<B: FileStore> Harness for H<B> {
    /// #     type Backend = B;
    /// #     async fn fresh(&self) -> B { unimplemented!() }
    /// #     fn time(&self) -> Time { unimplemented!() }
    /// fn reopen_from_storage(&self, backend: B) -> Option<impl Future<Output = B> + Send> {
    ///     let path = backend.path().to_owned();
    ///     drop(backend); // closes the file
    ///     Some(async move { B::open(&path) })
    /// }
    /// # }
    /// ```
    fn reopen_from_storage(&self, backend: Self::Backend) -> Option<impl Future<Output = Self::Backend> + Send> {
        drop(backend);
        None::<future::Ready<Self::Backend>>
    }

    /// Returns the command that starts a process which opens the store of `backend` and calls
    /// [`write_until_killed`](crate::write_until_killed) on it. `None`, the default, if there is no
    /// such process.
    ///
    /// The clause closes `backend` before it starts the process, kills the process in the middle of
    /// its writes, and then opens the store with
    /// [`reopen_from_storage`](Self::reopen_from_storage). The process is usually the test program
    /// itself, which runs an ignored test that does nothing else; see
    /// `examples/durable_backend.rs`.
    fn killable_writer(&self, backend: &Self::Backend) -> Option<Command> {
        let _ = backend;
        None
    }

    /// Writes what `KvBackend` cannot write into the store of `backend`, and answers whether it
    /// could.
    fn plant(&self, backend: &Self::Backend, foreign: &Foreign) -> impl Future<Output = bool> + Send {
        let _ = (backend, foreign);
        future::ready(false)
    }

    /// Returns whether what was planted is still in the store of `backend`.
    fn is_planted(&self, backend: &Self::Backend, foreign: &Foreign) -> impl Future<Output = bool> + Send {
        let _ = (backend, foreign);
        future::ready(false)
    }

    /// Returns what no error, no `Debug` and no log line may show beside keys and values: the
    /// password, where there is one.
    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns how long a clause may take before it has failed. The default is 90 s, which is ten
    /// times what a fast store needs for the longest clause.
    fn time_limit(&self) -> Duration {
        Duration::from_secs(90)
    }

    /// Returns the deadline of a call: how long it takes at most if the store does not answer. The
    /// default is 5 s. Clauses allow for a busy machine on top.
    ///
    /// It is that of the backends which [`fresh`](Self::fresh) makes after
    /// [`outage`](Self::outage).
    fn deadline(&self) -> Duration {
        Duration::from_secs(5)
    }

    /// Returns how many bytes of answers the backend keeps at most for one connection. The default
    /// is 512 MiB, the longest value of Redis.
    fn max_reply_bytes(&self) -> u64 {
        512 << 20
    }

    /// Returns why the store of `backend` must not be asked for patterns with many stars, or
    /// `None`, the default, if it may be.
    ///
    /// A matcher that goes back into every star takes years for `a*a*a*…b` (Redis before 6.0.18,
    /// 6.2.11 and 7.0.9: CVE-2022-36021), and a server answers nobody else meanwhile. Clauses with
    /// such patterns are skipped with this reason.
    fn avoids_many_stars(&self, backend: &Self::Backend) -> impl Future<Output = Option<&'static str>> + Send {
        let _ = backend;
        future::ready(None)
    }

    /// Removes what a clause has left behind. It is called after each clause, when the clause's
    /// backends are dropped, and also after a clause that was given up.
    ///
    /// # Errors
    ///
    /// Says what could not be removed, and where it is. The clause has then failed. The default
    /// removes nothing and is `Ok`.
    fn clean_up(&self) -> impl Future<Output = Result<(), String>> + Send {
        future::ready(Ok(()))
    }

    /// Returns how many bytes of memory the store of `backend` takes: for a server, what the server
    /// says. The default is the memory of this process, where the operating system tells it.
    fn memory_in_use(&self, backend: &Self::Backend) -> impl Future<Output = Option<u64>> + Send {
        let _ = backend;
        future::ready(resident_memory())
    }
}

/// Data that another program can have written into the store, and `KvBackend` cannot.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Foreign {
    /// A list of a few elements, or another type that is no plain value.
    List {
        /// Its key.
        key: String,
    },
    /// A plain value under a key that is not UTF-8.
    NonUtf8Key {
        /// The key.
        key: Vec<u8>,
    },
}

/// Returns the resident memory of this process in bytes, from `/proc/self/status` (proc(5)).
fn resident_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
