use codex_macros::cached;

#[cached(cache = CACHE, ttl = 60)]
async fn user(id: u64) -> Result<String, Error> {
    load(id).await
}

fn main() {}
