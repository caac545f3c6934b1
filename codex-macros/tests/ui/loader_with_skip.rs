use codex_macros::cached;

#[cached(cache = CACHE, lease = MINUTE, skip(db))]
async fn user(db: Db, id: u64) -> Result<String, Error> {
    db.load(id).await
}

fn main() {}
