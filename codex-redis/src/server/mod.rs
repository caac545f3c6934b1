//! One server: its location and its connections.

mod connection_cell;
pub(crate) mod locate;
mod other_runtime;
mod per_runtime;
mod pool;
pub(crate) mod sentinel;
#[expect(clippy::module_inception, reason = "the layer is named after its main type")]
mod server;
mod timing;
pub(crate) mod tracked;
mod tracked_checks;
mod tracked_pushes;

pub(crate) use self::{
    per_runtime::{Here, PerRuntime, Start, current_runtime},
    server::Server,
    timing::Timing,
};
