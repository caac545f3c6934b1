//! A `redis-server` for a single test.

use std::{
    env,
    ffi::OsString,
    fmt, fs, io,
    net::TcpListener,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use redis::{ConnectionAddr, IntoConnectionInfo as _, RedisConnectionInfo, RedisError, RedisResult, Value};

use super::{
    numbers::{DATABASES, Numbers},
    raw::Raw,
    watchdog::Watchdog,
};
use crate::require::Unavailable;

/// The script of the watchdog. It runs the server, and kills it at the end of standard input.
///
/// `$1` is the server's directory, and the remaining arguments are its command line. The standard
/// input of a background job is `/dev/null`, so the pipe is passed as descriptor 3. The shell
/// itself waits for the server: the process id is not reused until then, and the end of the shell
/// signals the end of the server.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
exec 3<&0
directory=$1
shift
"$@" 3<&- &
server=$!
(read -r _ <&3; rm -rf "$directory"; kill -9 "$server") &
reader=$!
exec 3<&-
wait "$server"
kill -9 "$reader"
"#;

/// The variable that names an executable to use instead of `redis-server` on `PATH`.
const PROGRAM_VARIABLE: &str = "CODEX_TEST_REDIS_SERVER";

/// The time that a server has to start, enough for a loaded machine.
const STARTUP: Duration = Duration::from_secs(20);

/// The name of a server's configuration file. The command-line arguments override it.
pub(super) const CONFIGURATION: &str = "server.conf";

/// A private `redis-server` from `PATH`, on a free TCP port of the loopback interface and on a Unix
/// socket.
///
/// The environment variable `CODEX_TEST_REDIS_SERVER` names another executable, such as another
/// version or Valkey.
///
/// The server writes nothing to disk and has 16,384 databases. It ends when this value is dropped,
/// or with the process.
pub struct RedisServer {
    port: u16,
    tls_port: Option<u16>,
    directory: PathBuf,
    files: Vec<(&'static str, String)>,
    arguments: Vec<OsString>,
    raw: Raw,
    numbers: Numbers,
    running: Mutex<Option<Watchdog>>,
}

impl RedisServer {
    /// Starts a server with the settings above.
    ///
    /// # Errors
    ///
    /// [`Unavailable`] if there is no `redis-server` on `PATH`, or if it does not start. The reason
    /// includes the end of its log.
    pub fn start() -> Result<Self, Unavailable> {
        Self::start_with::<&str>([])
    }

    /// Starts a server with further arguments, such as `["--requirepass", "secret"]`.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start).
    pub fn start_with<A: Into<OsString>>(arguments: impl IntoIterator<Item = A>) -> Result<Self, Unavailable> {
        Self::start_from(Vec::new(), false, arguments)
    }

    /// Starts a server with certificates, which also listens for TLS on a separate port. Client
    /// certificates are optional. With `["--tls-auth-clients", "yes"]` they are required.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start), or if the server was built without TLS.
    #[cfg(feature = "redis-tls")]
    pub fn start_with_tls<A: Into<OsString>>(
        certificates: &super::Certificates,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Self, Unavailable> {
        Self::start_from(certificates.files().into(), true, arguments)
    }

    /// Starts a server with these files in its directory. A file named `server.conf` is its
    /// configuration, which the server may rewrite.
    pub(super) fn start_from<A: Into<OsString>>(
        files: Vec<(&'static str, String)>,
        tls: bool,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Self, Unavailable> {
        let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
        let directory =
            new_directory().map_err(|error| Unavailable::new(format!("no temporary directory: {error}")))?;
        let mut settings = RedisConnectionInfo::default();
        if let Some(at) = arguments.iter().position(|argument| argument == "--requirepass") {
            let password = arguments.get(at + 1).and_then(|password| password.to_str());
            settings = settings.set_password(password.unwrap_or_default());
        }
        let info = ConnectionAddr::Unix(socket_in(&directory))
            .into_connection_info()
            .map_err(|error| Unavailable::new(error.to_string()))?
            .set_redis_settings(settings);
        let mut server = Self {
            port: 0,
            tls_port: None,
            directory,
            files,
            arguments,
            raw: Raw::new(info),
            numbers: Numbers::default(),
            running: Mutex::new(None),
        };
        // Another process can take the port before the server does.
        let mut attempts = 10;
        loop {
            server.port = free_port()?;
            server.tls_port = if tls { Some(free_port()?) } else { None };
            attempts -= 1;
            match server.run() {
                Ok(()) => return Ok(server),
                Err(reason) if attempts > 0 && reason.to_string().contains(PORT_TAKEN) => {}
                Err(reason) => return Err(reason),
            }
        }
    }

    /// Returns the TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the port for TLS, if the server listens for TLS.
    pub fn tls_port(&self) -> Option<u16> {
        self.tls_port
    }

    /// Returns the path of the Unix socket.
    pub fn socket(&self) -> PathBuf {
        socket_in(&self.directory)
    }

    /// Returns `redis://127.0.0.1:<port>/0`, without a password.
    pub fn url(&self) -> String {
        self.database_url(0)
    }

    /// Returns `redis+unix:///<socket>?db=0`, without a password.
    pub fn unix_url(&self) -> String {
        self.database_unix_url(0)
    }

    pub(super) fn database_url(&self, database: u32) -> String {
        format!("redis://127.0.0.1:{}/{database}", self.port)
    }

    pub(super) fn database_unix_url(&self, database: u32) -> String {
        format!("redis+unix://{}?db={database}", self.socket().display())
    }

    pub(super) fn database_tls_url(&self, database: u32) -> Option<String> {
        Some(format!("rediss://127.0.0.1:{}/{database}", self.tls_port?))
    }

    pub(super) fn numbers(&self) -> &Numbers {
        &self.numbers
    }

    /// Sends one command to database 0, bypassing any backend. Logs in with the password of
    /// `--requirepass`, if there is one.
    ///
    /// Reconnects after a restart. Gives up after 20 s without an answer.
    ///
    /// # Errors
    ///
    /// Any failure of the server or the connection.
    pub fn command<A: AsRef<[u8]>>(&self, parts: &[A]) -> Result<Value, RedisError> {
        self.raw.command(parts)
    }

    /// Kills the server (SIGKILL), as in a crash, and waits until it is gone.
    /// [`restart`](Self::restart) starts it again.
    pub fn kill(&self) {
        self.raw.disconnect();
        drop(self.running().take());
    }

    /// Restarts the server, empty, with the same arguments, port and socket. A running server is
    /// killed first.
    ///
    /// # Panics
    ///
    /// If the server does not start, for example because another process has taken the port.
    pub fn restart(&self) {
        self.kill();
        let deadline = Instant::now() + STARTUP;
        while let Err(reason) = self.run() {
            assert!(Instant::now() < deadline, "redis-server did not start again: {reason}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Freezes the server (SIGSTOP): it accepts connections but does not answer.
    /// [`resume`](Self::resume) or [`kill`](Self::kill) ends the freeze.
    ///
    /// # Panics
    ///
    /// If the server is not running.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Resumes a frozen server.
    ///
    /// # Panics
    ///
    /// If the server is not running.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// Returns the server's process id.
    ///
    /// # Panics
    ///
    /// If the server is not running.
    pub fn pid(&self) -> u32 {
        let text = fs::read_to_string(self.directory.join("pid")).unwrap_or_default();
        text.trim()
            .parse()
            .unwrap_or_else(|_| panic!("the server has not written its process id"))
    }

    fn signal(&self, signal: &str) {
        let mut running = self.running();
        let alive = running.as_mut().is_some_and(|watchdog| !watchdog.has_ended());
        assert!(alive, "the server is not running");
        // Uses the shell's built-in `kill`, because some machines lack the program.
        let kill = Command::new("sh")
            .args(["-c", r#"kill -s "$0" "$1""#, signal])
            .arg(self.pid().to_string())
            .status();
        assert!(
            kill.is_ok_and(|status| status.success()),
            "the server could not be signalled"
        );
    }

    fn running(&self) -> MutexGuard<'_, Option<Watchdog>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) -> Result<(), Unavailable> {
        let program = program()?;
        // Again, because the watchdog of a killed server removes the directory.
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)
            .map_err(|error| Unavailable::new(format!("no directory for redis-server: {error}")))?;
        for (name, content) in &self.files {
            fs::write(self.directory.join(name), content)
                .map_err(|error| Unavailable::new(format!("no files for redis-server: {error}")))?;
        }
        let mut line: Vec<OsString> = vec![self.directory.clone().into(), program.into()];
        if self.files.iter().any(|(name, _)| *name == CONFIGURATION) {
            line.push(self.directory.join(CONFIGURATION).into_os_string());
        }
        for (setting, value) in [
            ("--port", self.port.to_string().into()),
            ("--bind", "127.0.0.1".into()),
            ("--unixsocket", self.socket().into_os_string()),
            ("--dir", self.directory.clone().into_os_string()),
            ("--logfile", self.directory.join("log").into_os_string()),
            ("--pidfile", self.directory.join("pid").into_os_string()),
            ("--save", "".into()),
            ("--appendonly", "no".into()),
            ("--databases", DATABASES.to_string().into()),
        ] {
            line.push(setting.into());
            line.push(value);
        }
        if let Some(port) = self.tls_port {
            line.extend(["--tls-port".into(), port.to_string().into()]);
            for (setting, file) in [
                ("--tls-ca-cert-file", "ca.pem"),
                ("--tls-cert-file", "server.pem"),
                ("--tls-key-file", "server.key"),
            ] {
                line.extend([setting.into(), self.directory.join(file).into_os_string()]);
            }
            line.extend(["--tls-auth-clients".into(), "optional".into()]);
        }
        line.extend(self.arguments.iter().cloned());
        let mut watchdog = Watchdog::start(SCRIPT, line)
            .map_err(|error| Unavailable::new(format!("no shell to run redis-server: {error}")))?;
        self.wait_until_it_answers(&mut watchdog)?;
        *self.running() = Some(watchdog);
        Ok(())
    }

    /// Waits for an answer on the Unix socket, which belongs to this server only. The port might
    /// belong to another server.
    fn wait_until_it_answers(&self, watchdog: &mut Watchdog) -> Result<(), Unavailable> {
        let deadline = Instant::now() + STARTUP;
        loop {
            if self.socket().exists() && answers(&self.command(&["PING"])) && self.directory.join("pid").exists() {
                return Ok(());
            }
            let ended = watchdog.has_ended();
            if ended || Instant::now() > deadline {
                let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(3).collect();
                let what = if ended { "ended at once" } else { "does not answer" };
                let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
                return Err(Unavailable::new(format!("redis-server {what}:\n{tail}")));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

// Without the arguments and the files, which may hold a password and a private key.
impl fmt::Debug for RedisServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisServer")
            .field("port", &self.port)
            .field("tls_port", &self.tls_port)
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        // Usually gone already, but a server that ended on its own leaves it behind.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Returns whether the server is up. It is up even if it is still loading or demands an unknown
/// password.
fn answers(answer: &RedisResult<Value>) -> bool {
    match answer {
        Ok(_) => true,
        Err(error) => !error.is_io_error() && !error.is_connection_dropped() && error.code().is_some(),
    }
}

fn socket_in(directory: &Path) -> PathBuf {
    directory.join("socket")
}

fn new_directory() -> io::Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // The path of a socket is limited to about 100 bytes, which a long `TMPDIR` would exceed.
    let parent = Some(env::temp_dir()).filter(|parent| parent.as_os_str().len() <= 64);
    let parent = parent.unwrap_or_else(|| PathBuf::from("/tmp"));
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = parent.join(format!("codex-redis-{}-{number}", process::id()));
        match fs::DirBuilder::new().mode(0o700).create(&directory) {
            Ok(()) => return Ok(directory),
            // An earlier process with the same id left this directory behind.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// The log message of a server whose port another process has taken.
pub(super) const PORT_TAKEN: &str = "Address already in use";

pub(super) fn free_port() -> Result<u16, Unavailable> {
    let found = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    let address = found.map_err(|error| Unavailable::new(format!("no free TCP port: {error}")))?;
    Ok(address.port())
}

/// Returns the path of the server's executable.
fn program() -> Result<PathBuf, Unavailable> {
    match env::var_os(PROGRAM_VARIABLE) {
        None => on_path("redis-server").ok_or_else(|| Unavailable::new("there is no redis-server on PATH")),
        Some(named) => Some(PathBuf::from(named))
            .filter(|path| path.is_file())
            .ok_or_else(|| Unavailable::new(format!("{PROGRAM_VARIABLE} names no file"))),
    }
}

fn on_path(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}
