//! The clauses of session stores.

mod cases;
mod data;
mod expiry;
mod failing;
mod merges;
mod storage;
mod timeouts;
mod user_list;
mod users;
mod verbs;
mod web;

use std::sync::Arc;

use super::face::{SessionStore, SessionStoreBuilder};
use super::{
    context::{Context, Cx},
    watched::{Watch, Watched},
};
use crate::{DjangoSigned, KvBackend, Session, SessionKey};

mod clauses {
    pub(super) use super::{data as sdat, storage as scod, storage as skey, verbs as sverb, web as scook};

    pub(super) mod sexp {
        pub(in super::super) use super::super::{expiry::*, timeouts::*};
    }

    pub(super) mod suser {
        pub(in super::super) use super::super::{user_list::*, users::*};
    }
}

/// The clauses of `docs/contract/session.md` for a session store over a backend.
#[derive(Debug)]
pub struct SessionContract;

/// The same clauses, through the blocking session stores.
#[cfg(feature = "blocking")]
pub(super) struct BlockingSessionContract;

macro_rules! contract {
    ($($groups:tt)*) => {
        codex_testkit::__codex_testkit_contract! { SessionContract $($groups)* }

        #[cfg(feature = "blocking")]
        mod blocking {
            use super::{super::context::BlockingContext as Context, BlockingSessionContract, clauses};

            codex_testkit::__codex_testkit_contract! { BlockingSessionContract $($groups)* }
        }
    };
}
crate::__codex_kv_session_clauses!(contract);

/// The secret that signed the payloads of `tests/data/sessions.json`.
const SECRET: &str = "codex-wire-vectors-secret-key-0001";

impl<B: KvBackend> Cx<B> {
    /// Returns a builder with a codec and the clock of the clause.
    fn sessions(&self) -> SessionStoreBuilder<Arc<B>, DjangoSigned> {
        self.face
            .sessions(self.backend.clone())
            .codec(DjangoSigned::new(SECRET))
            .clock(self.time_of_day())
    }

    /// Returns a session store with the project `shop`.
    fn store(&self) -> SessionStore<Arc<B>> {
        self.sessions().project("shop").build().unwrap()
    }

    /// Returns the same store with a watch on its calls to the backend.
    fn watched_store(&self) -> (SessionStore<Watched<B>>, Watch) {
        let watched = self.watched();
        let watch = watched.interceptor().clone();
        let store = self
            .face
            .sessions(watched)
            .codec(DjangoSigned::new(SECRET))
            .clock(self.time_of_day())
            .project("shop")
            .build();
        (store.unwrap(), watch)
    }
}

/// Returns the stored key of a session of [`Cx::store`].
fn record(key: &SessionKey) -> String {
    format!("shop:session:{}", key.as_str())
}

fn key(session: &Session) -> SessionKey {
    session.key().expect("it is stored").clone()
}
