use axum::{Router, routing::get};
use codex_kv::{AnyBackend, DjangoSigned, Login, SessionError, SessionStore, web};

use super::{TEXTS, cart, next_user, serve};

pub async fn visits(session: web::Session) -> Result<String, SessionError> {
    let visits = session
        .update("visits", |visits: Option<u64>| visits.unwrap_or(0) + 1)
        .await?;
    Ok(visits.to_string())
}

pub async fn shop(session: web::Session) -> Result<String, SessionError> {
    if session.user().await?.is_none() {
        session.login(&Login::new(next_user())).await?;
        for (name, value) in TEXTS {
            session.insert(name, value).await?;
        }
        session.insert("cart", cart()).await?;
    }
    visits(session).await
}

pub async fn store(url: &str) -> SessionStore<AnyBackend, DjangoSigned> {
    let backend = codex_kv::connect(url).await.expect("a Redis");
    SessionStore::builder(backend)
        .project("bench")
        .codec(DjangoSigned::new("the secret of a bench"))
        .build()
        .expect("a store")
}

pub async fn codex(url: &str) {
    let app = Router::new().route("/", get(visits)).route("/shop", get(shop));
    serve(app.layer(web::SessionLayer::new(store(url).await))).await;
}
