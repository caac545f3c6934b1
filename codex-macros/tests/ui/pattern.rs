use codex_macros::cached;

#[cached(cache = CACHE)]
fn user((id, language): (u64, String)) -> Result<String, Error> {
    load(id, language)
}

fn main() {}
