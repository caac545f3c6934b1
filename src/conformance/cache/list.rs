//! The one list of the clauses of caches that depend on the backend. What runs, what is reported and which tests the macro makes are
//! all read from it.

/// Calls `$callback!` with every clause, as `codex-testkit`'s list does.
#[doc(hidden)]
#[macro_export]
macro_rules! __codex_kv_cache_clauses {
    ($callback:ident) => {
        $callback! {
            ckey {
                ckey_01 ckey_01_the_stored_key_is_prefix_version_and_key []
                    "the stored key is `{key_prefix}:{version}:{key}` (`wire/cache.json`, `keys`); an empty prefix gives `:1:key`";
                ckey_02 ckey_02_prefixes_and_versions_never_meet []
                    "two prefixes, and two versions, never see each other's values; prefix `app` and `app2`, `a*b` and `axb` neither";
                ckey_03 ckey_03_an_odd_key_is_not_refused []
                    "a stored key over 250 characters, or with control characters or spaces, is warned about (once, `tracing`), not refused";
                ckey_04 ckey_04_a_key_function_can_be_given []
                    "a custom key function can be given";
            }
            cval {
                cval_01 cval_01_values_are_json_written_and_read []
                    "values are UTF-8 JSON, no ASCII escaping, separators `,` and `:` (`wire/cache.json`, `values`); every value there is written as it stands or as JSON equal to it, and read";
                cval_02 cval_02_what_json_has_no_form_for_is_refused []
                    "strict: NaN, an infinity, raw bytes (`serialize_bytes`), a map key that is no string, integer, bool or char, are errors of kind `Codec` and nothing is stored; nothing is silently turned into `null`";
                cval_03 cval_03_a_stored_null_is_a_hit []
                    "a stored `null` is a hit: `get::<Option<T>>` is `Some(None)`";
                cval_04 cval_04_an_unreadable_value_is_an_error_and_stays []
                    "a stored value that cannot be read as `T` is an error that says the type, not the value; it is not a miss and is not deleted";
                cval_05 cval_05_a_serializer_can_be_given []
                    "a serializer is a type parameter; `Json` is the default";
                cval_07 cval_07_an_integer_is_stored_as_its_decimal_text []
                    "an integer is stored as its decimal text, so that `incr` works on it; a bool is not an integer";
            }
            ctime {
                ctime_01 ctime_01_default_is_the_caches_default_timeout []
                    "`Default` is the cache's default timeout (300 s unless set); a default of `None` is for ever";
                ctime_02 ctime_02_never_stores_without_ttl_and_clears_one []
                    "`Never` stores without TTL and clears one";
                ctime_03 ctime_03_a_zero_timeout_stores_nothing []
                    "a zero timeout stores nothing and removes what is there; `add` with zero is `false` where present and leaves it";
                ctime_04 ctime_04_touch_changes_the_ttl_of_what_is_there []
                    "`touch(Default|After)` is `true` and sets the TTL where present, `false` where missing; `touch(Never)` persists and is `true` also where there was no TTL; `touch(0)` removes and tells whether it was there";
                ctime_05 ctime_05_more_than_thirty_days []
                    "more than 30 days works";
            }
            cverb {
                cverb_01 cverb_01_get_and_get_or []
                    "`get` of a missing key `None`; `get_or` the default";
                cverb_02 cverb_02_add_is_one_atomic_step []
                    "`add` is one atomic SET NX EX: `true` once among 16 racers, `false` leaves value and TTL";
                cverb_03 cverb_03_delete_tells_whether_it_was_there []
                    "`delete` tells whether it was there, in one command";
                cverb_04 cverb_04_has_key_sees_a_stored_null []
                    "`has_key` sees a stored null";
                cverb_05 cverb_05_many_keys_in_one_round_trip []
                    "`get_many` gives a map of the hits only, one round trip; `set_many` one round trip (pipelined), all with the timeout; `delete_many` one round trip; none of them fails on an empty list";
                cverb_06 cverb_06_incr_and_decr_keep_the_ttl_and_create_nothing []
                    "`incr`/`decr` return the new value, keep the TTL, refuse a missing key with `NotFound` atomically (no immortal counter), refuse what is no integer, refuse overflow";
                cverb_07 cverb_07_get_or_set_agrees_with_whoever_was_first []
                    "`get_or_set` stores and returns the default on a miss, returns the hit otherwise (also a stored null), re-reads when it lost the race";
                cverb_08 cverb_08_a_missing_value_is_computed_once []
                    "`get_or_try_set_with` calls the closure once per key however many tasks of this process ask at once; its error is returned to all and nothing is stored; a dropped caller does not strand the others";
                cverb_09 cverb_09_incr_version_moves_value_and_ttl []
                    "`incr_version`/`decr_version` move value and remaining TTL to the new version; `NotFound` where missing";
                cverb_10 cverb_10_clear_scans_and_deletes_its_prefix []
                    "`clear` runs SCAN + DEL scoped to `{key_prefix}:*`; with an empty prefix it refuses with an error and deletes nothing; never FLUSHDB";
                cverb_11 cverb_11_clear_removes_every_version_and_nothing_else []
                    "`clear` removes what a cache of this prefix can have written, `{prefix}:{integer version}:…`, every version, and nothing else: a session stored as `{prefix}:session:{key}` survives, as does the cache `app2`";
                cverb_12 cverb_12_a_backend_failure_is_an_error_from_every_verb []
                    "a backend failure is an error from every verb; there is no silent fallback";
            }
        }
    };
}
