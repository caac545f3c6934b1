//! Requests and replies as bytes. No I/O.

pub(crate) mod command_name;
pub(crate) mod decoder;
pub(crate) mod error;
pub(crate) mod reply;
pub(crate) mod request;

pub(crate) use self::{
    error::Failure,
    request::{Command, Request},
};
