//! Extracts the acceptance tests for session stores from the source of `actix-session`, which
//! compiles them only for its own tests.

#![expect(clippy::expect_used, reason = "without them there is nothing to build")]

use std::{env, fs, path::PathBuf, process::Command};

fn main() {
    println!("cargo:rerun-if-changed=../../Cargo.lock");
    println!("cargo:rerun-if-changed=build.rs");
    let source = fs::read_to_string(source_of_actix_session()).expect("the source of actix-session can be read");
    let start = source
        .find("pub mod test_helpers {")
        .expect("actix-session has its acceptance tests in `test_helpers`");
    // Unchanged, except for the name of the crate.
    let tests = source[start..]
        .replace("crate::{", "actix_session::{")
        .replace("            test_helpers::key,\n", "")
        .replace(
            "        use serde::{Deserialize, Serialize};",
            "        use super::key;\n        use serde::{Deserialize, Serialize};",
        );
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("actix_session_acceptance.rs"), tests).expect("the output directory can be written");
}

/// Returns the folder into which cargo has unpacked the version of `Cargo.lock`.
fn source_of_actix_session() -> PathBuf {
    let cargo = env::var_os("CARGO").expect("cargo sets it");
    let target = env::var("TARGET").expect("cargo sets it");
    let metadata = Command::new(cargo)
        .args([
            "metadata",
            "--format-version=1",
            "--locked",
            "--filter-platform",
            &target,
        ])
        .output()
        .expect("cargo metadata runs");
    assert!(
        metadata.status.success(),
        "{}",
        String::from_utf8_lossy(&metadata.stderr)
    );
    let metadata = String::from_utf8(metadata.stdout).expect("it is JSON");
    let manifest = metadata
        .split('"')
        .find(|text| {
            let directory = text.trim_end_matches("/Cargo.toml").trim_end_matches("\\\\Cargo.toml");
            *text != directory && directory.contains("actix-session-")
        })
        .expect("actix-session is a dependency");
    PathBuf::from(manifest.replace("\\\\", "\\"))
        .with_file_name("src")
        .join("lib.rs")
}
