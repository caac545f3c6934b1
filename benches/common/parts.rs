//! The parts of a benchmark, chosen by arguments.

/// Runs the parts that `asked` names, or all parts if it is empty. Exits with 2 if a name is
/// unknown.
pub(crate) fn run(parts: &[(&str, fn())], asked: &[String]) {
    if let Some(unknown) = asked.iter().find(|asked| parts.iter().all(|(name, _)| name != asked)) {
        let names: Vec<&str> = parts.iter().map(|(name, _)| *name).collect();
        let names = names.join(", ");
        eprintln!("unknown part {unknown}; the parts are {names}, and without an argument all of them run");
        std::process::exit(2);
    }
    for (name, run) in parts {
        if asked.is_empty() || asked.iter().any(|asked| asked == name) {
            run();
        }
    }
}
