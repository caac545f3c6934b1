//! Tests of the manifests: the minimum Rust version, and the requirements of published packages.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

use std::{collections::BTreeSet, process::Command};

use serde_json::Value;

const PUBLISHED: [&str; 6] = [
    "codex-kv",
    "codex-macros",
    "codex-memory",
    "codex-redis",
    "codex-testkit",
    "codex-traits",
];

fn metadata() -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let run = Command::new(cargo)
        // Not offline: a build has downloaded only the crates of its own platform.
        .args(["metadata", "--format-version=1", "--all-features", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    serde_json::from_slice(&run.stdout).unwrap()
}

fn packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    metadata["packages"].as_array().unwrap().iter()
}

fn published(metadata: &Value) -> impl Iterator<Item = &Value> {
    packages(metadata)
        .filter(|package| package["source"].is_null() && PUBLISHED.iter().any(|name| package["name"] == *name))
}

/// Returns the major and minor number of a version of Rust.
fn rust_version(text: &str) -> (u32, u32) {
    let mut numbers = text.split('.').map(|number| number.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap_or(0))
}

/// Returns the ids of all packages that users of the published packages compile, with any features.
fn compiled_by_users(metadata: &Value) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    let mut waiting: Vec<&str> = published(metadata)
        .map(|package| package["id"].as_str().unwrap())
        .collect();
    while let Some(id) = waiting.pop() {
        if !found.insert(id) {
            continue;
        }
        let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
        let node = nodes.iter().find(|node| node["id"] == id).unwrap();
        for dependency in node["deps"].as_array().unwrap() {
            let kinds = dependency["dep_kinds"].as_array().unwrap();
            if kinds.iter().any(|kind| kind["kind"] != "dev") {
                waiting.push(dependency["pkg"].as_str().unwrap());
            }
        }
    }
    found
}

#[test]
fn the_minimum_rust_version_is_the_newest_that_a_dependency_declares() {
    let metadata = metadata();
    let compiled = compiled_by_users(&metadata);
    assert!(compiled.len() > 100, "only {} packages", compiled.len());
    let newest = packages(&metadata)
        .filter(|package| compiled.contains(package["id"].as_str().unwrap()) && !package["source"].is_null())
        .filter_map(|package| Some((rust_version(package["rust_version"].as_str()?), &package["name"])))
        .max_by_key(|(version, _)| *version)
        .unwrap();
    for package in published(&metadata) {
        let ours = rust_version(package["rust_version"].as_str().unwrap());
        assert_eq!(ours, newest.0, "{} against {}", package["name"], newest.1);
    }
}

#[test]
fn published_packages_say_where_they_come_from_and_include_what_they_need_alone() {
    let metadata = metadata();
    assert_eq!(published(&metadata).count(), PUBLISHED.len());
    for package in published(&metadata) {
        for field in ["description", "documentation", "license", "readme", "repository"] {
            assert!(package[field].is_string(), "{} has no {field}", package["name"]);
        }
        for field in ["categories", "keywords"] {
            assert!(
                !package[field].as_array().unwrap().is_empty(),
                "{} has no {field}",
                package["name"]
            );
        }
    }
    let others = packages(&metadata).filter(|package| package["source"].is_null());
    for package in others.filter(|package| !PUBLISHED.iter().any(|name| package["name"] == *name)) {
        assert_eq!(
            package["publish"],
            Value::Array(Vec::new()),
            "{} could be published",
            package["name"]
        );
    }
}

/// A dev-dependency with a version must be published first, which is impossible because the
/// backends and the test kit depend on each other.
#[test]
fn dev_dependencies_on_the_workspace_have_no_version() {
    let metadata = metadata();
    for package in published(&metadata) {
        for dependency in package["dependencies"].as_array().unwrap() {
            if dependency["kind"] == "dev" && !dependency["path"].is_null() {
                assert_eq!(dependency["req"], "*", "{} on {}", package["name"], dependency["name"]);
                assert_ne!(
                    dependency["name"], package["name"],
                    "a dependency on itself hides missing features"
                );
            }
        }
    }
}
