//! A list of clauses that can be checked on the backends of a harness.

use futures_util::future::BoxFuture;

use crate::{
    ClauseId, Harness,
    clause_id::{Entry, UnknownClause},
    failure::Checked,
};

/// A list of clauses that can be checked on the backends of a harness. `__codex_testkit_contract!`
/// implements this trait.
pub trait Contract {
    /// Returns the list.
    fn entries() -> &'static [Entry];

    /// Checks one clause of the list.
    fn check<H: Harness>(id: ClauseId, harness: &H) -> BoxFuture<'_, Checked>;

    /// Returns every clause, in the order of the list.
    fn clauses() -> impl ExactSizeIterator<Item = ClauseId> {
        Self::entries().iter().map(ClauseId)
    }

    /// Returns the clause with this id or name, written with hyphens or underscores.
    ///
    /// # Errors
    ///
    /// [`UnknownClause`] if the list has no such clause.
    fn clause(text: &str) -> Result<ClauseId, UnknownClause> {
        let ident = text.replace('-', "_");
        Self::clauses()
            .find(|clause| clause.ident() == ident || clause.name() == ident)
            .ok_or_else(|| UnknownClause(text.to_owned()))
    }
}

/// Implements [`Contract`] for a type from a list of clauses. The call site provides
/// `clauses::$group::$name`, and a `Context` that calls the clause and explains its outcome.
#[macro_export]
macro_rules! __codex_testkit_contract {
    ($contract:ident $($group:ident { $($id:ident $name:ident [$($capability:ident)?] $text:literal;)* })*) => {
        impl $crate::suite::Contract for $contract {
            fn entries() -> &'static [$crate::suite::Entry] {
                static ENTRIES: &[$crate::suite::Entry] = &[$($($crate::suite::Entry {
                    group: stringify!($group),
                    id: stringify!($id),
                    name: stringify!($name),
                    text: $text,
                    capability: $crate::__codex_testkit_contract!(@capability $($capability)?),
                },)*)*];
                ENTRIES
            }

            fn check<H: $crate::Harness>(
                id: $crate::ClauseId,
                harness: &H,
            ) -> $crate::suite::BoxFuture<'_, $crate::suite::Checked> {
                match id.name() {
                    $($(stringify!($name) => {
                        // Each clause has its own function. Without optimization, the futures of
                        // all clauses would otherwise share one stack frame, which would exceed a
                        // thread's stack.
                        let begin = || -> $crate::suite::BoxFuture<'_, $crate::suite::Checked> {
                            Box::pin(async move {
                                let context = Context::new(harness);
                                let checked = clauses::$group::$name(&context).await;
                                context.explained(id, checked).await
                            })
                        };
                        begin()
                    })*)*
                    _ => Box::pin(async move {
                        Err($crate::suite::Failure::Broken(format!("{id} is no clause of this contract")))
                    }),
                }
            }
        }
    };
    (@capability) => { None };
    (@capability $capability:ident) => { Some($crate::suite::Capability::$capability) };
}
