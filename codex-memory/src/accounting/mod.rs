//! The limits of a store, and the charges of its entries against them.

pub(crate) mod charge;
pub(crate) mod limits;
