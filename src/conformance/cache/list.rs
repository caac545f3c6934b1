//! The list of the clauses of caches that depend on the backend. The runner, the report and the
//! macro's tests all use it.

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
                cval_09 cval_09_what_is_stored_can_be_read []
                    "what `set` accepts `get` of the same type reads: a value nested deeper than the reader's limit is refused on writing, with an error that says \"nested too deeply\"";
                cval_10 cval_10_bytes_are_stored_as_they_are []
                    "`get_bytes`, `set_bytes` (and `add_bytes`, `get_or_set_bytes`) store bytes as they are, with the cache's keys, timeouts and versions";
                cval_11 cval_11_a_value_of_one_format_is_an_error_in_another []
                    "formats beside JSON (features `messagepack`, `compression`): a value written in one is an error in another, never a wrong value; the inflated size is bounded";
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
                cverb_13 cverb_13_an_outdated_value_is_not_stored []
                    "`delete`, `set`, `touch(0)`, `clear`, `group.invalidate()` through any clone of a cache, while a value of that key is being computed: the computed value is returned to those who asked before and is not stored; whoever asks after it computes anew";
                cverb_14 cverb_14_no_wait_is_without_a_bound []
                    "no wait without a bound: a caller that waits for another's computation computes for itself after `max_wait` (default 10 s), also when the other one is not being polled";
            }
            load {
                load_01 load_01_a_key_is_computed_once_per_process []
                    "a `Loader` computes a key once per process, however many ask, in a task of its own: a caller that is dropped stops nothing and strands nobody";
                load_02 load_02_fresh_stale_missing []
                    "fresh, stale, missing: within `fresh_for` the stored value; within `stale_for` after that the stored value at once and one refresh in the background; after that callers wait";
                load_03 load_03_the_state_is_told []
                    "the state is told: `Loaded { value, state: Fresh | Stale | Computed, age }`";
                load_04 load_04_freshness_comes_from_the_remaining_ttl []
                    "freshness comes from the remaining TTL (TTL = `fresh_for + stale_for`, read with the value in one round trip), so that what is stored stays plain JSON that Django reads";
                load_05 load_05_a_failed_computation_leaves_the_stale_value []
                    "when the computation fails and a stale value is there, that value is returned, the failure is logged and counted, and the next attempt waits `retry_after`; without one the error is returned to all who waited";
                load_06 load_06_with_a_lease_one_process_computes []
                    "`lease(d)`: across processes one computes and the others wait or get the stale value; a holder that dies delays the others by at most `d`; a holder whose lease has passed stores nothing";
                load_07 load_07_a_deleted_or_replaced_key_voids_the_lease []
                    "deleting or replacing the key while a lease is held makes the holder's result not be stored, by whichever process it was deleted";
                load_08 load_08_the_placeholder_is_never_handed_out []
                    "the placeholder of a lease is never handed to a caller of `Cache`, and is only ever written by a loader that was given `lease`";
                load_09 load_09_jitter_spreads_deadlines []
                    "`jitter(f)` spreads deadlines by up to that fraction, never beyond `fresh_for + stale_for`";
                load_10 load_10_many_keys_at_once []
                    "`get_many` of a loader: one round trip for what is there, one call of a batch function for what is missing";
            }
            group {
                group_01 group_01_a_group_is_a_cache_under_a_random_generation []
                    "`cache.group(\"user:42\").await` is a cache whose keys live under a random generation; `invalidate()` writes a new one: O(1), whatever the group holds";
                group_02 group_02_old_values_are_never_seen_under_a_new_generation []
                    "a value that was computed under an old generation is never seen under the new one, whichever process stored it, and when";
                group_03 group_03_a_lost_record_is_replaced_by_a_new_generation []
                    "a generation record that is lost (evicted, expired, flushed) is replaced by a new random one: old values never come back";
            }
            stat {
                stat_01 stat_01_a_cache_counts_what_it_answers []
                    "hits, misses, stale hits, computations, refused fills and errors are counted per cache (`cache.stats()`; with the feature `metrics` by the facade), with the cache's name and no key";
            }
        }
    };
}
