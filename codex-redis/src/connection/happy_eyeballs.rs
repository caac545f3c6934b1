//! TCP connections to a host name with several addresses, by RFC 8305: the attempts overlap, and
//! the first that succeeds wins.

use std::{io, net::SocketAddr, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::failure::DialError;

/// The pause between the starts of two attempts; the RFC recommends 250 ms.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// The shortest pause; the RFC forbids less.
const SHORTEST_DELAY: Duration = Duration::from_millis(10);

/// The maximum number of addresses to try. A name can have any number of them.
const MOST_ADDRESSES: usize = 16;

/// Connects to one of the addresses of a host. `timeout` is the caller's limit for all attempts.
/// Every attempt starts within the first half of it, as far as the shortest pause allows.
pub(super) async fn connect(host: &str, port: u16, timeout: Duration) -> Result<TcpStream, DialError> {
    let found = lookup_host((host, port)).await.map_err(|error| {
        DialError::unreachable("the host name could not be resolved: check it, and the name server")
            .because(Some(error.kind()))
    })?;
    let addresses = interleaved(found);
    let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let delay = (timeout / 2 / count).clamp(SHORTEST_DELAY, ATTEMPT_DELAY);
    Ok(race(addresses, delay).await?)
}

/// Interleaves the address families, the family that the resolver prefers first. Within a family,
/// keeps the resolver's order.
fn interleaved(addresses: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut addresses = addresses.peekable();
    let prefers_v6 = addresses.peek().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses.partition(|address| address.is_ipv6() == prefers_v6);
    let mut sorted = Vec::with_capacity(first.len() + second.len());
    let mut second = second.into_iter();
    for address in first {
        sorted.push(address);
        sorted.extend(second.next());
    }
    sorted.extend(second);
    sorted.dedup();
    sorted.truncate(MOST_ADDRESSES);
    sorted
}

/// Starts an attempt after each pause, and immediately after a failure. If all attempts fail,
/// returns the first error.
async fn race(addresses: Vec<SocketAddr>, delay: Duration) -> io::Result<TcpStream> {
    let mut untried = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut failure = None;
    loop {
        let is_last = match untried.next() {
            Some(address) => {
                attempts.push(TcpStream::connect(address));
                untried.len() == 0
            }
            None => true,
        };
        let attempt = if is_last {
            attempts.next().await
        } else {
            match timeout(delay, attempts.next()).await {
                Ok(attempt) => attempt,
                Err(_) => continue,
            }
        };
        match attempt {
            Some(Ok(stream)) => return Ok(stream),
            Some(Err(error)) => {
                failure.get_or_insert(error);
            }
            None => return Err(failure.unwrap_or_else(|| io::Error::from(io::ErrorKind::NotFound))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV6, TcpListener as Listener};

    use tokio::time::Instant;

    use super::*;

    fn v4(last: u8) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::new(10, 0, 0, last), 1))
    }

    fn v6(last: u16) -> SocketAddr {
        SocketAddr::V6(SocketAddrV6::new(
            Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last),
            1,
            0,
            0,
        ))
    }

    #[test]
    fn the_families_alternate_from_the_one_that_the_resolver_prefers() {
        for (given, expected) in [
            (vec![v6(1), v6(2), v4(1), v4(2)], vec![v6(1), v4(1), v6(2), v4(2)]),
            (vec![v4(1), v6(1), v6(2), v6(3)], vec![v4(1), v6(1), v6(2), v6(3)]),
            (vec![v4(1), v4(2)], vec![v4(1), v4(2)]),
            (vec![], vec![]),
        ] {
            assert_eq!(interleaved(given.into_iter()), expected);
        }
        let many = (0..=255).map(v4);
        assert_eq!(interleaved(many).len(), MOST_ADDRESSES);
    }

    /// Returns an address that does not answer a SYN, because the backlog of its listener is full.
    async fn black_hole() -> (SocketAddr, Vec<TcpStream>, tokio::net::TcpListener) {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut held = Vec::new();
        while let Ok(Ok(stream)) = timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
            held.push(stream);
            assert!(held.len() < 64, "the backlog does not fill up");
        }
        (address, held, listener)
    }

    #[tokio::test]
    async fn an_address_that_does_not_answer_delays_the_others_by_one_pause_each() {
        let (hole, _held, _listener) = black_hole().await;
        let good = Listener::bind("127.0.0.1:0").unwrap();
        let address = good.local_addr().unwrap();
        let start = Instant::now();
        let stream = race(vec![hole, hole, address], Duration::from_millis(100))
            .await
            .unwrap();
        assert_eq!(stream.peer_addr().unwrap(), address);
        // A retransmitted SYN would take a second.
        assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
        assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
    }

    #[tokio::test]
    async fn a_refused_address_does_not_delay_the_next() {
        let closed = Listener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let good = Listener::bind("127.0.0.1:0").unwrap();
        let address = good.local_addr().unwrap();
        let stream = race(vec![closed, closed, address], Duration::from_secs(20));
        let stream = timeout(Duration::from_secs(10), stream).await.unwrap().unwrap();
        assert_eq!(stream.peer_addr().unwrap(), address);
    }

    #[tokio::test]
    async fn if_all_fail_the_first_failure_is_told() {
        let closed = Listener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = race(vec![closed, closed], Duration::from_secs(20)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(race(vec![], Duration::from_secs(20)).await.is_err());
    }
}
