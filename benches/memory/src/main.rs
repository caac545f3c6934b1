//! codex-memory compared with its peers. `scripts/bench memory` runs it; arguments name the parts
//! to run.

mod allocator;
mod bytes_per_entry;
mod expiry;
mod hit_rate;
#[path = "../../common/images.rs"]
mod images;
mod input;
#[path = "../../common/parts.rs"]
mod parts;
mod peers;
mod plot;
mod profile;
#[path = "../../common/random.rs"]
mod random;
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
    parts::run(&parts, &asked);
}
