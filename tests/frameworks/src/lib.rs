//! Doctests of the guide that needs the real tower-sessions; see also `tests`.

#[cfg(doctest)]
#[doc = include_str!("../../../docs/from-tower-sessions.md")]
struct FromTowerSessions;
