use axum::{Router, routing::get};
use axum_session::{Key, SessionConfig, SessionLayer, SessionMode, SessionStore};
use axum_session_redispool::{SessionRedisPool, SessionRedisSession};
use redis_pool::SingleRedisPool;
use time::Duration;

use super::{TEXTS, TWO_WEEKS, USER, cart, next_user, serve};

async fn visits(session: SessionRedisSession) -> String {
    let visits = session.get::<u64>("visits").unwrap_or(0) + 1;
    session.set("visits", visits);
    visits.to_string()
}

async fn shop(session: SessionRedisSession) -> String {
    if session.get::<String>(USER).is_none() {
        session.renew();
        for (name, value) in TEXTS {
            session.set(name, value);
        }
        session.set(USER, next_user());
        session.set("cart", cart());
    }
    visits(session).await
}

pub async fn axum_session(url: &str) {
    let client = redis::Client::open(url).expect("a URL");
    let pool = SingleRedisPool::new(client, 16, Some(64));
    let age = Duration::seconds(i64::try_from(TWO_WEEKS).expect("it fits"));
    let config = SessionConfig::default()
        // By default a process answers from its own memory, so that two processes can disagree.
        .with_memory_lifetime(Duration::ZERO)
        .with_mode(SessionMode::Persistent)
        .with_lifetime(age)
        .with_max_lifetime(age)
        .with_max_age(Some(age))
        .with_key(Key::generate());
    let store = SessionStore::<SessionRedisPool>::new(Some(pool.into()), config)
        .await
        .expect("a store");
    let app = Router::new().route("/", get(visits)).route("/shop", get(shop));
    serve(app.layer(SessionLayer::new(store))).await;
}
