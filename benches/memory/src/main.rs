//! codex-memory beside its peers. `scripts/bench memory` runs it; arguments name the parts to run.

mod allocator;
mod bytes_per_entry;
mod expiry;
mod hit_rate;
mod input;
mod peers;
mod plot;
mod profile;
mod scan;
mod speed;
mod traces;

#[global_allocator]
static ALLOCATOR: allocator::Counting = allocator::Counting;

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let parts: [(&str, fn()); 5] = [
        ("bytes", bytes_per_entry::run),
        ("expiry", expiry::run),
        ("hits", hit_rate::run),
        ("scan", scan::run),
        ("speed", speed::run),
    ];
    if asked == ["profile"] {
        return profile::run();
    }
    if let Some(unknown) = asked.iter().find(|asked| parts.iter().all(|(name, _)| name != asked)) {
        let names = parts.map(|(name, _)| name).join(", ");
        eprintln!("unknown part {unknown}; there are {names}, and all of them without an argument");
        std::process::exit(2);
    }
    for (name, run) in parts {
        if asked.is_empty() || asked.iter().any(|asked| asked == name) {
            run();
        }
    }
}
