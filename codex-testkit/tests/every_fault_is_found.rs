//! Every faulty backend fails the clause that its fault violates. `sound_backend.rs` shows that the
//! same backends pass every clause without a fault.

mod faulty_backends;

use std::{fmt::Write as _, path::Path};

use codex_testkit::{ClauseId, Harness, Outcome, run_only};
use faulty_backends::{
    Fault, FaultyBackendHarness, altered,
    altered::{Alteration, AlteredHarness},
    connected,
    connected::{ConnectedHarness, ConnectionFault},
    faults, journaled,
    journaled::{JournalFault, JournaledHarness},
};

/// Asserts that the clause fails on the backends of `harness`.
fn is_found(harness: &impl Harness, fault: &str, clause: &str) {
    let id: ClauseId = clause.parse().unwrap_or_else(|error| panic!("{error}"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build();
    let runtime = runtime.unwrap_or_else(|error| panic!("no runtime: {error}"));
    let report = runtime.block_on(run_only(harness, [id]));
    let outcome = &report.outcomes[0].1;
    assert!(
        matches!(outcome, Outcome::Failed(_)),
        "{id} does not find {fault}: {outcome:?}"
    );
}

macro_rules! tests {
    ($($fault:ident $clause:ident)*) => {
        $(
            #[test]
            #[expect(non_snake_case, reason = "named after the fault")]
            fn $fault() {
                let harness = FaultyBackendHarness::with(Fault::$fault);
                is_found(&harness, stringify!($fault), stringify!($clause));
            }
        )*
    };
}
faults::every_fault!(tests);

macro_rules! journal_tests {
    ($($fault:ident $clause:ident)*) => {
        $(
            #[test]
            #[expect(non_snake_case, reason = "named after the fault")]
            fn $fault() {
                let harness = JournaledHarness::new(Some(JournalFault::$fault));
                is_found(&harness, stringify!($fault), stringify!($clause));
            }
        )*
    };
}
journaled::every_journal_fault!(journal_tests);

macro_rules! altered_tests {
    ($($alteration:ident $clause:ident)*) => {
        $(
            #[test]
            #[expect(non_snake_case, reason = "named after the fault")]
            fn $alteration() {
                let harness = AlteredHarness::new(Some(Alteration::$alteration));
                is_found(&harness, stringify!($alteration), stringify!($clause));
            }
        )*
    };
}
altered::every_alteration!(altered_tests);

macro_rules! connection_tests {
    ($($fault:ident $clause:ident)*) => {
        $(
            #[test]
            #[expect(non_snake_case, reason = "named after the fault")]
            fn $fault() {
                let harness = ConnectedHarness::new(Some(ConnectionFault::$fault));
                is_found(&harness, stringify!($fault), stringify!($clause));
            }
        )*
    };
}
connected::every_connection_fault!(connection_tests);

/// The process that dur-02 starts and kills. It is not a test by itself.
#[tokio::test]
#[ignore = "started by dur_02 in a process of its own"]
async fn killable_writer() {
    journaled::write_if_told_to().await;
}

/// Returns every fault with its clause and its description, in the order of the files.
fn every_fault() -> impl Iterator<Item = (String, &'static str, &'static str)> {
    fn described<F: std::fmt::Debug>(
        all: &'static [(F, &'static str, &'static str)],
    ) -> impl Iterator<Item = (String, &'static str, &'static str)> {
        all.iter()
            .map(|(fault, clause, text)| (format!("{fault:?}"), *clause, *text))
    }
    described(faults::ALL)
        .chain(described(altered::ALL))
        .chain(described(journaled::ALL))
        .chain(described(connected::ALL))
}

/// `FAULTY_BACKENDS.md` lists the faults. `UPDATE_DOCS=1` writes it.
#[test]
fn faulty_backends_md_lists_every_fault() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("FAULTY_BACKENDS.md");
    let mut table = String::from(
        "# Faulty backends\n\n\
         Backends with one fault each, and the clause of the contract that finds it.\n\
         `tests/every_fault_is_found.rs` runs the clause on the faulty backend, where it must fail. The same\n\
         backend without a fault passes every clause (`tests/sound_backend.rs`). Every row is a test.\n\n\
         | fault | description | found by |\n|---|---|---|\n",
    );
    for (fault, clause, text) in every_fault() {
        let id: ClauseId = clause.parse().unwrap_or_else(|error| panic!("{error}"));
        let text = text.replace('|', "\\|").replace('*', "\\*");
        let _ = writeln!(table, "| {fault} | {text} | {id} |");
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &table).unwrap_or_else(|error| panic!("{error}"));
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == table,
        "FAULTY_BACKENDS.md is not up to date: run this test with UPDATE_DOCS=1"
    );
}

/// Every clause that applies must find at least one fault.
#[test]
fn every_clause_finds_a_fault() {
    let finders: Vec<&str> = every_fault().map(|(_, clause, _)| clause).collect();
    let idle: Vec<String> = ClauseId::all()
        .filter(|id| !finders.contains(&id.ident()))
        .map(|id| id.to_string())
        .collect();
    assert_eq!(idle, ["scan-10"], "scan-10 needs a cluster");
}
