//! The modules of the kit must not import each other in cycles.
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

type Graph = BTreeMap<String, BTreeSet<String>>;

/// Returns the source without comments and unit tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns every path that a `use` names: `use a::{b, c::d};` names `a::b` and `a::c::d`.
fn uses(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("use ") {
        let is_word = |before: char| before.is_alphanumeric() || before == '_';
        if code[..at].chars().next_back().is_some_and(is_word) {
            continue;
        }
        if let Some(statement) = code[at + 4..].split(';').next() {
            expand(&[], statement.trim(), &mut found);
        }
    }
    found
}

fn expand(before: &[String], tree: &str, found: &mut Vec<Vec<String>>) {
    let mut path = before.to_vec();
    let Some((head, group)) = tree.split_once('{') else {
        let named = tree.split(" as ").next().unwrap_or_default();
        path.extend(named.split("::").map(|part| part.trim().to_owned()));
        return found.push(path);
    };
    path.extend(
        head.split("::")
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(str::to_owned),
    );
    let (mut depth, mut start) = (0, 0);
    let group = group.trim_end().trim_end_matches('}');
    for (at, char) in group.char_indices().chain([(group.len(), ',')]) {
        match char {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let item = group[start..at].trim();
                if !item.is_empty() {
                    expand(&path, item, found);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// Returns the imports between the child modules of the module at `directory`. `prefixes` are the
/// ways to name that module from a file.
fn imports(directory: &Path, root: &Path, prefixes: impl Fn(&Path) -> Vec<Vec<String>>) -> Graph {
    let children: BTreeSet<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir() || path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|name| name != "mod" && name != "lib")
        .collect();
    // The child that each name exported by the module comes from.
    let mut exported = BTreeMap::new();
    for path in uses(&code(root)) {
        if let [child, .., item] = path.as_slice()
            && children.contains(child)
        {
            exported.insert(item.clone(), child.clone());
        }
    }
    let mut graph = Graph::new();
    for file in files(directory) {
        let relative = file.strip_prefix(directory).unwrap().with_extension("");
        let child = relative
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_str()
            .unwrap()
            .to_owned();
        if !children.contains(&child) {
            continue;
        }
        for path in uses(&code(&file)) {
            for prefix in prefixes(&relative) {
                if let Some([name, ..]) = path.strip_prefix(prefix.as_slice()) {
                    let target = if children.contains(name) {
                        Some(name)
                    } else {
                        exported.get(name)
                    };
                    if let Some(target) = target.filter(|target| **target != child) {
                        graph.entry(child.clone()).or_default().insert(target.clone());
                    }
                }
            }
        }
    }
    graph
}

/// Removes modules without remaining imports until none can be removed. The remaining modules are
/// in cycles, or lead to one.
fn circles(mut graph: Graph) -> Graph {
    loop {
        let left: BTreeSet<String> = graph.keys().cloned().collect();
        for targets in graph.values_mut() {
            targets.retain(|target| left.contains(target));
        }
        let before = graph.len();
        graph.retain(|_, targets| !targets.is_empty());
        if graph.len() == before {
            return graph;
        }
    }
}

fn names(parts: &[&str]) -> Vec<String> {
    parts.iter().map(|part| (*part).to_owned()).collect()
}

#[test]
fn the_modules_of_the_crate_have_no_import_circle() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let graph = imports(&source, &source.join("lib.rs"), |_| vec![names(&["crate"])]);
    assert!(graph.len() > 10, "the test reads no imports: {graph:#?}");
    assert_eq!(circles(graph), Graph::new());
}

#[test]
fn the_modules_of_a_directory_have_no_import_circle() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for module in ["redis", "rendering", "doubles"] {
        let directory = source.join(module);
        let graph = imports(&directory, &directory.join("mod.rs"), |_| {
            vec![names(&["super"]), names(&["crate", module])]
        });
        assert!(!graph.is_empty(), "{module}: the test reads no imports");
        assert_eq!(circles(graph), Graph::new(), "{module}");
    }
}

#[test]
fn a_circle_is_found() {
    let graph = |edges: &[(&str, &str)]| {
        let mut graph = Graph::new();
        for (from, to) in edges {
            graph.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        graph
    };
    assert_eq!(circles(graph(&[("a", "b"), ("b", "c")])), Graph::new());
    let found = circles(graph(&[("a", "b"), ("b", "c"), ("c", "b"), ("c", "d")]));
    assert_eq!(found.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    let mut paths = Vec::new();
    expand(&[], "a::{b, c::{d, e as f}, self}", &mut paths);
    assert_eq!(
        paths,
        [
            names(&["a", "b"]),
            names(&["a", "c", "d"]),
            names(&["a", "c", "e"]),
            names(&["a", "self"])
        ]
    );
}
