//! The list of clauses, the single source for runs, reports and generated tests.

use std::str::FromStr;

use crate::{ClauseId, clause_id::UnknownClause, clauses, context::Context, contract::Contract as _};

/// Calls `$callback!` with every clause, by group: `id name [capability] "text"`.
#[doc(hidden)]
#[macro_export]
macro_rules! __codex_testkit_clauses {
    ($callback:ident) => {
        $callback! {
            get {
                get_01 get_01_missing_key_is_none []
                    "a missing key is `None`";
                get_02 get_02_values_come_back_byte_for_byte []
                    "what was set comes back byte for byte: all 256 byte values, an empty value, 64 MiB (capability `large_values`)";
                get_03 get_03_empty_value_is_not_a_missing_one []
                    "an empty value is not a missing one";
                get_04 get_04_reading_keeps_the_ttl []
                    "reading never changes the TTL";
                get_05 get_05_a_key_is_any_utf8_text []
                    "a key is any UTF-8 text: empty, with NUL, with spaces and glob characters, 1 MiB long; no Unicode normalisation or case folding";
                get_06 get_06_another_type_is_a_data_error [ForeignTypes]
                    "a key that holds another type (a Redis list) is an error of kind `Data`, not `None` (capability `foreign_types`)";
            }
            set {
                set_01 set_01_a_set_replaces_the_value []
                    "a set replaces the value, whatever its length";
                set_02 set_02_never_clears_the_ttl []
                    "`Expiry::Never` on a key with a TTL clears the TTL";
                set_03 set_03_after_replaces_the_ttl []
                    "`Expiry::After` replaces the TTL, longer or shorter";
                set_04 set_04_keep_keeps_the_ttl []
                    "`Expiry::Keep` keeps the TTL; on a missing or expired key it gives none; after DEL there is no ghost TTL";
                set_05 set_05_clones_share_and_strangers_do_not []
                    "a clone of the backend reads what another clone wrote, at once; two fresh backends share nothing";
                set_06 set_06_zero_is_invalid []
                    "`After(0)` is `InvalidArgument`, also where the condition would not have held, and nothing changes (\"ERR invalid expire time in 'set' command\")";
                set_07 set_07_under_a_millisecond_is_one []
                    "a duration under 1 ms is rounded up to 1 ms: never zero, never for ever";
                set_08 set_08_the_longest_duration_is_taken []
                    "the longest duration Redis takes is taken; a longer one is `InvalidArgument`, never wrapped into the past";
                set_09 set_09_a_set_that_does_nothing_changes_nothing []
                    "a failed or refused set leaves value and TTL as they were";
                set_10 set_10_nothing_is_cut_or_rounded_down []
                    "1.5 ms is rounded up to 2 ms; a value of 4 MiB and of 16 MiB is either stored exactly or refused with an error, whatever `large_values` says";
            }
            cond {
                cond_01 cond_01_if_absent_writes_once []
                    "`IfAbsent` on a missing key writes; on a present one is `Refused` and leaves value and TTL (100 s stays 100 s)";
                cond_02 cond_02_if_absent_writes_over_an_expired_key []
                    "`IfAbsent` on a key that has expired but was never swept writes, with no stale TTL";
                cond_03 cond_03_if_present_creates_nothing []
                    "`IfPresent` on a missing or expired key is `Refused` and creates nothing";
                cond_04 cond_04_if_present_writes_on_a_present_key []
                    "`IfPresent` writes on a present key; without an expiry it clears the TTL, with `Keep` it keeps it";
                cond_05 cond_05_if_equals_compares_bytes []
                    "`IfEquals` writes only where the bytes are equal: \"05\" is not \"5\", empty is not missing";
                cond_06 cond_06_if_equals_creates_nothing []
                    "`IfEquals` on a missing or expired key is `Refused`";
                cond_07 cond_07_of_many_racers_one_wins []
                    "of 16 racers with `IfAbsent` exactly one is `Written`; likewise with `IfEquals` on one old value; 1,000 rounds";
                cond_08 cond_08_del_if_equals_is_one_step []
                    "`del_if_equals`: equal `true` and gone, different `false` and kept, missing `false`; compare and delete are one step under a race with `set`";
                cond_09 cond_09_if_equals_treats_the_ttl_as_any_set []
                    "`IfEquals` with `After`, `Never` and `Keep` sets, clears and keeps the TTL exactly as an unconditional `set` does";
                cond_10 cond_10_equality_is_of_all_bytes []
                    "equality is of all bytes: values of 65 bytes, 4 KiB and 1 MiB that differ in the last byte, in the first byte, in length only, in ASCII case only";
            }
            exp {
                exp_01 exp_01_ttl_says_what_is_left []
                    "`ttl` is `Missing`, `Persistent` or `Remaining`; the remainder never grows and is never above what was set";
                exp_02 exp_02_never_early_and_hardly_late []
                    "never early: the value is there until its time; and late by no more than the backend's stated granularity";
                exp_03 exp_03_an_expired_key_is_gone_for_every_verb []
                    "an expired key is gone for every verb, swept or not: get, get_many, ttl, scan, del = 0, expire = false, incr starts at 0 without TTL, IfAbsent writes";
                exp_04 exp_04_milliseconds_are_kept []
                    "millisecond durations are kept: 1,500 ms is not 1 s or 2 s";
                exp_05 exp_05_expire_creates_nothing []
                    "`expire` on a missing key is `false` and creates nothing";
                exp_06 exp_06_expire_zero_removes []
                    "`expire(After(0))` on a present key removes it and is `true` (Redis: EXPIRE with 0 or less deletes and returns 1)";
                exp_07 exp_07_expire_lengthens_and_shortens []
                    "`expire` lengthens, shortens, and keeps the value";
                exp_08 exp_08_expire_never_persists []
                    "`expire(Never)` clears the TTL; it is `true` also where there was none (Redis's PERSIST says 0 there), `false` where the key is missing";
                exp_09 exp_09_a_persisted_key_outlives_its_deadline []
                    "after `expire(Never)` the key outlives its old deadline";
                exp_10 exp_10_an_old_deadline_spares_a_newer_value []
                    "an old deadline never removes a newer value: set with 1 s, set again with 100 s, wait";
                exp_11 exp_11_too_long_is_invalid []
                    "too long a duration is `InvalidArgument` and the TTL is unchanged";
                exp_12 exp_12_the_wall_clock_changes_nothing []
                    "a wall clock set back or forward by an hour changes nothing (capability `virtual_time` or in-process)";
                exp_13 exp_13_every_handle_has_the_same_time []
                    "a second handle on the same store sees an expiry at the same moment as the first (`reopen`)";
            }
            ttl {
                ttl_01 ttl_01_value_and_ttl_are_of_one_moment [AtomicGetWithTtl]
                    "`get_with_ttl` answers value and TTL of one moment: under a writer that alternates (value a, no TTL) and (value b, 100 s) no mixture is ever seen (capability `atomic_get_with_ttl`)";
            }
            del {
                del_01 del_01_counts_what_was_there []
                    "the count is of keys that were there; missing and expired ones are not counted";
                del_02 del_02_a_key_named_twice_counts_once []
                    "a key named twice counts once (`a a b x` is 2)";
                del_03 del_03_no_keys_is_zero []
                    "no keys is `Ok(0)` (on the wire an error)";
                del_04 del_04_ten_thousand_keys_in_one_call []
                    "10,000 keys in one call";
                del_05 del_05_a_removed_key_has_no_ttl_afterwards []
                    "a removed key has no TTL when it is set again";
                del_06 del_06_the_last_of_many_is_removed_too []
                    "the last of 1,001 and of 10,000 keys is removed too, and a later read of each of them is `None`";
            }
            many {
                many_01 many_01_answers_in_the_order_asked []
                    "`get_many` answers in the order asked, a key asked twice answered twice, `None` where missing";
                many_02 many_02_nothing_asked_is_nothing_done []
                    "no keys is `Ok(vec![])`; no entries for `set_many` is `Ok(())`";
                many_03 many_03_set_many_writes_all_with_one_expiry []
                    "`set_many` writes all with the one expiry; a key given twice keeps the last value";
                many_04 many_04_ten_thousand_keys_in_one_call []
                    "`get_many` over 10,000 keys across every shard and slot";
                many_05 many_05_every_value_was_there_at_some_moment []
                    "a `get_many` never shows a value that no single moment had per key; whether the keys are one snapshot is capability `atomic_many`";
                many_06 many_06_another_type_is_none [ForeignTypes]
                    "among many, a key of another type is `None`, as MGET has it; the docs say so (capability `foreign_types`)";
                many_07 many_07_of_duplicates_the_last_value_stays []
                    "of 1,000 entries with duplicates the last value of each key stays";
            }
            incr {
                incr_01 incr_01_a_missing_key_starts_at_zero []
                    "a missing key starts at 0, `Create(expiry)` sets its TTL on creation only; `Refuse` is `None` and creates nothing";
                incr_02 incr_02_the_ttl_is_kept []
                    "the TTL is kept (77 s stays 77 s)";
                incr_03 incr_03_any_delta []
                    "negative deltas, zero (creates \"0\"), `i64::MIN`";
                incr_04 incr_04_the_text_is_canonical []
                    "the stored text is canonical decimal";
                incr_05 incr_05_what_is_no_integer_is_a_data_error []
                    "`\"\"`, `\" 1\"`, `\"1 \"`, `\"+1\"`, `\"01\"`, `\"-0\"`, `\"1.0\"`, `\"1e3\"`, `\"0x10\"`, `\"abc\"` are errors of kind `Data`; value and TTL unchanged";
                incr_06 incr_06_overflow_is_a_data_error []
                    "overflow either way is an error of kind `Data`, value and TTL unchanged";
                incr_07 incr_07_no_increment_is_lost []
                    "500 increments from each of 8 tasks are 4,000";
                incr_08 incr_08_refuse_leaves_no_counter_behind []
                    "`Refuse` never leaves a counter without TTL behind when the key expires in the middle of it";
            }
            scan {
                scan_01 scan_01_what_stays_is_found_while_others_come_and_go []
                    "a key that is there from first to last page is returned at least once, while 10,000 others come and go";
                scan_02 scan_02_only_what_is_there_is_returned []
                    "a key that was never there, or has expired, is not returned";
                scan_03 scan_03_only_a_page_without_a_cursor_ends_it []
                    "only a page without a cursor ends the scan; an empty page with one does not";
                scan_04 scan_04_it_ends_while_keys_are_added []
                    "it ends, also while writers add keys (bounded growth)";
                scan_05 scan_05_the_count_is_a_hint []
                    "the count is a hint: 0 is `InvalidArgument`, any other is taken; a page is bounded (never the whole keyspace for a small hint)";
                scan_06 scan_06_a_cursor_is_text []
                    "a cursor can be written to text, read back and resumed; a made-up one is `InvalidArgument` or ends, and never panics or loops";
                scan_07 scan_07_abandoned_scans_leak_nothing []
                    "abandoned scans leak nothing (100,000 started, memory flat)";
                scan_08 scan_08_an_empty_store_is_one_empty_page []
                    "an empty store is one empty page";
                scan_09 scan_09_keys_that_are_not_utf8_are_left_alone []
                    "keys that are not UTF-8 (written by others) are left out, and `del_matching` leaves them alone";
                scan_10 scan_10_across_every_node [Cluster]
                    "across every node of a cluster (capability `cluster`); an unreachable node is an error, never a shorter answer";
                scan_11 scan_11_a_prefix_matches_by_bytes []
                    "`Pattern::prefix` matches by bytes, whatever `* ? [ ] \\ ^ -` it holds; `app` and `app2` do not meet";
                scan_12 scan_12_del_matching_removes_what_matched []
                    "`del_matching` removes what matched, counts it, and touches nothing else; 100,000 keys";
            }
            glob {
                glob_01 glob_01_star_and_question_mark []
                    "`*` any run, also empty; `?` exactly one byte (two for `é`)";
                glob_02 glob_02_classes_and_ranges []
                    "`[ae]`, `[a-c]`, `[c-a]` the same as `[a-c]`";
                glob_03 glob_03_negated_classes []
                    "`[^e]` negates; `[!e]` is `!` or `e`; `[a^]` holds `^`";
                glob_04 glob_04_a_bracket_can_end_a_range []
                    "`h[a-]llo` matches ha, hl, ho, h^ … up to `]` as range end, not `hallo`; `[-a]` is `-` or `a`";
                glob_05 glob_05_empty_and_unclosed_classes []
                    "`[]` matches nothing; unclosed `[abc` is a class; `a[` matches nothing";
                glob_06 glob_06_escapes []
                    "`\\*` is a star; `[a\\]]` holds `]`; `[\\a-c]` is a, -, c; a trailing `\\` is a backslash";
                glob_07 glob_07_the_empty_pattern_and_the_lone_star []
                    "the empty pattern matches the empty key alone; `*` matches everything";
                glob_08 glob_08_every_other_byte_is_itself []
                    "no braces; NUL and bytes 0x80-0xFF are ordinary";
                glob_09 glob_09_many_stars_answer_at_once []
                    "`a*` twenty times then `b` answers at once (no exponential time)";
            }
            dur {
                dur_01 dur_01_a_reopened_store_has_everything [Durable]
                    "a store that declares `durable`: after it is closed and opened again (`Harness::reopen_from_storage`), values and TTLs are there, an expiry that passed meanwhile has happened, and a write that was answered is never lost";
                dur_02 dur_02_an_unclean_end_loses_no_answered_write [Durable]
                    "a store that declares `durable`: an unclean end (the process is killed during writes) loses no answered write and leaves the store readable";
            }
            life {
                life_01 life_01_an_outage_is_an_error_for_every_verb []
                    "an unreachable, stalled, refusing (NOAUTH), read-only or full (OOM) store is an `Err` for every verb, never `None`, `false`, 0 or an empty page (harness `outage`)";
                life_02 life_02_the_kind_tells_which []
                    "the kind tells which: `Connection`, `Timeout`, `Server`; `may_have_executed` is `false` only where the request provably never ran";
                life_03 life_03_the_same_handle_works_again []
                    "after the outage the same handle works again, without a restart, within the stated time";
                life_04 life_04_a_dropped_call_is_applied_once_or_not_at_all []
                    "a call dropped at any await applied once or not at all, and the next call gets its own answer; 10,000 random drops";
                life_05 life_05_nothing_is_sent_twice []
                    "nothing that is not idempotent is sent twice by the backend itself";
                life_06 life_06_histories_are_linearizable []
                    "single-key histories of 4 tasks are linearizable, expiry as an event that may come (one primary)";
                life_07 life_07_nothing_secret_is_shown []
                    "no error, `Debug` or log line holds a key, a value or a password";
                life_08 life_08_any_runtime_will_do []
                    "works on a current-thread and a multi-thread runtime, and on several runtimes one after another; in-process backends need none";
                life_09 life_09_a_panic_poisons_nothing []
                    "a panic in another task poisons nothing; dropping one clone harms no other";
                life_10 life_10_nothing_else_is_changed []
                    "nothing outside the run's own prefix is changed";
                life_11 life_11_health_tells_an_outage []
                    "`health()` is `Ok` on a working store and an error within one deadline on each outage";
                life_12 life_12_dropped_calls_leave_the_handle_usable []
                    "a caller that drops its futures early (an outer timeout shorter than the backend's own) never makes the handle unusable: on a stalled store the backend gives the connection up by itself, and the first call after the stall works";
                life_13 life_13_a_call_ends_within_its_deadline []
                    "a call ends within its deadline whatever else moves over the same connection: large writes behind it, large reads, a flood of frames that answer nothing";
                life_14 life_14_memory_of_answers_is_bounded []
                    "the memory that answers can take is bounded (`max_reply_bytes`, default 512 MiB as the server's own limit for one value, in total per connection); more is an error and the connection is left";
                life_15 life_15_no_runtime_waits_for_another []
                    "a backend built on one runtime and used on another works on both, also when the first one is not being driven";
            }
        }
    };
}

/// The contract of `KvBackend`.
#[derive(Debug)]
pub struct BackendContract;

macro_rules! registry {
    ($($groups:tt)*) => {
        crate::__codex_testkit_contract! { BackendContract $($groups)* }
    };
}
__codex_testkit_clauses!(registry);

impl ClauseId {
    /// Returns every clause of the backend contract, in the order of the contract.
    pub fn all() -> impl ExactSizeIterator<Item = Self> {
        BackendContract::clauses()
    }
}

/// Parses a clause of the backend contract: `get-01`, `get_01` or `get_01_missing_key_is_none`.
impl FromStr for ClauseId {
    type Err = UnknownClause;

    fn from_str(text: &str) -> Result<Self, UnknownClause> {
        BackendContract::clause(text)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn numbers_run_without_a_gap_and_names_begin_with_ids() {
        let mut last: BTreeMap<&str, u32> = BTreeMap::new();
        for clause in ClauseId::all() {
            let last = last.entry(clause.group()).or_default();
            *last += 1;
            assert_eq!(clause.ident(), format!("{}_{:02}", clause.group(), last));
            assert_eq!(clause.number(), *last);
            assert!(clause.name().starts_with(&format!("{}_", clause.ident())), "{clause}");
            assert!(!clause.text().is_empty());
        }
    }

    #[test]
    fn ids_are_read_in_every_spelling() {
        for text in ["get-01", "get_01", "get_01_missing_key_is_none"] {
            assert_eq!(text.parse::<ClauseId>().unwrap().to_string(), "get-01");
        }
        assert!("get_1".parse::<ClauseId>().is_err());
        assert!("".parse::<ClauseId>().is_err());
    }
}
