use codex_macros::cached;

#[cached(cache = CACHE, stale_for = MINUTE)]
async fn user(name: &str) -> Result<String, Error> {
    load(name).await
}

fn main() {}
