//! The layers of the crate: a module imports only from the layers below its own. The modules of the
//! top layer may also import each other.
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The layers from the bottom up. The modules of a row do not import each other, except in the top
/// layer.
const LAYERS: [&[&str]; 6] = [
    &["config", "observe"],
    &["wire"],
    &["connection"],
    &["server"],
    &["route"],
    &["backend", "commands", "connection_like", "health", "tracking"],
];

/// The uppermost layer, whose modules import each other.
const TOP: usize = LAYERS.len() - 1;

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// Returns the modules at the root of the crate that a file's code names, with the lines that name
/// them.
fn named(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let code = text
        .lines()
        .map(|line| if line.trim_start().starts_with("//") { "" } else { line });
    let code: Vec<&str> = code.collect();
    let text = code.join("\n");
    for (at, _) in text.match_indices("crate::") {
        let line = text[..at].matches('\n').count() + 1;
        let rest = &text[at + "crate::".len()..];
        let mut add = |path: &str| {
            let module: String = path
                .trim_start()
                .chars()
                .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
                .collect();
            if !module.is_empty() {
                found.push((line, module));
            }
        };
        let Some(list) = rest.strip_prefix('{') else {
            add(rest);
            continue;
        };
        // The first path of each item at the first depth.
        let (mut depth, mut is_first) = (0, true);
        for (at, letter) in list.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => is_first = true,
                letter if is_first && !letter.is_whitespace() => {
                    add(&list[at..]);
                    is_first = false;
                }
                _ => {}
            }
        }
    }
    found
}

/// Returns the faults in the imports of one file.
fn violations(name: &str, text: &str) -> Vec<String> {
    let module = name.split(['/', '.']).next().unwrap();
    let Some(own) = layer(module) else {
        return vec![format!("{name}: the module `{module}` has no layer")];
    };
    let wrong = |(line, other): (usize, String)| {
        let is_allowed = other == module
            || match layer(&other) {
                // A type that the root of the crate exports belongs to the upper layers.
                None => false,
                Some(layer) => layer < own || (layer == own && own == TOP),
            };
        (!is_allowed).then(|| format!("{name}:{line}: `{module}` must not know `{other}`"))
    };
    named(text).into_iter().filter_map(wrong).collect()
}

#[test]
fn no_module_knows_one_that_is_above_it() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    for path in files(&source) {
        let name = path.strip_prefix(&source).unwrap().to_str().unwrap().replace('\\', "/");
        if name != "lib.rs" {
            found.extend(violations(&name, &fs::read_to_string(&path).unwrap()));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn an_arrow_that_points_up_is_found() {
    for (name, text, count) in [
        ("wire/reply.rs", "use crate::connection::queue::Queue;", 1),
        (
            "wire/reply.rs",
            "use crate::{\n    config::settings,\n    server::{Server, pool},\n    route,\n};",
            2,
        ),
        ("connection/driver.rs", "fn f() { crate::backend::scan() }", 1),
        ("config/builder.rs", "use crate::observe::metrics;", 1),
        ("config/builder.rs", "use crate::RedisBackend;", 1),
        ("elsewhere/a.rs", "", 1),
        (
            "wire/reply.rs",
            "/// [`crate::backend`]\n// crate::route\nuse crate::wire::error;",
            0,
        ),
        (
            "backend.rs",
            "use crate::{commands, wire::reply, config::builder::RedisBuilder};",
            0,
        ),
        (
            "server/pool.rs",
            "use crate::connection::{connect::Connection, failure::{DialError, End}};",
            0,
        ),
    ] {
        assert_eq!(violations(name, text).len(), count, "{name}: {text}");
    }
}
