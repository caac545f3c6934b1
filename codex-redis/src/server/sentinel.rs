//! The location of the primary, as Sentinels name it.
//!
//! Follows <https://redis.io/docs/latest/develop/reference/sentinel-clients/>, with an addition:
//! all Sentinels are asked, and the answer with the newest configuration epoch counts. A single
//! Sentinel with the newest configuration thus outvotes an isolated Sentinel that still names the
//! old primary.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use codex_traits::ErrorKind;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use redis::{ServerError, Value};
use tokio::time::{Instant, timeout_at};

use super::{Server, locate::Locate};
use crate::{
    config::settings::{Address, Settings},
    connection::{
        connect::{Connection, ask},
        failure::{DialError, Reason},
        multiplexer::Deadline,
    },
    observe,
    wire::{Command, Request, error::server_error, reply::text},
};

/// The longest pause between dials: another server may have taken over meanwhile.
const PAUSE: Duration = Duration::from_millis(500);

/// The time that a dial gives to all Sentinels once any of them has named a primary.
const PATIENCE: Duration = Duration::from_millis(250);

/// The Sentinels that watch over one primary.
pub(crate) struct Sentinels {
    /// The name of the primary.
    name: String,
    servers: Vec<Server<Address>>,
    settings: Arc<Settings>,
    /// The primary that they named last. Never locked across an await.
    last: Mutex<Option<Address>>,
}

/// The answer of one Sentinel.
enum Word {
    Primary { address: Address, epoch: u64 },
    UnknownName,
    Refused(DialError),
    Silent,
}

impl Sentinels {
    pub(crate) fn new(name: String, addresses: Vec<Address>, settings: &Arc<Settings>) -> Self {
        Self {
            name,
            servers: addresses
                .into_iter()
                .map(|address| Server::new(address, Arc::clone(settings)))
                .collect(),
            settings: Arc::clone(settings),
            last: Mutex::default(),
        }
    }

    async fn ask_all(&self) -> Result<Address, DialError> {
        let start = Instant::now();
        let latest = start + self.settings.connect_timeout;
        let deadline = Deadline {
            at: latest,
            latest,
            verb: "connect",
        };
        let asked = self.servers.iter().map(|server| self.ask(server, deadline));
        let mut answers: FuturesUnordered<_> = asked.collect();
        let mut newest = None;
        let mut unknown = false;
        let mut refusal = None;
        loop {
            // If no Sentinel has named a primary yet, wait for all: a late answer is better than an
            // error.
            let until = if newest.is_some() {
                latest.min(start + PATIENCE)
            } else {
                latest
            };
            let Ok(Some(word)) = timeout_at(until, answers.next()).await else {
                break;
            };
            match word {
                Word::Primary { address, epoch } => {
                    if newest.as_ref().is_none_or(|(_, before)| *before < epoch) {
                        newest = Some((address, epoch));
                    }
                }
                Word::UnknownName => unknown = true,
                Word::Refused(reason) => refusal = Some(reason),
                Word::Silent => {}
            }
        }
        match (newest, unknown, refusal) {
            (Some((address, _)), ..) => {
                let address = self.settings.reachable(address);
                self.note(&address);
                Ok(address)
            }
            (None, true, _) => Err(DialError::config("the Sentinels know no primary of this name")),
            (None, false, Some(reason)) => Err(reason),
            (None, false, None) => Err(DialError::unreachable("no Sentinel could be reached")),
        }
    }

    fn note(&self, address: &Address) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let before = last.replace(address.clone());
        drop(last);
        if before.is_some_and(|before| before != *address) {
            observe::failed_over("sentinel", address.parts());
        }
    }

    async fn ask(&self, server: &Server<Address>, deadline: Deadline) -> Word {
        // The first command knows of a fail-over as soon as its outcome is certain. The second has
        // the epoch.
        let question = [
            Command::read("SENTINEL GET-MASTER-ADDR-BY-NAME").arg(&self.name),
            Command::read("SENTINEL MASTER").arg(&self.name),
        ];
        // Dialled separately, because the failure of a request no longer has the reason.
        if let Ok(Ok(Err(error))) = timeout_at(deadline.at, server.dialled()).await {
            return not_connected(error);
        }
        let Ok(answers) = server.request(deadline, Request::all(&question)).await else {
            return Word::Silent;
        };
        let answers = answers.into_vec();
        if let Some(error) = answers.iter().find_map(server_error) {
            return refused(error);
        }
        match answers.as_slice() {
            [place, state] => read(place, state).unwrap_or(Word::Silent),
            _ => Word::Silent,
        }
    }
}

impl Locate for Sentinels {
    fn fixed(&self) -> Option<&Address> {
        None
    }

    /// Returns the address of the primary that the Sentinel with the newest configuration names.
    async fn locate(&self) -> Result<Address, DialError> {
        self.ask_all().await
    }

    /// Checks the role. Sentinels that do not know of a fail-over yet may still name a server that
    /// is now a replica.
    async fn verify(&self, connection: &Connection, settings: &Settings) -> Result<(), DialError> {
        let role = ask(connection, &[Command::read("ROLE")], settings).await?;
        match role.first() {
            Some(Value::Array(parts)) if parts.first().and_then(text) == Some("master") => Ok(()),
            // The user may not have the right to ask. A replica then reveals itself by READONLY.
            Some(Value::ServerError(_)) => Ok(()),
            _ => Err(DialError::server(
                "the server that the Sentinels name is not the primary",
            )),
        }
    }

    fn is_at(&self, address: &Address) -> bool {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().is_none_or(|last| last == address)
    }

    fn longest_pause(&self, settings: &Settings) -> Duration {
        settings.backoff_max.min(PAUSE)
    }
}

fn no_entry() -> DialError {
    DialError::config("the Sentinels require a login, or refused it: set sentinel_username and sentinel_password")
}

/// Returns the word of a Sentinel that could not be dialled. One that cannot be reached is silent,
/// because the others may answer.
fn not_connected(error: DialError) -> Word {
    match (error.reason(), error.kind) {
        (Reason::Login, _) => Word::Refused(no_entry()),
        (_, ErrorKind::Config | ErrorKind::Server) => Word::Refused(error),
        _ => Word::Silent,
    }
}

fn refused(error: &ServerError) -> Word {
    match error.code() {
        "NOAUTH" => Word::Refused(no_entry()),
        "NOPERM" => Word::Refused(DialError::config("the Sentinels' user may not ask for the primary")),
        _ if error.details().is_some_and(|text| text.contains("No such master")) => Word::UnknownName,
        _ => Word::Silent,
    }
}

/// Parses the answers of a Sentinel: `place` is host and port, `state` alternates names and values.
fn read(place: &Value, state: &Value) -> Option<Word> {
    let Value::Array(place) = place else {
        return Some(Word::UnknownName);
    };
    let [host, port] = place.as_slice() else { return None };
    let address = Address::Tcp {
        host: text(host)?.to_owned(),
        port: text(port)?.parse().ok()?,
    };
    let Value::Array(state) = state else { return None };
    let epoch = state
        .chunks_exact(2)
        .find(|pair| text(&pair[0]) == Some("config-epoch"))
        .and_then(|pair| text(&pair[1])?.parse().ok())?;
    Some(Word::Primary { address, epoch })
}

impl fmt::Debug for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses: Vec<_> = self.servers.iter().map(Server::place).collect();
        write!(f, "the primary by Sentinels {addresses:?}")
    }
}
