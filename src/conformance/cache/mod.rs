//! The clauses of caches.

mod cases;
mod clear;
mod compute;
mod formats;
mod group;
mod keys;
mod lease;
mod load;
mod load_many;
mod outdated;
mod raw_bytes;
mod stat;
mod timeouts;
mod values;
mod verbs;

use std::{sync::Arc, time::Duration};

use super::face::{Cache, CacheBuilder};
use super::{
    context::{Context, Cx},
    watched::{Watch, Watched},
};
use crate::KvBackend;

mod clauses {
    pub(super) use super::{group, keys as ckey, load, stat, timeouts as ctime, values as cval, verbs as cverb};
}

/// The clauses of `docs/contract/cache.md` for a cache over a backend.
#[derive(Debug)]
pub struct CacheContract;

/// The same clauses, through the blocking caches.
#[cfg(feature = "blocking")]
pub(super) struct BlockingCacheContract;

macro_rules! contract {
    ($($groups:tt)*) => {
        codex_testkit::__codex_testkit_contract! { CacheContract $($groups)* }

        #[cfg(feature = "blocking")]
        mod blocking {
            use super::{super::context::BlockingContext as Context, BlockingCacheContract, clauses};

            codex_testkit::__codex_testkit_contract! { BlockingCacheContract $($groups)* }
        }
    };
}
crate::__codex_kv_cache_clauses!(contract);

const MINUTE: Duration = Duration::from_secs(60);

impl<B: KvBackend> Cx<B> {
    fn builder(&self) -> CacheBuilder<Arc<B>> {
        self.face.cache(self.backend.clone())
    }

    /// Returns a cache with the prefix `shop`.
    fn cache(&self) -> Cache<Arc<B>> {
        self.builder().key_prefix("shop").build().unwrap()
    }

    /// Returns the same cache with a watch on its calls to the backend.
    fn counted(&self) -> (Cache<Watched<B>>, Watch) {
        let watched = self.watched();
        let watch = watched.interceptor().clone();
        let cache = self.face.cache(watched).key_prefix("shop").build();
        (cache.unwrap(), watch)
    }
}
