use codex_macros::cached;

struct Users;

impl Users {
    #[cached(cache = CACHE, jitter = 0.1)]
    async fn user(&self, id: u64) -> Result<String, Error> {
        self.load(id).await
    }
}

fn main() {}
