//! The layer: a session for each request, and its cookie for the response.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use axum_core::response::{IntoResponse, Response};
use codex_traits::KvBackend;
use http::{HeaderMap, HeaderValue, Request, header};
use tower_layer::Layer;
use tower_service::Service;

use super::{
    SessionCookie,
    error::{Failure, default_response},
    session::{CookieChange, SaveWhen, Session},
    store::{BoxFuture, Store},
};
use crate::session::{SessionCodec, SessionError, SessionStore};

/// Gives each request a [`Session`] and each response its cookie; see [the module](super).
///
/// ```
/// use std::time::Duration;
///
/// use axum::{Router, http::StatusCode, response::{IntoResponse, Redirect}, routing::get};
/// use codex_kv::{AnyBackend, SessionError, SessionStore, web::{SessionCookie, SessionLayer}};
///
/// fn app(store: SessionStore<AnyBackend>) -> Router {
///     let sessions = SessionLayer::new(store)
///         .cookie(SessionCookie::new().name("__Host-session"))
///         .on_error(|error| match error {
///             SessionError::Gone => Redirect::to("/login").into_response(),
///             SessionError::Backend(_) => (StatusCode::SERVICE_UNAVAILABLE, "back in a minute").into_response(),
///             _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
///         });
///     Router::new().route("/", get(|| async { "hello" })).layer(sessions)
/// }
/// ```
#[derive(Clone)]
pub struct SessionLayer {
    shared: Arc<Shared>,
}

#[derive(Clone)]
struct Shared {
    store: Arc<dyn Store>,
    cookie: SessionCookie,
    save: SaveWhen,
    on_error: Arc<dyn Fn(&SessionError) -> Response + Send + Sync>,
}

impl SessionLayer {
    /// Sessions of this store, with the default [`SessionCookie`].
    pub fn new<B: KvBackend, C: SessionCodec>(store: SessionStore<B, C>) -> Self {
        let shared = Shared {
            store: Arc::new(store),
            cookie: SessionCookie::new(),
            save: SaveWhen::Modified,
            on_error: Arc::new(default_response),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// How the cookie is named and where it is sent.
    #[must_use]
    pub fn cookie(mut self, cookie: SessionCookie) -> Self {
        Arc::make_mut(&mut self.shared).cookie = cookie;
        self
    }

    /// Lets the session's time, and the cookie's, begin anew with every request of a visitor who has one: Django's
    /// `SESSION_SAVE_EVERY_REQUEST`. The data of an unchanged session is not written again. Costs a load and an `EXPIRE` for each request.
    #[must_use]
    pub fn save_every_request(mut self) -> Self {
        Arc::make_mut(&mut self.shared).save = SaveWhen::EveryRequest;
        self
    }

    /// What is answered where the session fails: 400 for [`SessionError::Gone`], 503 for an outage and 500 for the rest unless
    /// set.
    #[must_use]
    pub fn on_error(mut self, respond: impl Fn(&SessionError) -> Response + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.shared).on_error = Arc::new(respond);
        self
    }
}

impl<S> Layer<S> for SessionLayer {
    type Service = SessionService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SessionService {
            inner,
            shared: self.shared.clone(),
        }
    }
}

impl fmt::Debug for SessionLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionLayer")
            .field("cookie", &self.cookie)
            .field("save", &self.save)
            .finish_non_exhaustive()
    }
}

/// A service inside a [`SessionLayer`].
#[derive(Debug, Clone)]
pub struct SessionService<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S, ReqBody> Service<Request<ReqBody>> for SessionService<S>
where
    S: Service<Request<ReqBody>> + Clone + Send + 'static,
    S::Response: IntoResponse,
    S::Future: Send + 'static,
    ReqBody: Send + 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        // The clone may not be ready, so the one that is goes into the future.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let shared = self.shared.clone();
        let session = Session::new(shared.store.clone(), shared.cookie.presented(request.headers()));
        request.extensions_mut().insert(session.clone());
        Box::pin(async move {
            let response = inner.call(request).await?.into_response();
            Ok(shared.finish(&session, response).await)
        })
    }
}

impl Shared {
    async fn finish(&self, session: &Session, mut response: Response) -> Response {
        let failed = response.status().is_server_error();
        let returned = response.extensions_mut().remove::<Failure>();
        // A handler that failed on the session has not done its work, whatever the status of that is.
        let finished = session.finish(self.save, failed || returned.is_some()).await;
        if let Some(Failure(error)) = &returned {
            response = self.respond(error);
        } else if let Some(error) = &finished.failure
            && !failed
        {
            response = self.respond(error);
        }
        let cookie = match finished.cookie {
            CookieChange::None => None,
            CookieChange::Set(key, max_age) => Some(self.cookie.set(&key, max_age)),
            CookieChange::Remove => Some(self.cookie.remove()),
        };
        let changes_cookie = cookie.is_some();
        match cookie {
            None => {}
            Some(Ok(cookie)) => {
                response.headers_mut().append(header::SET_COOKIE, cookie);
            }
            Some(Err(error)) => response = self.respond(&error),
        }
        // Of a response that carries a session key, too, however that came about: a shared cache is to hand it to nobody else.
        if finished.accessed || changes_cookie {
            vary_on_cookie(response.headers_mut());
        }
        response
    }

    fn respond(&self, error: &SessionError) -> Response {
        tracing::warn!(reason = %error, "a request failed on its session");
        (self.on_error)(error)
    }
}

/// Adds `Cookie` to what the response varies on, where it is not there yet.
fn vary_on_cookie(headers: &mut HeaderMap) {
    let names = |value: &HeaderValue| {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        text.split(',')
            .any(|name| matches!(name.trim(), "*") || name.trim().eq_ignore_ascii_case("cookie"))
    };
    if !headers.get_all(header::VARY).iter().any(names) {
        headers.append(header::VARY, HeaderValue::from_static("Cookie"));
    }
}
