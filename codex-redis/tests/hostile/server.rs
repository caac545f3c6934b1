//! A server that can be switched to hostile answers and back.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// The answer of a hostile server to a command.
#[derive(Debug, Clone)]
pub(crate) struct Attack {
    /// The command to answer like this, or `None` for every command after the login.
    pub(crate) to: Option<&'static str>,
    pub(crate) first: Vec<u8>,
    pub(crate) then: Then,
    /// The answer to CLUSTER meanwhile, if it is hostile too.
    pub(crate) map: Option<Vec<u8>>,
}

/// The continuation of an answer.
#[derive(Debug, Clone)]
pub(crate) enum Then {
    /// The same answer for the next command.
    Again,
    /// A new answer of this function, by a counter, for the next command.
    Vary(fn(u64) -> Vec<u8>),
    /// These bytes, endlessly and as fast as they are accepted.
    Flood(Vec<u8>),
    /// These bytes in turn, endlessly, one byte per interval.
    Drip(Vec<u8>, Duration),
    /// The end of the connection.
    Close,
    /// A reset of the connection.
    Reset,
    /// No further bytes. Requests are read.
    Silence,
    /// No further bytes, and requests are not read.
    Freeze,
}

/// A server on its own thread, so that it does not occupy the client's runtime.
pub(crate) struct Server {
    address: SocketAddr,
    attack: Arc<Mutex<Option<Attack>>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let attack = Arc::new(Mutex::new(None));
        let (listening, address) = std::sync::mpsc::channel();
        let switch = Arc::clone(&attack);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                listening.send(address).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(serve(stream, address, Arc::clone(&switch)));
                }
            });
        });
        Self {
            address: address.recv().unwrap(),
            attack,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn attack(&self, attack: Attack) {
        *self.attack.lock().unwrap_or_else(PoisonError::into_inner) = Some(attack);
    }

    pub(crate) fn behave(&self) {
        *self.attack.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

async fn serve(mut stream: TcpStream, own: SocketAddr, switch: Arc<Mutex<Option<Attack>>>) {
    let mut incoming = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    let mut is_in_transaction = false;
    loop {
        while let Some((command, size)) = command(&incoming) {
            incoming.drain(..size);
            let attack = switch.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if command[0].eq_ignore_ascii_case(b"CLUSTER")
                && let Some(map) = attack.as_ref().and_then(|attack| attack.map.as_ref())
            {
                if stream.write_all(map).await.is_err() {
                    return;
                }
                continue;
            }
            if let Some(attack) = attack.filter(|attack| is_attacked(attack, &command)) {
                is_in_transaction &= !command[0].eq_ignore_ascii_case(b"EXEC");
                if !carry_out(&mut stream, attack, &switch).await {
                    return;
                }
                continue;
            }
            let answer = good_answer(&command, own, &mut is_in_transaction);
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => incoming.extend_from_slice(&buffer[..read]),
        }
    }
}

fn is_attacked(attack: &Attack, command: &[Vec<u8>]) -> bool {
    let name = String::from_utf8_lossy(&command[0]).to_ascii_uppercase();
    match attack.to {
        Some(to) => to.split(' ').any(|to| to == name),
        None => ![
            "AUTH", "SELECT", "CLIENT", "HELLO", "PING", "CLUSTER", "SENTINEL", "ROLE",
        ]
        .contains(&name.as_str()),
    }
}

/// Returns whether the connection continues.
async fn carry_out(stream: &mut TcpStream, attack: Attack, switch: &Mutex<Option<Attack>>) -> bool {
    let is_over = || switch.lock().unwrap_or_else(PoisonError::into_inner).is_none();
    if stream.write_all(&attack.first).await.is_err() {
        return false;
    }
    match attack.then {
        Then::Again => return true,
        Then::Vary(answer) => {
            static COUNTER: AtomicU64 = AtomicU64::new(0);
            let answer = answer(COUNTER.fetch_add(1, Ordering::Relaxed));
            return stream.write_all(&answer).await.is_ok();
        }
        Then::Flood(bytes) => {
            let batch = bytes.repeat((32 << 10) / bytes.len() + 1);
            while !is_over() && stream.write_all(&batch).await.is_ok() {
                tokio::task::yield_now().await;
            }
        }
        Then::Drip(bytes, interval) => {
            for byte in bytes.iter().cycle() {
                if is_over() || stream.write_all(&[*byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(interval).await;
            }
        }
        Then::Close => {}
        Then::Reset => {
            let _ = stream.set_zero_linger();
        }
        Then::Silence => {
            let mut sink = vec![0; 64 << 10];
            while !is_over() {
                let read = tokio::time::timeout(Duration::from_millis(50), stream.read(&mut sink)).await;
                if let Ok(Ok(0) | Err(_)) = read {
                    break;
                }
            }
        }
        Then::Freeze => {
            while !is_over() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    false
}

/// Returns the first command in these bytes, and its size.
fn command(bytes: &[u8]) -> Option<(Vec<Vec<u8>>, usize)> {
    fn number(bytes: &[u8], kind: u8, at: &mut usize) -> Option<usize> {
        let end = *at + bytes.get(*at..)?.windows(2).position(|pair| pair == b"\r\n")?;
        let line = bytes.get(*at..end)?;
        assert_eq!(line.first(), Some(&kind), "the client sends no arrays of bulk strings");
        *at = end + 2;
        std::str::from_utf8(&line[1..]).ok()?.parse().ok()
    }
    let mut at = 0;
    let count = number(bytes, b'*', &mut at)?;
    let mut parts = Vec::with_capacity(count);
    for _ in 0..count {
        let size = number(bytes, b'$', &mut at)?;
        parts.push(bytes.get(at..at + size)?.to_vec());
        at += size + 2;
    }
    (at <= bytes.len()).then_some((parts, at))
}

fn good_answer(command: &[Vec<u8>], own: SocketAddr, is_in_transaction: &mut bool) -> Vec<u8> {
    let name = String::from_utf8_lossy(&command[0]).to_ascii_uppercase();
    if *is_in_transaction && name != "EXEC" {
        return b"+QUEUED\r\n".to_vec();
    }
    let port = own.port();
    match name.as_str() {
        "PING" => b"+PONG\r\n".to_vec(),
        "HELLO" => b"%1\r\n+proto\r\n:3\r\n".to_vec(),
        "GET" => b"$-1\r\n".to_vec(),
        "MGET" => [
            format!("*{}\r\n", command.len() - 1).into_bytes(),
            b"$-1\r\n".repeat(command.len() - 1),
        ]
        .concat(),
        "PTTL" => b":-2\r\n".to_vec(),
        "SCAN" => b"*2\r\n$1\r\n0\r\n*0\r\n".to_vec(),
        "UNLINK" | "EXISTS" | "PERSIST" | "PEXPIRE" => b":0\r\n".to_vec(),
        "INCRBY" => b":1\r\n".to_vec(),
        "MULTI" => {
            *is_in_transaction = true;
            b"+OK\r\n".to_vec()
        }
        "EXEC" => {
            *is_in_transaction = false;
            b"*0\r\n".to_vec()
        }
        "CLUSTER" => slots(&[(0, 16383, port)]),
        "SENTINEL" if command.get(1).is_some_and(|word| word.eq_ignore_ascii_case(b"MASTER")) => {
            b"*4\r\n$4\r\nname\r\n$4\r\nmain\r\n$12\r\nconfig-epoch\r\n$1\r\n1\r\n".to_vec()
        }
        "SENTINEL" => {
            let port = port.to_string();
            format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n", port.len()).into_bytes()
        }
        "ROLE" => b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n".to_vec(),
        _ => b"+OK\r\n".to_vec(),
    }
}

/// Returns an answer to CLUSTER SLOTS with these ranges on this machine.
pub(crate) fn slots(ranges: &[(i64, i64, u16)]) -> Vec<u8> {
    let range = |(first, last, port): &(i64, i64, u16)| {
        format!("*3\r\n:{first}\r\n:{last}\r\n*3\r\n$9\r\n127.0.0.1\r\n:{port}\r\n$5\r\n{port:05}\r\n")
    };
    let ranges: Vec<String> = ranges.iter().map(range).collect();
    format!("*{}\r\n{}", ranges.len(), ranges.concat()).into_bytes()
}
