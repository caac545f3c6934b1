//! Tests of the errors when computing a missing value.

use std::{error::Error as _, sync::Arc};

use codex_kv::{CacheError, ComputeError};

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("the database is closed")]
struct Closed;

#[test]
fn cverb_08_the_error_is_a_proper_one() {
    let error = ComputeError::Compute(Arc::new(Closed));
    assert_eq!(error.clone().source().unwrap().to_string(), "the database is closed");
    let error: ComputeError<Closed> = CacheError::NotFound.into();
    assert!(error.source().is_some());
}
