use codex_macros::cached;

struct Users;

impl Users {
    #[cached(cache = self.cache)]
    async fn user(&self, id: u64) -> Result<String, Error> {
        self.load(id).await
    }
}

fn main() {}
