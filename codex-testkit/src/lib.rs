//! The contract of [`KvBackend`](codex_traits::KvBackend) as executable clauses, for any backend.
//!
//! Implement [`Harness`] for your backend. [`conformance_tests!`] then generates one test per
//! clause, and [`run`] runs the clauses at run time and returns a [`Report`]. A clause that did not
//! run never counts as passed. A clause that does not apply must be listed with its reason. A
//! listed clause that does apply is a failure, and so is a run without clauses.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod activity;
mod alone;
#[doc(hidden)]
pub mod cases;
mod clause_id;
mod clauses;
mod clock;
mod context;
mod contract;
pub mod doubles;
mod event;
mod every_verb;
mod failure;
mod harness;
mod histories;
mod in_process;
mod killed_writer;
mod linear;
mod list;
mod macros;
mod model;
pub mod near;
mod operation;
mod outage;
mod pace;
mod proxy;
mod random;
#[cfg(feature = "redis")]
pub mod redis;
mod remote_harness;
mod rendering;
mod replay;
mod report;
pub mod require;
mod run;
mod runtime;
pub mod secret_audit;
#[cfg(feature = "proptest")]
mod sequences;
#[doc(hidden)]
pub mod suite;
mod supervise;
mod time;
mod trace;

pub use clause_id::{ClauseId, UnknownClause};
pub use event::Event;
pub use harness::{Foreign, Harness};
pub use histories::{NotLinearizable, check_histories};
pub use in_process::InProcess;
pub use killed_writer::write_until_killed;
pub use model::Model;
pub use operation::{Answer, Op};
pub use outage::{Breaker, Outage, OutageKind};
pub use proxy::{Fault, Proxy};
pub use rendering::{Progress, ProgressStyle, TimedReport};
pub use replay::{Divergence, replay};
pub use report::{Outcome, Report};
pub use run::{run, run_expecting, run_only, run_with};
#[cfg(feature = "proptest")]
pub use sequences::{Sequences, check_against_model};
pub use time::{Time, VirtualClock, VirtualTime, WallShift};
