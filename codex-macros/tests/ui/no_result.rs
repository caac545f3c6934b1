use codex_macros::cached;

#[cached(cache = CACHE)]
async fn user(id: u64) -> String {
    load(id).await
}

fn main() {}
