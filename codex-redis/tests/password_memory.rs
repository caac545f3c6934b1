//! A password leaves no copy in the memory of the process once its handle is dropped.
//!
//! The test has its own process, because it searches all memory of the process. Linux only:
//! elsewhere a process cannot read its own memory without unsafe code.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::FileExt as _,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use codex_redis::{Credentials, RedisBackend, RedisBuilder};
use codex_traits::KvBackend;
use zeroize::{Zeroize as _, Zeroizing};

/// The password under a mask, so that the executable and the search hold no copy of it.
#[expect(clippy::cast_possible_truncation, reason = "any letter will do")]
const MASKED: [u8; 64] = {
    let mut masked = [0; 64];
    let mut at = 0;
    while at < masked.len() {
        // Letters and digits without a pattern.
        masked[at] = (b'a' + (at * at * 7 + at * 3 + 5) as u8 % 26) ^ MASK;
        at += 1;
    }
    masked
};

const MASK: u8 = 0xa5;

/// The length from which a part of the password counts as a copy. A buffer that grew leaves its
/// first half behind, and an allocator overwrites the beginning of freed memory.
const PART: usize = 16;

/// Held by the test that searches, because another test would have its own copies.
static ALONE: Mutex<()> = Mutex::new(());

fn password() -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(MASKED.len()));
    for byte in MASKED {
        text.push(char::from(byte ^ MASK));
    }
    text
}

/// Returns a URL with the password. Percent-encodes every byte of the password if `is_encoded`.
fn url(before: &str, is_encoded: bool, after: &str) -> Zeroizing<String> {
    let mut url = Zeroizing::new(String::with_capacity(512));
    url.push_str(before);
    for byte in MASKED {
        if is_encoded {
            url.push('%');
            for nibble in [(byte ^ MASK) >> 4, (byte ^ MASK) & 15] {
                url.push(char::from(if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 }));
            }
        } else {
            url.push(char::from(byte ^ MASK));
        }
    }
    url.push_str(after);
    url
}

/// Returns how many parts of the password the memory of this process holds.
fn copies() -> usize {
    let memory = File::open("/proc/self/mem").unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    // Wiped after each read, and skipped by the search.
    let mut buffer = vec![0; 1 << 20];
    let own = buffer.as_ptr() as usize..buffer.as_ptr() as usize + buffer.len();
    let mut found = 0;
    for line in maps
        .lines()
        .filter(|line| line.split(' ').nth(1).is_some_and(|rights| rights.starts_with("rw")))
    {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let (mut at, end) = (
            usize::from_str_radix(start, 16).unwrap(),
            usize::from_str_radix(end, 16).unwrap(),
        );
        while at < end {
            if own.contains(&at) {
                at = own.end;
                continue;
            }
            let limit = if at < own.start { end.min(own.start) } else { end };
            let wanted = buffer.len().min(limit - at);
            let Ok(read @ 1..) = memory.read_at(&mut buffer[..wanted], at as u64) else {
                break;
            };
            found += parts_in(&buffer[..read]);
            buffer.as_mut_slice().zeroize();
            // A part may begin in one read and end in the next.
            at += if read == wanted && at + read < limit {
                read - PART + 1
            } else {
                read
            };
        }
    }
    found
}

fn parts_in(bytes: &[u8]) -> usize {
    // Most pages have never been written to, and comparing whole pages is quick without
    // optimization.
    const PAGE: usize = 4096;
    let zeros = [0; PAGE + PART];
    let mut found = 0;
    for start in (0..bytes.len()).step_by(PAGE) {
        let page = &bytes[start..bytes.len().min(start + PAGE + PART - 1)];
        if page != &zeros[..page.len()] {
            found += page.windows(PART).filter(|window| is_part(window)).count();
        }
    }
    found
}

fn is_part(window: &[u8]) -> bool {
    MASKED
        .chunks(PART)
        .any(|part| window[0] ^ MASK == part[0] && window.iter().zip(part).all(|(byte, masked)| byte ^ MASK == *masked))
}

/// Starts a server that accepts every login, wipes its input, and also answers as a Sentinel.
fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || serve(&mut stream.unwrap(), address.port()));
        }
    });
    address
}

fn serve(stream: &mut TcpStream, port: u16) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        // A request of these tests arrives in one piece, and several may arrive together.
        let Ok(read @ 1..) = stream.read(&mut buffer) else {
            return;
        };
        let text = &buffer[..read];
        let count = |word: &str| {
            text.windows(word.len())
                .filter(|window| *window == word.as_bytes())
                .count()
        };
        let mut answer = String::new();
        for (word, reply) in [
            ("AUTH\r\n", "+OK\r\n"),
            ("SETNAME\r\n", "+OK\r\n"),
            ("PING\r\n", "+PONG\r\n"),
            ("GET\r\n", "$-1\r\n"),
            ("ROLE\r\n", "*1\r\n$6\r\nmaster\r\n"),
        ] {
            answer += &reply.repeat(count(word));
        }
        let port = port.to_string();
        let place = format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n", port.len());
        let state = "*2\r\n$12\r\nconfig-epoch\r\n$1\r\n1\r\n";
        // The two commands always come together.
        answer += &[&place, state].concat().repeat(count("GET-MASTER-ADDR-BY-NAME\r\n"));
        buffer.as_mut_slice().zeroize();
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// Uses a handle with these settings on a separate runtime, drops both, and searches.
fn leaves_nothing(name: &str, settings: impl FnOnce() -> RedisBuilder) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let backend = settings()
            .build()
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        for _ in 0..10 {
            backend.get("k").await.unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        // A provider's password is not even kept while the handle is in use.
        assert_eq!(copies() > 0, name != "a provider", "{name}");
        drop(backend);
        // The tasks of the connections end.
        tokio::time::sleep(Duration::from_millis(50)).await;
    });
    drop(runtime);
    assert_eq!(copies(), 0, "{name}");
}

#[test]
fn no_copy_of_a_password_outlives_its_handle() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let address = server();
    let (host, port) = (address.ip().to_string(), address.port());
    assert_eq!(copies(), 0);
    let builder = || RedisBackend::builder().tcp(host.clone(), port);
    leaves_nothing("a URL", || {
        RedisBackend::builder().url(&url("redis://app:", false, &format!("@{address}")))
    });
    leaves_nothing("a percent-encoded URL", || {
        RedisBackend::builder().url(&url("redis://:", true, &format!("@{address}")))
    });
    leaves_nothing("a URL that is replaced", || {
        let first = RedisBackend::builder().url(&url("redis://app:", false, "@h"));
        first.url(&url("redis://app:", true, &format!("@{address}")))
    });
    leaves_nothing("the builder", || builder().password(password().as_str().to_owned()));
    leaves_nothing("a provider", || {
        builder().credentials(|| async { Ok(Credentials::new("app", password().as_str().to_owned())) })
    });
    leaves_nothing("a URL of Sentinels", || {
        RedisBackend::builder().url(&url("redis-sentinel://app:", true, &format!("@{address}/main")))
    });
    leaves_nothing("the Sentinels' own password", || {
        let before = format!("redis-sentinel://{address}/main?sentinel_password=");
        RedisBackend::builder().url(&url(&before, true, ""))
    });
}

#[test]
fn no_copy_of_a_password_outlives_an_error() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for (before, after) in [
        ("redis://app:", "@h:port"),
        ("redis://app:%ff", "@h"),
        ("redis://app:", "%ff@h"),
        ("redis://app:", "/%@h:70000"),
        ("redis-sentinel://app:", "/x@h"),
        ("redis-cluster://app:", "@h,"),
        ("redis://h?sentinel_password=", "%ff"),
        ("redis://h?password=", ""),
        ("redis://app:", "@h?unknown=1"),
        ("unix://app:", "@/"),
    ] {
        for is_encoded in [true, false] {
            let refused = RedisBackend::connect_lazy(&url(before, is_encoded, after));
            assert!(refused.is_err(), "{before}…{after}");
        }
    }
    assert_eq!(copies(), 0);
}
