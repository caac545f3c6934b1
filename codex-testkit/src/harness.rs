//! The interface between the test kit and a backend under test.

use std::{
    future::{self, Future},
    process::Command,
    time::Duration,
};

use codex_traits::KvBackend;

use crate::{Outage, Time};

/// Access to a backend under test: creates stores and defines how time passes for them.
///
/// Two methods are required. The others let clauses do things that `KvBackend` cannot do, such as
/// an outage. Most of them default to "not supported", and the clauses that need them then report
/// that they do not apply.
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

    /// Returns a backend for an empty store that has no other users.
    fn fresh(&self) -> impl Future<Output = Self::Backend> + Send;

    /// Returns how time passes for every store of this harness.
    fn time(&self) -> Time;

    /// Returns the switch that takes the stores of this harness out of service. A clause requests
    /// the switch before it requests a store.
    fn outage(&self) -> impl Future<Output = Option<Outage>> + Send {
        future::ready(None)
    }

    /// Returns a second handle to the store of `backend`: a clone, or another connection.
    fn reopen(&self, backend: &Self::Backend) -> Option<Self::Backend> {
        let _ = backend;
        None
    }

    /// Closes `backend` and returns a future that reopens its store from storage. Returns `None`,
    /// the default, if the store does not outlive the backend.
    ///
    /// The store must be closed when the method returns, and must stay closed until the future is
    /// polled. In between, a clause works on the closed store.
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

    /// Returns the command for a process that opens the store of `backend` and calls
    /// [`write_until_killed`](crate::write_until_killed) on it. Returns `None`, the default, if
    /// there is no such process.
    ///
    /// The clause closes `backend`, starts the process, kills it during its writes, and then opens
    /// the store with [`reopen_from_storage`](Self::reopen_from_storage). The process is usually
    /// the test program itself, running an ignored test that does nothing else. Do not start it
    /// through a shell or `cargo`, because only the started process is killed. See
    /// `examples/durable_backend.rs`.
    fn killable_writer(&self, backend: &Self::Backend) -> Option<Command> {
        let _ = backend;
        None
    }

    /// Plants data in the store of `backend` that `KvBackend` cannot write, and returns whether it
    /// succeeded.
    fn plant(&self, backend: &Self::Backend, foreign: &Foreign) -> impl Future<Output = bool> + Send {
        let _ = (backend, foreign);
        future::ready(false)
    }

    /// Returns whether the planted data is still in the store of `backend`.
    fn is_planted(&self, backend: &Self::Backend, foreign: &Foreign) -> impl Future<Output = bool> + Send {
        let _ = (backend, foreign);
        future::ready(false)
    }

    /// Returns the secrets, besides keys and values, that no error, `Debug` output or log line may
    /// show: the password, if the store has one. No secret may be empty.
    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }

    /// Returns the time after which a clause counts as failed, including its repetitions on a busy
    /// machine. The default is 90 s, ten times what a fast store needs for the longest clause.
    fn time_limit(&self) -> Duration {
        Duration::from_secs(90)
    }

    /// Returns the deadline of a call: the longest time that a call may take if the store does not
    /// answer. The default is 5 s. Clauses add a margin for busy machines.
    ///
    /// The deadline applies to the backends that [`fresh`](Self::fresh) makes after
    /// [`outage`](Self::outage).
    fn deadline(&self) -> Duration {
        Duration::from_secs(5)
    }

    /// Returns the maximum size, in bytes, of the answers that the backend buffers for one
    /// connection. The default is 512 MiB, the maximum length of a value in Redis.
    fn max_reply_bytes(&self) -> u64 {
        512 << 20
    }

    /// Returns the reason why the store of `backend` must not be given patterns with many stars.
    /// Returns `None`, the default, if such patterns are safe.
    ///
    /// A matcher that backtracks into every star takes years for `a*a*a*…b` (Redis before 6.0.18,
    /// 6.2.11 and 7.0.9, CVE-2022-36021), and the server answers no other client in the meantime.
    /// Clauses with such patterns are skipped with this reason.
    fn avoids_many_stars(&self, backend: &Self::Backend) -> impl Future<Output = Option<&'static str>> + Send {
        let _ = backend;
        future::ready(None)
    }

    /// Removes the data that a clause left behind. Called after each clause, once the clause's
    /// backends are dropped, and also after a clause that was abandoned.
    ///
    /// # Errors
    ///
    /// A text that says what could not be removed, and where it is. The clause then counts as
    /// failed. The default removes nothing and returns `Ok`.
    fn clean_up(&self) -> impl Future<Output = Result<(), String>> + Send {
        future::ready(Ok(()))
    }

    /// Returns the memory in use by the store of `backend`, in bytes. For a server, this is the
    /// number that the server reports. The default is the memory of this process, if the operating
    /// system reports it.
    fn memory_in_use(&self, backend: &Self::Backend) -> impl Future<Output = Option<u64>> + Send {
        let _ = backend;
        future::ready(resident_memory())
    }
}

/// Data that `KvBackend` cannot write, but another program can.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Foreign {
    /// A list of a few elements, or another type that is not a plain value.
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
