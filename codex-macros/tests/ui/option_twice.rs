use codex_macros::cached;

#[cached(cache = CACHE, timeout = MINUTE, timeout = HOUR)]
async fn user(id: u64) -> Result<String, Error> {
    load(id).await
}

fn main() {}
