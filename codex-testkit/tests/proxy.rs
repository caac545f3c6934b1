//! The effects of the proxy on a connection, as a client observes them.
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

use std::{
    io::ErrorKind,
    net::SocketAddr,
    time::{Duration, Instant},
};

use codex_testkit::{Fault, Proxy};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// Starts a server that answers every byte with eight copies of it.
async fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            tokio::spawn(async move {
                while let Ok(byte) = connection.read_u8().await {
                    if connection.write_all(&[byte; 8]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

async fn proxied() -> (Proxy, TcpStream) {
    let proxy = Proxy::start(server().await).await.unwrap();
    let client = TcpStream::connect(proxy.address()).await.unwrap();
    (proxy, client)
}

/// Sends `byte` and returns the answer up to the end of the connection.
async fn ask(client: &mut TcpStream, byte: u8) -> Result<Vec<u8>, ErrorKind> {
    client.write_all(&[byte]).await.map_err(|error| error.kind())?;
    let mut answer = Vec::new();
    while answer.len() < 8 {
        match client.read_buf(&mut answer).await {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => return Err(error.kind()),
        }
    }
    Ok(answer)
}

#[tokio::test]
async fn all_is_passed_where_nothing_is_wrong() {
    let (_proxy, mut client) = proxied().await;
    for byte in 0..100 {
        assert_eq!(ask(&mut client, byte).await.unwrap(), [byte; 8]);
    }
}

#[tokio::test]
async fn refusing_cuts_and_refuses_until_it_ends() {
    let (proxy, mut client) = proxied().await;
    assert_eq!(ask(&mut client, 1).await.unwrap(), [1; 8]);
    proxy.set_fault(Fault::Refuse);
    assert!(!ask(&mut client, 2).await.is_ok_and(|answer| !answer.is_empty()));
    // The listener is closed by another thread, so the refusal may come late.
    let refused = async {
        while TcpStream::connect(proxy.address()).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(5), refused).await.unwrap();
    let error = TcpStream::connect(proxy.address()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);

    proxy.set_fault(Fault::None);
    let again = async {
        loop {
            if let Ok(client) = TcpStream::connect(proxy.address()).await {
                return client;
            }
            tokio::task::yield_now().await;
        }
    };
    let mut client = timeout(Duration::from_secs(5), again).await.unwrap();
    assert_eq!(ask(&mut client, 3).await.unwrap(), [3; 8]);
}

#[tokio::test]
async fn a_stall_holds_answers_back_and_lets_them_go() {
    let (proxy, mut client) = proxied().await;
    proxy.set_fault(Fault::Stall);
    let held = timeout(Duration::from_millis(50), ask(&mut client, 1)).await;
    assert!(held.is_err(), "{held:?}");
    proxy.set_fault(Fault::None);
    let mut answer = [0; 8];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, [1; 8]);
    assert_eq!(ask(&mut client, 2).await.unwrap(), [2; 8]);
}

#[tokio::test]
async fn a_delay_is_waited_for() {
    let (proxy, mut client) = proxied().await;
    let delay = Duration::from_millis(30);
    proxy.set_fault(Fault::Delay(delay));
    let start = Instant::now();
    assert_eq!(ask(&mut client, 1).await.unwrap(), [1; 8]);
    assert!(start.elapsed() >= delay);
}

#[tokio::test]
async fn a_reset_comes_after_so_many_bytes() {
    let (proxy, mut client) = proxied().await;
    proxy.set_fault(Fault::ResetAfter(20));
    assert_eq!(ask(&mut client, 1).await.unwrap(), [1; 8]);
    assert_eq!(ask(&mut client, 2).await.unwrap(), [2; 8]);
    // A reset may overtake the four bytes before it.
    assert_eq!(ask(&mut client, 3).await.unwrap_err(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn requests_are_cut_after_so_many_bytes() {
    let (proxy, mut client) = proxied().await;
    proxy.set_fault(Fault::CutRequestsAfter(3));
    assert_eq!(ask(&mut client, 1).await.unwrap(), [1; 8]);
    client.write_all(&[2, 3, 4]).await.unwrap();
    // The last byte never reached the server. The earlier bytes may have been answered before the
    // end.
    let mut answers = Vec::new();
    let _ = client.read_to_end(&mut answers).await;
    assert!(
        [&[][..], &[2; 8], &[[2; 8], [3; 8]].concat()].contains(&answers.as_slice()),
        "{answers:?}"
    );
}

#[tokio::test]
async fn an_answer_is_lost_halved_or_the_last() {
    for (fault, expected) in [
        (Fault::CutBeforeReply, 0),
        (Fault::HalfFrame, 4),
        (Fault::CutAfterReply, 8),
    ] {
        let (proxy, mut client) = proxied().await;
        assert_eq!(ask(&mut client, 1).await.unwrap(), [1; 8]);
        proxy.set_fault(fault);
        assert_eq!(ask(&mut client, 2).await.unwrap(), vec![2; expected], "{fault:?}");
        let after = ask(&mut client, 3).await;
        assert!(
            !after.is_ok_and(|answer| !answer.is_empty()),
            "{fault:?}: the connection is still there"
        );
        assert_eq!(proxy.fault(), fault);
    }
}

#[tokio::test]
async fn one_answer_alone_is_lost() {
    let (proxy, mut client) = proxied().await;
    proxy.set_fault(Fault::CutNextReply);
    assert_eq!(ask(&mut client, 1).await.unwrap(), [0; 0]);
    assert_eq!(proxy.fault(), Fault::None);
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut client, 2).await.unwrap(), [2; 8]);
}

#[tokio::test]
async fn a_flood_repeats_items_of_any_length() {
    const LONG: &[u8] = &[7; 100_000];
    for item in [&b"x"[..], LONG] {
        let (proxy, mut client) = proxied().await;
        proxy.set_fault(Fault::Flood { head: b"head", item });
        client.write_all(&[1]).await.unwrap();
        let mut answer = vec![0; 4 + 2 * LONG.len()];
        client.read_exact(&mut answer).await.unwrap();
        assert!(
            answer.starts_with(b"head") && answer.ends_with(item),
            "{} bytes",
            item.len()
        );
    }
    // Without an item, nothing follows the head, and the fault can still end.
    let (proxy, mut client) = proxied().await;
    proxy.set_fault(Fault::Flood {
        head: b"head",
        item: b"",
    });
    client.write_all(&[1]).await.unwrap();
    let mut answer = [0; 4];
    client.read_exact(&mut answer).await.unwrap();
    proxy.set_fault(Fault::None);
    let end = timeout(Duration::from_secs(20), client.read(&mut answer)).await;
    assert_eq!((end.unwrap().unwrap(), proxy.flooded_bytes()), (0, 0));
}

#[tokio::test]
async fn a_connection_dies_in_both_directions() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap()).await.unwrap();
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    client.write_all(&[1]).await.unwrap();
    assert_eq!(server.read_u8().await.unwrap(), 1);
    proxy.set_fault(Fault::HalfOpen);
    client.write_all(&[2]).await.unwrap();
    assert!(timeout(Duration::from_millis(100), server.read_u8()).await.is_err());
    proxy.set_fault(Fault::None);
    // The request has found the connection dead, so a message from the server finds it dead too,
    // and so does the end of the server's side.
    server.write_all(&[3]).await.unwrap();
    drop(server);
    let answer = timeout(Duration::from_millis(100), client.read_u8()).await;
    assert!(answer.is_err(), "{answer:?}");
}
