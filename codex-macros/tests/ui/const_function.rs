use codex_macros::cached;

#[cached(cache = CACHE)]
const fn user(id: u64) -> Result<u64, Error> {
    Ok(id)
}

fn main() {}
