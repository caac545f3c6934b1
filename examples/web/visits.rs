//! Who is logged in from where, for the page of one's sessions. It names no session key: whoever reads that page is not to become the others.

use std::{ops::RangeInclusive, time::Duration};

use codex_kv::{AnyBackend, Cache, CacheError};

/// As long as a session lives from its last save.
const KEPT: Duration = Duration::from_secs(1_209_600);

/// How many of a user's logins are shown, the latest.
const SHOWN: i64 = 20;

/// Logins in the cache, each under its number, which the cache counts: of two browsers that log in at once neither is lost.
#[derive(Clone)]
pub(crate) struct Visits {
    cache: Cache<AnyBackend>,
}

impl Visits {
    pub(crate) fn new(cache: Cache<AnyBackend>) -> Self {
        Self { cache }
    }

    /// Notes a login, and gives its number.
    pub(crate) async fn add(&self, user: &str, browser: &str) -> Result<i64, CacheError> {
        let count = count(user);
        self.cache.add(&count, &0, KEPT).await?;
        let number = self.cache.incr(&count, 1).await?;
        self.cache.touch(&count, KEPT).await?;
        let browser: String = browser.chars().take(120).collect();
        self.cache.set(&visit(user, number), &browser, KEPT).await?;
        Ok(number)
    }

    /// The latest, with their numbers, in order.
    pub(crate) async fn of(&self, user: &str) -> Result<Vec<(i64, String)>, CacheError> {
        let numbers = self.latest(user).await?;
        let keys = numbers.clone().map(|number| visit(user, number));
        let mut found = self.cache.get_many::<String>(keys).await?;
        Ok(numbers
            .filter_map(|number| Some((number, found.remove(&visit(user, number))?)))
            .collect())
    }

    pub(crate) async fn remove(&self, user: &str, number: i64) -> Result<(), CacheError> {
        self.cache.delete(&visit(user, number)).await.map(drop)
    }

    pub(crate) async fn remove_all(&self, user: &str) -> Result<(), CacheError> {
        let keys = self.latest(user).await?.map(|number| visit(user, number));
        self.cache.delete_many(keys).await.map(drop)
    }

    async fn latest(&self, user: &str) -> Result<RangeInclusive<i64>, CacheError> {
        let last: i64 = self.cache.get_or(&count(user), 0).await?;
        Ok((last - SHOWN + 1).max(1)..=last)
    }
}

fn count(user: &str) -> String {
    format!("visits:{user}")
}

fn visit(user: &str, number: i64) -> String {
    format!("visit:{user}:{number}")
}
