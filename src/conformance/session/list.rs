//! The list of the clauses of session stores that depend on the backend. The runner, the report and
//! the macro's tests all use it.

/// Calls `$callback!` with every clause, as `codex-testkit`'s list does.
#[doc(hidden)]
#[macro_export]
macro_rules! __codex_kv_session_clauses {
    ($callback:ident) => {
        $callback! {
            skey {
                skey_01 skey_01_the_stored_key_is_project_prefix_and_session_key []
                    "the stored key is `{project}:{key_prefix}:{session_key}`, empty segments left out (`wire/cache.json`, `session_keys`)";
                skey_04 skey_04_a_quoted_key_is_read_and_the_first_that_can_be_one_counts []
                    "the cookie value may be quoted (`\"…\"`) and is read without the quotes; of several cookies of the name the first that can be a key counts";
            }
            scod {
                scod_02 scod_02_what_django_wrote_is_read_and_kept []
                    "every payload of `wire/sessions.json` is read to its data; what is written under the same key and time is, uncompressed, the same text, and compressed, read by Django to the same data";
                scod_04 scod_04_a_session_of_an_old_secret_is_loaded_and_signed_with_the_new_one []
                    "secret fallbacks: a payload signed with an old secret is read, and signed with the new one when saved";
                scod_05 scod_05_values_of_others_survive_a_save []
                    "what others wrote is handed back unchanged, value for value: integers past 64 bits, floats, lone surrogates, key order";
                scod_07 scod_07_a_session_past_the_limit_is_neither_saved_nor_read []
                    "a payload that decompresses past a limit (default 1 MiB, settable) is refused before it is held in memory";
                scod_08 scod_08_another_codec_can_be_given []
                    "another codec can be given as a type parameter";
            }
            sverb {
                sverb_01 sverb_01_create_stores_at_once []
                    "`create` stores at once with SET NX EX and tries another key on a collision; a full key space or a broken generator ends in an error, not a loop";
                sverb_02 sverb_02_save_of_a_session_that_is_gone_writes_nothing []
                    "`save` of a session deleted or expired elsewhere is `Gone` and writes nothing: SET XX, one step";
                sverb_03 sverb_03_save_of_a_session_changed_elsewhere_is_a_conflict []
                    "`save` of a session changed elsewhere since it was loaded is `Conflict` and writes nothing; the other's change is intact";
                sverb_04 sverb_04_update_loses_nothing []
                    "`update(key, closure)` loads, applies, saves, and retries on `Conflict` (bounded); 8 tasks × 100 updates lose none";
                sverb_05 sverb_05_load_of_what_is_missing_or_unreadable_is_none []
                    "`load` of a missing, expired or unreadable session is `None`, creates nothing; unreadable is logged without the payload";
                sverb_06 sverb_06_an_outage_is_an_error_from_every_verb []
                    "an outage is an error from every verb: a broken Redis never looks like an empty session";
                sverb_07 sverb_07_cycle_key_keeps_the_data_under_a_new_key []
                    "`cycle_key` keeps the data, gives a new key, removes the old one; the new one is stored before the old is removed";
                sverb_08 sverb_08_flush_removes_the_record_and_gives_an_empty_session []
                    "`flush` removes the record and gives an empty session without a key";
                sverb_09 sverb_09_delete_and_exists []
                    "`delete` and `exists` by key; deleting what is not there is no error";
                sverb_10 sverb_10_clear_expired_says_that_it_does_nothing []
                    "`clear_expired` does nothing on a backend that expires by itself, and says so";
                sverb_11 sverb_11_an_empty_session_that_is_saved_is_a_record []
                    "an empty session that is saved is a record";
                sverb_12 sverb_12_each_kind_of_failure_has_its_own_answer []
                    "each kind of failure has its own answer: what was asked wrongly is never answered as an outage, and an outage never as a mistake of the caller";
            }
            scook {
                scook_01 scook_01_a_response_removes_no_cookie_of_another_response []
                    "a response never removes a session cookie that the browser may have received from another response meanwhile: an unknown key is ignored and a session gets a new key only when it is written; the cookie is removed only by the request that ended the session";
                scook_02 scook_02_a_browser_session_has_no_max_age []
                    "a store built with `browser_session(true)` (Django's `SESSION_EXPIRE_AT_BROWSER_CLOSE`) writes cookies without `Max-Age` unless the session says otherwise";
                scook_03 scook_03_a_cookie_that_a_browser_would_drop_is_an_error []
                    "cookie name, path, domain, `Partitioned` and prefix rules (`__Host-`, `__Secure-`) are checked when the layer is built: what a browser would drop is an error there";
            }
            sdat {
                sdat_01 sdat_01_reading_marks_accessed_and_writing_marks_modified []
                    "`get` marks accessed; `insert`, `remove` of a present key, `clear` mark modified; `remove` of a missing one does not";
                sdat_02 sdat_02_the_test_cookie_is_set_worked_and_is_deleted []
                    "the test cookie: set, worked, delete";
            }
            sexp {
                sexp_01 sexp_01_the_time_to_live_is_the_expiry_age []
                    "the TTL of the record is the session's expiry age; the default is 1,209,600 s";
                sexp_02 sexp_02_a_relative_expiry_begins_anew_with_each_save []
                    "`set_expiry(seconds)` is relative to the last modification; kept under `_session_expiry` as Django keeps it: integer, or ISO 8601 text for a date";
                sexp_03 sexp_03_an_absolute_expiry_floors_to_whole_seconds []
                    "an absolute expiry floors to whole seconds as Django does (29.9 s is 29)";
                sexp_04 sexp_04_zero_is_until_the_browser_closes []
                    "0 means until the browser closes: age is the default, `expires_at_browser_close` true";
                sexp_05 sexp_05_a_past_expiry_removes_the_record_when_saved []
                    "an expiry in the past: `save` removes the record; `exists` is false at once";
                sexp_06 sexp_06_removing_the_expiry_goes_back_to_the_default []
                    "removing the expiry goes back to the default and marks modified only where there was one";
                sexp_07 sexp_07_dates_without_an_offset_are_of_the_time_zone []
                    "a store built with `time_zone(zone)` reads and writes expiry dates without an offset in that zone, as Django does with `USE_TZ = False`";
                sexp_08 sexp_08_idle_and_absolute_timeouts []
                    "idle and absolute timeouts: the record lives until the earlier of the two; the absolute one begins at login and survives `cycle_key` and merges; idle renewals are written at most every `touch_interval` and renew the cookie too";
            }
            suser {
                suser_01 suser_01_the_sessions_of_a_user_are_listed_and_ended []
                    "`sessions(user)` lists the live sessions of a user by an opaque id (created, last seen, the caller's own label), never by key; `end(user, id)`, `end_others`, and a limit per user";
                suser_02 suser_02_the_list_is_advisory []
                    "the list is advisory and the records are the truth: it is pruned on reading, bounded, and a lost list loses no session and no revocation";
                suser_03 suser_03_loading_a_login_is_one_round_trip []
                    "loading a logged-in session is one round trip";
            }
        }
    };
}
