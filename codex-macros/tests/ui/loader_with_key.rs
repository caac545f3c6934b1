use codex_macros::cached;

#[cached(cache = CACHE, fresh_for = MINUTE, key = "user:{id}")]
async fn user(id: u64) -> Result<String, Error> {
    load(id).await
}

fn main() {}
