use codex_macros::cached;

#[cached(cache = CACHE)]
fn user(id: u64) {
    load(id);
}

fn main() {}
