//! Redis in a container, for machines without `redis-server`.

use std::{
    env, process,
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use redis::IntoConnectionInfo as _;
use testcontainers::{GenericImage, ImageExt as _, core::IntoContainerPort as _, runners::AsyncRunner as _};

use super::{numbers::DATABASES, raw::dial, watchdog::Watchdog};
use crate::require::Unavailable;

/// The script of the watchdog. It removes the container at the end of standard input, with the
/// engine's command-line client or else through its socket. `$1` is the container's name.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
read -r _
docker rm -f "$1" || curl --silent --unix-socket /var/run/docker.sock --request DELETE "http://engine/containers/$1?force=1"
"#;

/// The default image. `CODEX_TEST_REDIS_IMAGE` names another image.
const DEFAULT_IMAGE: &str = "redis:7";

/// The time that pulling the image and starting the container may take.
const STARTUP: Duration = Duration::from_secs(120);

/// Redis in a container, reached over TCP. The container is removed when this value is dropped, or
/// with the process.
#[derive(Debug)]
pub struct RedisContainer {
    url: String,
    watchdog: Watchdog,
}

impl RedisContainer {
    /// Returns the name of the image: `CODEX_TEST_REDIS_IMAGE`, or else `redis:7`.
    pub fn image() -> String {
        env::var("CODEX_TEST_REDIS_IMAGE").unwrap_or_else(|_| DEFAULT_IMAGE.to_owned())
    }

    /// Starts a container of [`image`](Self::image), with 16,384 databases. The image is pulled
    /// only if the engine does not have it.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if there is no engine or no image, or if the server does not answer.
    pub fn start() -> Result<Self, Unavailable> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let image = Self::image();
        let name = format!("codex-redis-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        // The watchdog starts first, so that the container is never left behind.
        let watchdog = Watchdog::start(SCRIPT, [&name])
            .map_err(|error| Unavailable::new(format!("no shell to watch over a container: {error}")))?;
        let address = run(image.clone(), name)
            .map_err(|reason| Unavailable::new(format!("no container of the image {image}: {reason}")))?;
        let container = Self {
            url: format!("redis://{address}"),
            watchdog,
        };
        container.wait_until_it_answers()?;
        Ok(container)
    }

    /// Returns `redis://<host>:<port>/0`.
    pub fn url(&self) -> String {
        self.database_url(0)
    }

    pub(super) fn database_url(&self, database: u32) -> String {
        format!("{}/{database}", self.url)
    }

    /// Removes the container and waits until it is gone.
    pub fn remove(mut self) {
        self.watchdog.end();
    }

    fn wait_until_it_answers(&self) -> Result<(), Unavailable> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let connected = self.url().into_connection_info().and_then(|info| dial(&info));
            match connected {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => {
                    return Err(Unavailable::new(format!(
                        "the container's server does not answer: {error}"
                    )));
                }
                Err(_) => thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

/// Starts the container and returns its `host:port`. The engine's client is asynchronous, and the
/// caller may or may not be inside a runtime, so this uses a thread and a runtime of its own.
fn run(image: String, name: String) -> Result<String, String> {
    let (answer, answered) = mpsc::channel();
    let worker = thread::Builder::new()
        .name("codex-container".to_owned())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let started = match runtime {
                Ok(runtime) => runtime.block_on(async { tokio::time::timeout(STARTUP, start(&image, name)).await }),
                Err(error) => Ok(Err(error.to_string())),
            };
            let started = started.unwrap_or_else(|_| Err("not started within two minutes".to_owned()));
            // Cannot fail: the caller waits for the answer.
            let _ = answer.send(started);
        });
    worker.map_err(|error| error.to_string())?;
    answered
        .recv()
        .unwrap_or_else(|_| Err("the engine's client panicked".to_owned()))
}

async fn start(image: &str, name: String) -> Result<String, String> {
    let (repository, tag) = split_image(image);
    let databases = DATABASES.to_string();
    let arguments = [
        "redis-server",
        "--save",
        "",
        "--appendonly",
        "no",
        "--protected-mode",
        "no",
        "--databases",
        &databases,
    ];
    let container = GenericImage::new(repository, tag)
        .with_exposed_port(6379.tcp())
        .with_cmd(arguments)
        .with_container_name(name)
        .start()
        .await
        .map_err(|error| error.to_string())?;
    let host = container.get_host().await.map_err(|error| error.to_string())?;
    let port = container
        .get_host_port_ipv4(6379)
        .await
        .map_err(|error| error.to_string())?;
    // Dropping `container` would remove it at the end of this function. The watchdog removes it
    // when the fixture is dropped or the process ends.
    std::mem::forget(container);
    Ok(format!("{host}:{port}"))
}

/// Splits an image name into repository and tag. A colon before a slash belongs to the port of a
/// registry.
fn split_image(image: &str) -> (&str, &str) {
    match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (image, "latest"),
    }
}

#[cfg(test)]
mod tests {
    use super::split_image;

    #[test]
    fn an_image_is_split_at_its_tag() {
        assert_eq!(split_image("redis:7"), ("redis", "7"));
        assert_eq!(split_image("redis"), ("redis", "latest"));
        assert_eq!(split_image("localhost:5000/redis"), ("localhost:5000/redis", "latest"));
        assert_eq!(split_image("localhost:5000/redis:7"), ("localhost:5000/redis", "7"));
        assert_eq!(split_image("redis@sha256:abc"), ("redis@sha256", "abc"));
    }
}
