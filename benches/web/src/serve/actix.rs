use actix_session::{
    Session, SessionGetError, SessionInsertError, SessionMiddleware, config::PersistentSession,
    storage::RedisSessionStore,
};
use actix_web::{
    App, HttpServer,
    body::MessageBody,
    cookie::{Key, time::Duration},
    dev::{ServiceFactory, ServiceRequest, ServiceResponse},
    web::get,
};

use super::{TEXTS, TWO_WEEKS, USER, cart, codex, next_user};

#[derive(Debug, derive_more::Display, derive_more::From)]
enum Failed {
    Get(SessionGetError),
    Insert(SessionInsertError),
}

impl actix_web::ResponseError for Failed {}

async fn visits(session: Session) -> Result<String, Failed> {
    let visits = session.get::<u64>("visits")?.unwrap_or(0) + 1;
    session.insert("visits", visits)?;
    Ok(visits.to_string())
}

async fn shop(session: Session) -> Result<String, Failed> {
    if session.get::<String>(USER)?.is_none() {
        session.renew();
        for (name, value) in TEXTS {
            session.insert(name, value)?;
        }
        session.insert(USER, next_user())?;
        session.insert("cart", cart())?;
    }
    visits(session).await
}

async fn serve<F, T, B>(app: F)
where
    F: Fn() -> App<T> + Clone + Send + 'static,
    T: ServiceFactory<
            ServiceRequest,
            Config = (),
            Response = ServiceResponse<B>,
            Error = actix_web::Error,
            InitError = (),
        > + 'static,
    B: MessageBody + 'static,
{
    let server = HttpServer::new(app)
        .workers(2)
        .bind(("127.0.0.1", 0))
        .expect("a free port");
    println!("{}", server.addrs()[0].port());
    server.run().await.expect("it serves");
}

pub fn actix(url: &str) {
    actix_web::rt::System::new().block_on(async {
        let store = RedisSessionStore::new(url).await.expect("a Redis");
        let (key, age) = (
            Key::generate(),
            Duration::seconds(i64::try_from(TWO_WEEKS).expect("it fits")),
        );
        serve(move || {
            let middleware = SessionMiddleware::builder(store.clone(), key.clone())
                .session_lifecycle(PersistentSession::default().session_ttl(age))
                .build();
            App::new()
                .wrap(middleware)
                .route("/", get().to(visits))
                .route("/shop", get().to(shop))
        })
        .await;
    });
}

pub fn codex_actix(url: &str) {
    actix_web::rt::System::new().block_on(async {
        let sessions = codex_kv::web::actix::SessionMiddleware::new(codex::store(url).await);
        serve(move || {
            App::new()
                .wrap(sessions.clone())
                .route("/", get().to(codex::visits))
                .route("/shop", get().to(codex::shop))
        })
        .await;
    });
}
