use codex_macros::cached;

#[cached(cache = CACHE)]
struct User;

fn main() {}
