//! The same page twice: it counts this visitor's visits in the session, and says the number.

use std::time::Duration;

use axum::{Router, routing::get};
use codex_kv::{DjangoSigned, SessionError, SessionStore, web};
use tokio::net::TcpListener;
use tower_sessions::{Expiry, SessionManagerLayer};
use tower_sessions_redis_store::{
    RedisStore,
    fred::prelude::{ClientLike as _, Config, Pool},
};

async fn serve(app: Router) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    println!("{}", listener.local_addr().expect("an address").port());
    axum::serve(listener, app).await.expect("it serves");
}

async fn visits(session: web::Session) -> Result<String, SessionError> {
    let visits = session
        .update("visits", |visits: Option<u64>| visits.unwrap_or(0) + 1)
        .await?;
    Ok(visits.to_string())
}

pub async fn codex(url: &str) {
    let backend = codex_kv::connect(url).await.expect("a Redis");
    let store = SessionStore::builder(backend)
        .project("bench")
        .codec(DjangoSigned::new("the secret of a bench"))
        .build()
        .expect("a store");
    serve(
        Router::new()
            .route("/", get(visits))
            .layer(web::SessionLayer::new(store)),
    )
    .await;
}

async fn tower_visits(session: tower_sessions::Session) -> Result<String, tower_sessions::session::Error> {
    let visits = session.get::<u64>("visits").await?.unwrap_or(0) + 1;
    session.insert("visits", visits).await?;
    Ok(visits.to_string())
}

pub async fn tower(url: &str) {
    // As many connections as the store's own documentation has, unless told otherwise.
    let connections = std::env::var("BENCH_POOL").map_or(6, |count| count.parse().expect("a number"));
    let config = Config::from_url(url).expect("a URL");
    let pool = Pool::new(config, None, None, None, connections).expect("a pool");
    pool.init().await.expect("a Redis");
    // The age that codex-kv has by default, so that both send it and both renew the record's.
    let age = tower_sessions::cookie::time::Duration::try_from(Duration::from_secs(1_209_600)).expect("two weeks");
    let layer = SessionManagerLayer::new(RedisStore::new(pool)).with_expiry(Expiry::OnInactivity(age));
    let page = |session: tower_sessions::Session| async move {
        tower_visits(session)
            .await
            .map_err(|_| axum::http::StatusCode::INTERNAL_SERVER_ERROR)
    };
    serve(Router::new().route("/", get(page)).layer(layer)).await;
}
