//! Stubs for builds without the feature `metrics`.

use std::time::Duration;

pub(crate) struct Call;

impl Call {
    pub(crate) fn begin(_: &'static str) -> Self {
        Self
    }

    #[expect(clippy::unused_self, reason = "with the feature, this is what ends the call")]
    pub(crate) fn end(self, _: &'static str) {}
}

#[derive(Debug)]
pub(crate) struct Open;

impl Open {
    pub(crate) fn new() -> Self {
        Self
    }
}

pub(crate) fn describe() {}
pub(crate) fn round_trip(_: impl FnOnce() -> &'static str, _: Option<&'static str>, _: Duration) {}
pub(crate) fn slow(_: &'static str) {}
pub(crate) fn dialled(_: Option<&'static str>) {}
pub(crate) fn evicted(_: &'static str) {}
pub(crate) fn sent_again(_: &'static str) {}
pub(crate) fn failed_over(_: &'static str) {}
pub(crate) fn slots_moved(_: usize) {}
