//! Each backend of the zoo fails the clause that its fault breaks. That the same without a fault fails none is in `specimen.rs`.

mod zoo;

use std::{fmt::Write as _, path::Path};

use codex_testkit::{ClauseId, Outcome, run_only};
use zoo::{Fault, SpecimenHarness, faults};

fn is_killed(fault: Fault, clause: &str) {
    let id: ClauseId = clause.parse().unwrap_or_else(|error| panic!("{error}"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build();
    let runtime = runtime.unwrap_or_else(|error| panic!("no runtime: {error}"));
    let report = runtime.block_on(run_only(&SpecimenHarness::with(fault), [id]));
    let outcome = &report.outcomes[0].1;
    assert!(
        matches!(outcome, Outcome::Failed(_)),
        "{id} does not kill {fault:?}: {outcome:?}"
    );
}

macro_rules! tests {
    ($($fault:ident $clause:ident)*) => {
        $(
            #[test]
            #[expect(non_snake_case, reason = "named after the fault")]
            fn $fault() {
                is_killed(Fault::$fault, stringify!($clause));
            }
        )*
    };
}
faults::every_fault!(tests);

/// The table in the docs is this zoo. `UPDATE_DOCS=1` writes it.
#[test]
fn the_table_in_the_docs_is_this_zoo() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("ZOO.md");
    let mut table = String::from(
        "# The zoo\n\n\
         Backends that are wrong in one way each, and the clause of the contract that tells. `tests/zoo_is_killed.rs` runs the clause on the mutant,\n\
         where it must fail; the same backend without a fault passes all of them (`tests/specimen.rs`). Every row is a test.\n\n\
         | mutant | what is wrong | killed by |\n|---|---|---|\n",
    );
    for (fault, clause, text) in faults::ALL {
        let id: ClauseId = clause.parse().unwrap_or_else(|error| panic!("{error}"));
        let text = text.replace('|', "\\|").replace('*', "\\*");
        let _ = writeln!(table, "| {fault:?} | {text} | {id} |");
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &table).unwrap_or_else(|error| panic!("{error}"));
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == table,
        "ZOO.md is not up to date: run this test with UPDATE_DOCS=1"
    );
}

/// No clause that applies is without a mutant.
#[test]
fn every_clause_kills_something() {
    let killers: Vec<&str> = faults::ALL.iter().map(|(_, clause, _)| *clause).collect();
    let idle: Vec<String> = ClauseId::all()
        .filter(|id| !killers.contains(&id.ident()))
        .map(|id| id.to_string())
        .collect();
    assert_eq!(idle, ["scan-10"], "scan-10 needs a cluster");
}
