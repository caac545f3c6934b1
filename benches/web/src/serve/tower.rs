use axum::{Router, http::StatusCode, routing::get};
use tower_sessions::{Expiry, Session, SessionManagerLayer, cookie::time::Duration, session::Error};
use tower_sessions_redis_store::{
    RedisStore,
    fred::prelude::{ClientLike as _, Config, Pool},
};

use super::{TEXTS, TWO_WEEKS, USER, cart, next_user, serve};

async fn visits(session: &Session) -> Result<String, Error> {
    let visits = session.get::<u64>("visits").await?.unwrap_or(0) + 1;
    session.insert("visits", visits).await?;
    Ok(visits.to_string())
}

async fn shop(session: &Session) -> Result<String, Error> {
    if session.get::<String>(USER).await?.is_none() {
        session.cycle_id().await?;
        for (name, value) in TEXTS {
            session.insert(name, value).await?;
        }
        session.insert(USER, next_user()).await?;
        session.insert("cart", cart()).await?;
    }
    visits(session).await
}

fn answer(page: Result<String, Error>) -> Result<String, StatusCode> {
    page.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

pub async fn tower(url: &str) {
    // As many connections as in the store's own documentation, unless `BENCH_POOL` is set.
    let connections = std::env::var("BENCH_POOL").map_or(6, |count| count.parse().expect("a number"));
    let config = Config::from_url(url).expect("a URL");
    let pool = Pool::new(config, None, None, None, connections).expect("a pool");
    pool.init().await.expect("a Redis");
    let age = Duration::seconds(i64::try_from(TWO_WEEKS).expect("it fits"));
    let layer = SessionManagerLayer::new(RedisStore::new(pool)).with_expiry(Expiry::OnInactivity(age));
    let app = Router::new()
        .route(
            "/",
            get(|session: Session| async move { answer(visits(&session).await) }),
        )
        .route(
            "/shop",
            get(|session: Session| async move { answer(shop(&session).await) }),
        );
    serve(app.layer(layer)).await;
}
