use codex_macros::cached;

#[cached(cache = CACHE, stale_for = MINUTE)]
async fn user<T: Id>(id: T) -> Result<String, Error> {
    load(id).await
}

fn main() {}
