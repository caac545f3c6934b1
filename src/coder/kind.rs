//! The kinds of values that have a [`TextForm`](super::TextForm).

/// A date and a time of day, with or without an offset: `2026-04-17T12:30:45.120000+05:30`.
#[derive(Debug, Clone, Copy)]
pub enum DateTime {}

/// A date: `2026-04-17`.
#[derive(Debug, Clone, Copy)]
pub enum Date {}

/// A time of day, with or without an offset: `12:30:45.120000+05:30`.
#[derive(Debug, Clone, Copy)]
pub enum Time {}

/// A decimal number: `-0.00`, `1E+3`.
#[derive(Debug, Clone, Copy)]
pub enum Decimal {}

/// A UUID: `12345678-1234-5678-1234-567812345678`.
#[derive(Debug, Clone, Copy)]
pub enum Uuid {}
