//! The start and the deadline of a call.

use super::Start;
use crate::connection::multiplexer::Deadline;

/// The start and the deadline of a call. It is passed by reference to keep futures small.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    /// `None` if the call has waited for something since.
    pub(crate) start: Option<Start>,
    pub(crate) deadline: Deadline,
}

impl Timing {
    /// Returns the timing of a call that has waited for something.
    pub(crate) fn waited(deadline: Deadline) -> Self {
        Self { start: None, deadline }
    }
}
