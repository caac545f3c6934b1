//! Stores for the session middleware of other projects.

#[cfg(feature = "actix-session")]
pub mod actix_session;
#[cfg(any(
    feature = "actix-session",
    feature = "tower-sessions",
    feature = "tower-sessions-0-14"
))]
mod records;
#[cfg(any(feature = "tower-sessions", feature = "tower-sessions-0-14"))]
pub mod tower_sessions;
