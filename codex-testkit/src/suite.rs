//! The machinery shared by all suites of this project. It turns a list of clauses into a contract,
//! which can be run or turned into tests.
//!
//! Hidden: it exists for the suites of `codex-kv`, which check caches and sessions over a backend.
//! It is not public API and may change at any time.

pub use codex_traits::Capability;
pub use futures_util::future::BoxFuture;
pub use tokio::task::{JoinHandle, yield_now};

pub use crate::{
    clause_id::Entry,
    clock::Clock,
    contract::Contract,
    failure::{Checked, Failure},
    list::BackendContract,
    run::{run_contract, test, test_lists},
    runtime::{panic_message, sleep, spawn},
};
