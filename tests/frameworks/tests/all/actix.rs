//! Tests of the middleware for actix-web.

use actix_web::{
    App, HttpRequest, HttpResponse, Responder,
    dev::Service,
    error::InternalError,
    http::{StatusCode, header},
    middleware::from_fn,
    test::{TestRequest, init_service, read_body},
    web::{Path, get},
};
use codex_kv::{
    AnyBackend, CacheError, DjangoSigned, Error, ErrorKind, Login, SessionError, SessionStore,
    web::{RequestSession, SameSite, Session, SessionCookie, actix::SessionMiddleware},
};
use codex_testkit::redis::Database;

use crate::{memory, redis, sent_back};

fn store(backend: AnyBackend) -> SessionStore<AnyBackend> {
    let builder = SessionStore::builder(backend).project("shop");
    builder
        .codec(DjangoSigned::new("a secret of the tests"))
        .build()
        .unwrap()
}

type Answer = Result<String, SessionError>;

async fn count(session: Session) -> Answer {
    let count = session
        .update("count", |count: Option<u64>| count.unwrap_or(0) + 1)
        .await?;
    Ok(count.to_string())
}

async fn read(session: Session) -> Answer {
    Ok(session.get::<u64>("count").await?.unwrap_or(0).to_string())
}

async fn log_in(session: Session, name: Path<String>) -> Answer {
    session.login(&Login::new(name.into_inner())).await?;
    Ok("in".to_owned())
}

async fn whoami(session: Session) -> Answer {
    Ok(session.user().await?.unwrap_or_else(|| "nobody".to_owned()))
}

async fn end_others(session: Session) -> Answer {
    session.end_others().await?;
    Ok("alone".to_owned())
}

async fn log_out(session: Session) -> Answer {
    session.logout().await?;
    Ok("out".to_owned())
}

async fn fail(session: Session) -> Result<HttpResponse, SessionError> {
    session.insert("count", 1_000).await?;
    Ok(HttpResponse::InternalServerError().finish())
}

async fn timed_out(session: Session) -> Result<HttpResponse, SessionError> {
    session.insert("count", 1_000).await?;
    Ok(HttpResponse::RequestTimeout().finish())
}

async fn mistake(session: Session) -> Answer {
    session.insert("count", 1_000).await?;
    session.set_expiry(std::time::Duration::MAX).await?;
    Ok("set".to_owned())
}

async fn refuse(session: Session) -> Answer {
    session.insert("count", 1_000).await?;
    Err(SessionError::Gone)
}

async fn missing(session: Session) -> Result<HttpResponse, SessionError> {
    session.insert("count", 7).await?;
    Ok(HttpResponse::NotFound().finish())
}

async fn careless(session: Session) -> String {
    let count = session.get::<u64>("count").await;
    count.map_or_else(|_| "nobody".to_owned(), |count| count.unwrap_or(0).to_string())
}

/// Creates the service and a browser that keeps its cookie. This is a macro because the type of the
/// service cannot be named.
macro_rules! browser {
    ($middleware:expr) => {{
        let app = App::new()
            .route("/plain", get().to(|| async { "plain" }))
            .route("/count", get().to(count))
            .route("/read", get().to(read))
            .route("/login/{name}", get().to(log_in))
            .route("/whoami", get().to(whoami))
            .route("/end-others", get().to(end_others))
            .route("/logout", get().to(log_out))
            .route("/fail", get().to(fail))
            .route("/timed-out", get().to(timed_out))
            .route("/mistake", get().to(mistake))
            .route("/refuse", get().to(refuse))
            .route("/missing", get().to(missing))
            .route("/careless", get().to(careless))
            .wrap($middleware);
        let app = init_service(app).await;
        async move |path: &str, cookie: &mut Option<String>| {
            let mut request = TestRequest::with_uri(path);
            if let Some(cookie) = cookie {
                request = request.insert_header((header::COOKIE, cookie.as_str()));
            }
            let response = app.call(request.to_request()).await.unwrap();
            let set_cookies: Vec<_> = response.headers().get_all(header::SET_COOKIE).collect();
            assert!(set_cookies.len() <= 1);
            let set_cookie = set_cookies.first().map(|value| {
                assert!(value.is_sensitive(), "so that no log prints it");
                value.to_str().unwrap().to_owned()
            });
            if let Some(set_cookie) = &set_cookie {
                *cookie = sent_back(set_cookie);
            }
            let vary = response
                .headers()
                .get(header::VARY)
                .map(|vary| vary.to_str().unwrap().to_owned());
            let status = response.status().as_u16();
            let body = String::from_utf8(read_body(response).await.to_vec()).unwrap();
            Reply {
                status,
                body,
                vary,
                set_cookie,
            }
        }
    }};
}

#[derive(Debug)]
struct Reply {
    status: u16,
    body: String,
    vary: Option<String>,
    set_cookie: Option<String>,
}

async fn counts_logs_in_and_out(backend: AnyBackend) {
    let ask = browser!(SessionMiddleware::new(store(backend.clone())));
    let mut cookie = None;
    let reply = ask("/plain", &mut cookie).await;
    assert_eq!(
        (reply.body.as_str(), reply.vary, reply.set_cookie),
        ("plain", None, None)
    );
    let reply = ask("/read", &mut cookie).await;
    assert_eq!((reply.body.as_str(), reply.set_cookie), ("0", None));
    assert_eq!(reply.vary.as_deref(), Some("Cookie"));

    assert_eq!(ask("/count", &mut cookie).await.body, "1");
    assert_eq!(ask("/count", &mut cookie).await.body, "2");
    let mut anonymous = cookie.clone();
    assert_eq!(ask("/login/ada", &mut cookie).await.body, "in");
    assert_ne!(cookie, anonymous, "a login has a new key");
    assert_eq!(ask("/whoami", &mut cookie).await.body, "ada");
    assert_eq!(ask("/read", &mut cookie).await.body, "2");

    // A poll that was in progress during the login, and a second logout.
    let late = ask("/whoami", &mut anonymous).await;
    assert_eq!((late.body.as_str(), late.set_cookie), ("nobody", None));
    assert_eq!(ask("/logout", &mut anonymous).await.set_cookie, None);

    // Failures save nothing.
    for (path, status) in [("/fail", 500), ("/timed-out", 408), ("/mistake", 500), ("/refuse", 400)] {
        let reply = ask(path, &mut cookie).await;
        assert_eq!((reply.status, reply.set_cookie), (status, None), "{path}");
        assert_eq!(ask("/read", &mut cookie).await.body, "2", "{path}");
    }
    assert_eq!(ask("/missing", &mut cookie).await.status, 404);
    assert_eq!(ask("/read", &mut cookie).await.body, "7", "another status saves");

    // The other session of the user ends, and this session stays.
    let mut elsewhere = None;
    ask("/login/ada", &mut elsewhere).await;
    assert_eq!(ask("/end-others", &mut cookie).await.body, "alone");
    assert_eq!(ask("/whoami", &mut elsewhere).await.body, "nobody");
    assert_eq!(ask("/whoami", &mut cookie).await.body, "ada");
    assert_eq!(ask("/end-others", &mut None).await.status, 500);

    let mut stolen = cookie.clone();
    let reply = ask("/logout", &mut cookie).await;
    assert!(reply.set_cookie.unwrap().contains("Max-Age=0"));
    assert_eq!(cookie, None);
    assert_eq!(ask("/whoami", &mut stolen).await.body, "nobody");
}

#[actix_web::test]
async fn actix_counts_logs_in_and_out_on_memory() {
    counts_logs_in_and_out(memory()).await;
}

#[actix_web::test]
async fn actix_counts_logs_in_and_out_on_redis() {
    let database = codex_testkit::require!("redis", Database::lease());
    counts_logs_in_and_out(redis(&database).await).await;
}

#[actix_web::test]
async fn an_outage_is_503_and_never_a_visitor_without_a_session() {
    let server = codex_testkit::require!("redis", codex_testkit::redis::RedisServer::start());
    let backend = codex_kv::connect(&server.url()).await.unwrap();
    let ask = browser!(SessionMiddleware::new(store(backend.clone())));
    let teapot = browser!(
        SessionMiddleware::new(store(backend)).on_error(|_| HttpResponse::ImATeapot().body("short and stout"))
    );
    let mut cookie = None;
    ask("/login/ada", &mut cookie).await;
    drop(server);
    for path in ["/whoami", "/careless", "/count", "/logout"] {
        let reply = ask(path, &mut cookie).await;
        assert_eq!((reply.status, reply.set_cookie), (503, None), "{path}");
        assert!(!reply.body.contains("nobody"), "{path}");
        let reply = teapot(path, &mut cookie).await;
        assert_eq!((reply.status, reply.body.as_str()), (418, "short and stout"), "{path}");
    }
    assert_eq!(ask("/plain", &mut cookie).await.status, 200);
}

#[actix_web::test]
async fn settings_are_those_of_the_core() {
    let cookie = SessionCookie::new()
        .name("sid")
        .path("/shop")
        .same_site(SameSite::Strict);
    let middleware = SessionMiddleware::new(store(memory())).cookie(cookie).unwrap();
    let ask = browser!(middleware.save_every_request());
    let mut cookie = None;
    let set_cookie = ask("/count", &mut cookie).await.set_cookie.unwrap();
    assert!(
        set_cookie.starts_with("sid=")
            && set_cookie.ends_with("; HttpOnly; SameSite=Strict; Secure; Path=/shop; Max-Age=1209600"),
        "{set_cookie}"
    );
    assert!(ask("/plain", &mut cookie).await.set_cookie.is_some(), "renewed");

    let wrong = SessionCookie::new().name("__Host-sid").domain("example.org");
    let refused = SessionMiddleware::new(store(memory())).cookie(wrong);
    assert!(matches!(refused, Err(SessionError::Config(_))));
}

/// A middleware between the handler and the session middleware fails after the handler has logged a
/// user in.
#[actix_web::test]
async fn an_error_of_a_middleware_carries_the_cookie_unless_it_is_a_failure() {
    for (status, is_saved) in [(403, true), (503, false)] {
        let store = store(memory());
        let app = App::new()
            .route("/login/{name}", get().to(log_in))
            .wrap(from_fn(
                move |request, next: actix_web::middleware::Next<_>| async move {
                    next.call(request).await?;
                    let status = StatusCode::from_u16(status).unwrap();
                    Err::<actix_web::dev::ServiceResponse, _>(InternalError::new("not today", status).into())
                },
            ))
            .wrap(SessionMiddleware::new(store.clone()));
        let app = init_service(app).await;
        let request = TestRequest::with_uri("/login/ada").to_request();
        let error = app.call(request).await.unwrap_err();
        let response = error.error_response();
        assert_eq!(response.status().as_u16(), status);
        let set_cookie = response.headers().get(header::SET_COOKIE);
        assert_eq!(
            set_cookie.is_some_and(|cookie| sent_back(cookie.to_str().unwrap()).is_some()),
            is_saved
        );
        assert_eq!(store.sessions("ada").await.unwrap().len(), usize::from(is_saved));
    }
}

#[actix_web::test]
async fn headers_of_the_request_and_of_the_handler_are_kept() {
    async fn varies(session: Session) -> Result<HttpResponse, SessionError> {
        let count = session.get::<u64>("count").await?.unwrap_or(0);
        let mut response = HttpResponse::Ok();
        response.insert_header((header::VARY, "Accept, cookie"));
        Ok(response.body(count.to_string()))
    }
    let store = store(memory());
    let request = RequestSession::begin(&store, None);
    request.insert("count", 7).await.unwrap();
    let cookie = sent_back(&request.finish(200).await.set_cookie.unwrap()).unwrap();

    let app = App::new()
        .route("/", get().to(varies))
        .route("/refuse", get().to(refuse))
        .wrap(SessionMiddleware::new(store));
    let app = init_service(app).await;
    // HTTP/2 may split the header.
    let begin = |path| {
        let other = header::HeaderValue::from_bytes(b"theme=\xff").unwrap();
        let request = TestRequest::with_uri(path).append_header((header::COOKIE, other));
        request.append_header((header::COOKIE, cookie.as_str())).to_request()
    };
    let response = app.call(begin("/")).await.unwrap();
    let vary: Vec<_> = response.headers().get_all(header::VARY).collect();
    assert_eq!(vary, ["Accept, cookie"]);
    assert_eq!(read_body(response).await, "7");

    let refused = app.call(begin("/refuse")).await.unwrap();
    assert_eq!(
        refused.headers().get(header::CONTENT_TYPE).unwrap(),
        "text/plain; charset=utf-8"
    );
}

#[actix_web::test]
async fn without_the_middleware_the_handler_does_not_run() {
    let app = init_service(App::new().route("/count", get().to(count))).await;
    let response = app.call(TestRequest::with_uri("/count").to_request()).await.unwrap();
    assert_eq!(response.status().as_u16(), 500);
}

#[actix_web::test]
async fn sverb_12_errors_of_caches_are_answered_by_their_kind() {
    async fn fails(request: HttpRequest) -> Result<&'static str, CacheError> {
        Err(match request.path() {
            "/missing" => CacheError::NotFound,
            "/outage" => Error::new(ErrorKind::Timeout, "get", "no answer").into(),
            _ => Error::new(ErrorKind::Data, "get", "another type").into(),
        })
    }
    let app = init_service(App::new().default_service(get().to(fails))).await;
    for (path, status) in [("/missing", 404), ("/outage", 503), ("/type", 500)] {
        let response = app.call(TestRequest::with_uri(path).to_request()).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{path}");
    }
    let request = TestRequest::default().to_http_request();
    let answer = Err::<&'static str, _>(SessionError::Gone).respond_to(&request);
    assert_eq!(answer.status().as_u16(), 400);
}
