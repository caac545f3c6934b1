use codex_macros::cached;

#[cached(cache = CACHE, skip(db))]
async fn user(id: u64) -> Result<String, Error> {
    load(id).await
}

fn main() {}
