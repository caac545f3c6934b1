//! The kinds of a [`TextForm`](super::TextForm).

/// `2026-04-17T12:30:45.120000+05:30`: a date and a time of day, with an offset or without.
#[derive(Debug, Clone, Copy)]
pub enum DateTime {}

/// `2026-04-17`.
#[derive(Debug, Clone, Copy)]
pub enum Date {}

/// `12:30:45.120000+05:30`: a time of day, with an offset or without.
#[derive(Debug, Clone, Copy)]
pub enum Time {}

/// `-0.00`, `1E+3`: a decimal number.
#[derive(Debug, Clone, Copy)]
pub enum Decimal {}

/// `12345678-1234-5678-1234-567812345678`.
#[derive(Debug, Clone, Copy)]
pub enum Uuid {}
