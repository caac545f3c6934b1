//! Deadlines, limits and options of connections.

use std::time::Duration;

use super::RedisBuilder;
use crate::config::settings::RespVersion;

impl RedisBuilder {
    /// Sets the deadline of a call; see [the crate](crate#deadline). From 1 ms to 1 day.
    pub fn command_timeout(mut self, timeout: Duration) -> Self {
        self.command_timeout = timeout;
        self
    }

    /// Sets the deadline of a dial, from 1 ms to 1 day. A dial continues in the background if the
    /// call that started it gives up earlier.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets the longest deadline of a call with large data, from 1 ms to 1 day. A call's own data
    /// extends its [`command_timeout`](Self::command_timeout) by a second for every 8 MiB that it
    /// sends or has received, up to this limit. If the limit is shorter than `command_timeout`,
    /// large data adds nothing.
    pub fn transfer_timeout(mut self, timeout: Duration) -> Self {
        self.transfer_timeout = timeout;
        self
    }

    /// Sets the number of connections on each runtime, from 1 to 64, to the server or to each node
    /// of a cluster. Small requests share the first connection, because writing requests together
    /// is cheapest. Requests of more than 64 KiB share the second. While a connection carries a
    /// large value, small requests use the next connection that does not.
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// Limits the calls in flight on each runtime; at least 1. Further calls wait for their turn,
    /// within their deadline.
    pub fn max_in_flight(mut self, calls: usize) -> Self {
        self.max_in_flight = calls;
        self
    }

    /// Limits the calls that wait for their turn on each runtime while
    /// [`max_in_flight`](Self::max_in_flight) calls are in flight. Further calls fail immediately,
    /// so that a stalled server costs a bounded amount of memory. With 0 no call waits.
    pub fn max_waiting(mut self, calls: usize) -> Self {
        self.max_waiting = calls;
        self
    }

    /// Limits the memory of the replies on one connection, from 64 KiB to 1 TiB: replies that are
    /// arriving, with the overhead of small values, and replies that their calls have not taken
    /// yet. Beyond the limit the connection is closed, and its calls fail. The default, 512 MiB, is
    /// the largest value that a server stores by default.
    pub fn max_reply_bytes(mut self, bytes: usize) -> Self {
        self.max_reply_bytes = bytes;
        self
    }

    /// Sets the number of timeouts in a row after which a connection counts as frozen and is
    /// closed; at least 1. A connection is also closed if its oldest request is overdue by that
    /// many times the [`command_timeout`](Self::command_timeout).
    pub fn timeouts_before_redial(mut self, timeouts: u32) -> Self {
        self.timeouts_before_redial = timeouts;
        self
    }

    /// Sets the first and the longest pause after a failed dial. Calls fail immediately during a
    /// pause. Through Sentinel no pause exceeds 500 ms.
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.backoff = (first, longest);
        self
    }

    /// Sets the idle time after which TCP probes a connection, from 1 s to 32,767 s. `None` keeps
    /// the system's default.
    pub fn keepalive(mut self, keepalive: Option<Duration>) -> Self {
        self.keepalive = keepalive;
        self
    }

    /// Sets the name that the server's `CLIENT LIST` shows: printable ASCII without spaces. With
    /// `None` no `CLIENT SETNAME` is sent.
    pub fn client_name(mut self, name: Option<&str>) -> Self {
        self.client_name = name.map(str::to_owned);
        self
    }

    /// Sets the protocol version. No verb needs RESP3. Use it for servers and proxies that speak no
    /// other version.
    pub fn resp(mut self, version: RespVersion) -> Self {
        self.resp = version;
        self
    }

    /// Sets the duration above which a round trip counts as slow. A `tracing` event reports its
    /// verb and the time taken.
    pub fn slow_command(mut self, threshold: Duration) -> Self {
        self.slow_command = threshold;
        self
    }

    /// Sets whether [`build`](Self::build) only checks the settings, so that no server is needed at
    /// startup. The first call then connects, within its deadline, and fails if the password is
    /// wrong. In a URL this is `lazy=true`.
    pub fn lazy(mut self, lazy: bool) -> Self {
        self.lazy = lazy;
        self
    }
}
