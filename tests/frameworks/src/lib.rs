//! An empty library; see `tests`.
