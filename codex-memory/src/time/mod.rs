//! Clocks, and the moments at which entries expire.

pub(crate) mod clock;
pub(crate) mod deadline;
pub(crate) mod system_clock;
