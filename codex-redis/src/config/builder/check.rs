//! The checks of the settings when a handle is built.

use std::{path::Path, time::Duration};

use codex_traits::Result;
use zeroize::Zeroizing;

use super::RedisBuilder;
use crate::config::{
    credentials::{Login, LoginSource},
    settings::{Address, Checked, Settings, Target, bad_setting},
};

/// Linux refuses a longer keepalive, so every dial would fail.
const LONGEST_KEEPALIVE: Duration = Duration::from_secs(32_767);

impl RedisBuilder {
    fn check_values(&self) -> Result<()> {
        let addresses = self.target.addresses();
        for (holds, expected) in [
            (
                !addresses
                    .iter()
                    .any(|address| matches!(address, Address::Tcp { host, port } if host.is_empty() || *port == 0)),
                "tcp, sentinel, cluster: a host must not be empty and a port must be from 1 to 65535",
            ),
            (
                !addresses.is_empty(),
                "sentinel, cluster: there must be at least one host",
            ),
            (
                !matches!(&self.target, Target::Sentinel { name, .. } if name.is_empty()),
                "sentinel: the primary's name must not be empty",
            ),
            (
                !matches!(&self.target, Target::Cluster(_) if self.database != 0),
                "database: a cluster has only database 0",
            ),
            (
                !matches!(addresses, [Address::Unix(path)] if path.as_os_str().is_empty()),
                "unix_socket: the path must not be empty",
            ),
            (
                !matches!(addresses, [Address::Unix(path)] if !can_be_socket(path)),
                "unix_socket: the path must be at most about 100 bytes long, and hold no NUL; use a shorter path or a link",
            ),
            (
                cfg!(unix) || !matches!(addresses, [Address::Unix(_)]),
                "unix_socket: this platform has no Unix sockets; connect over TCP with redis://host:port",
            ),
            (
                i32::try_from(self.database).is_ok(),
                "database: must be a number from 0 to 2147483647",
            ),
            (
                (1..=64).contains(&self.connections),
                "connections: must be from 1 to 64",
            ),
            (
                in_range(self.command_timeout),
                "command_timeout: must be from 1 ms to 1 day",
            ),
            (
                in_range(self.connect_timeout),
                "connect_timeout: must be from 1 ms to 1 day",
            ),
            (
                in_range(self.transfer_timeout),
                "transfer_timeout: must be from 1 ms to 1 day",
            ),
            (
                (64 << 10..=1 << 40).contains(&(self.max_reply_bytes as u64)),
                "max_reply_bytes: must be from 65536 (64 KiB) to 1099511627776 (1 TiB)",
            ),
            (
                (1..=tokio::sync::Semaphore::MAX_PERMITS).contains(&self.max_in_flight),
                "max_in_flight: must be at least 1",
            ),
            (
                self.timeouts_before_redial > 0,
                "timeouts_before_redial: must be at least 1",
            ),
            (
                in_range(self.backoff.0) && in_range(self.backoff.1) && self.backoff.0 <= self.backoff.1,
                "backoff: must be from 1 ms to 1 day, and the first pause no longer than the longest",
            ),
            (
                self.keepalive
                    .is_none_or(|keepalive| (Duration::from_secs(1)..=LONGEST_KEEPALIVE).contains(&keepalive)),
                "keepalive: must be from 1 s to 32767 s",
            ),
            (
                self.client_name
                    .as_ref()
                    .is_none_or(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic())),
                "client_name: must be printable ASCII without spaces",
            ),
        ] {
            if !holds {
                return Err(bad_setting(expected));
            }
        }
        Ok(())
    }

    #[cfg(feature = "tls")]
    fn check_tls(&self) -> Result<Option<crate::config::tls::TlsSource>> {
        let tls = match &self.tls {
            Some(tls) => Some(tls.clone()),
            None => self.tls_by_url.then(|| self.tls_parameters.settings()).transpose()?,
        };
        if tls.is_some() && matches!(self.target, Target::One(Address::Unix(_))) {
            return Err(bad_setting(
                "tls: a Unix socket cannot use TLS; use redis+unix:// without `tls`, or rediss://host:port",
            ));
        }
        tls.map(crate::config::tls::RedisTls::check).transpose()
    }

    /// Checks every setting. Returns the error for the first bad setting.
    pub(crate) fn check(mut self) -> Result<Checked> {
        if let Some(refused) = self.refused.take() {
            return Err(refused);
        }
        #[cfg(feature = "tls")]
        let tls = self.check_tls()?;
        #[cfg(not(feature = "tls"))]
        if self.tls_by_url {
            return Err(bad_setting(
                "a rediss:// URL needs the feature `tls` of codex-redis (`redis-tls` of codex-kv)",
            ));
        }
        self.check_values()?;
        let own_login = source(self.credentials, self.username, self.password)?;
        let sentinel_login = source(
            self.sentinel_credentials,
            self.sentinel_username,
            self.sentinel_password,
        )?;
        let settings = Settings {
            database: self.database,
            login: own_login,
            #[cfg(feature = "tls")]
            tls,
            address_map: self.address_map,
            connections: self.connections,
            command_timeout: self.command_timeout,
            connect_timeout: self.connect_timeout,
            transfer_timeout: self.transfer_timeout,
            max_in_flight: self.max_in_flight,
            max_waiting: self.max_waiting,
            max_reply_bytes: self.max_reply_bytes,
            timeouts_before_redial: self.timeouts_before_redial,
            backoff_min: self.backoff.0,
            backoff_max: self.backoff.1,
            keepalive: self.keepalive,
            client_name: self.client_name,
            resp: self.resp,
            slow_command: self.slow_command,
        };
        Ok(Checked {
            target: self.target,
            settings,
            sentinel_login,
            lazy: self.lazy,
        })
    }
}

/// Returns the login that these settings describe.
fn source(
    provider: Option<LoginSource>,
    user: Option<String>,
    password: Option<Zeroizing<String>>,
) -> Result<Option<LoginSource>> {
    match (provider, user, password) {
        (Some(provider), ..) => Ok(Some(provider)),
        (None, user, Some(password)) => Ok(Some(LoginSource::Fixed(Login { user, password }))),
        (None, None, None) => Ok(None),
        (None, Some(_), None) => Err(bad_setting(
            "username: a user name needs a password; set `password`, or `user:password@` in the URL",
        )),
    }
}

/// Returns whether the system accepts this path for a Unix socket.
#[cfg(unix)]
fn can_be_socket(path: &Path) -> bool {
    std::os::unix::net::SocketAddr::from_pathname(path).is_ok()
}

#[cfg(not(unix))]
fn can_be_socket(_: &Path) -> bool {
    true
}

fn in_range(timeout: Duration) -> bool {
    (Duration::from_millis(1)..=Duration::from_secs(24 * 3600)).contains(&timeout)
}

#[cfg(test)]
mod tests {
    use codex_traits::ErrorKind;

    use super::*;

    #[test]
    fn the_defaults_are_good_and_later_settings_take_the_place_of_earlier_ones() {
        let checked = RedisBuilder::new().check().unwrap();
        assert_eq!(format!("{:?}", checked.target.addresses()[0]), "127.0.0.1:6379");
        let settings = RedisBuilder::new()
            .url("redis://app:old@h/3")
            .password("new")
            .database(4)
            .check()
            .unwrap();
        let settings = &settings.settings;
        let Some(LoginSource::Fixed(login)) = &settings.login else {
            panic!("{settings:?}")
        };
        assert_eq!(
            (login.user.as_deref(), login.password.as_str(), settings.database),
            (Some("app"), "new", 4)
        );
        let settings = RedisBuilder::new().database(4).url("redis://h").check().unwrap();
        assert_eq!(settings.settings.database, 4);
    }

    #[test]
    fn a_bad_setting_is_named_with_what_was_expected() {
        let day = Duration::from_secs(24 * 3600);
        for (builder, setting) in vec![
            (RedisBuilder::new().tcp("", 1), "tcp"),
            (RedisBuilder::new().tcp("h", 0), "tcp"),
            (
                RedisBuilder::new().unix_socket(""),
                "unix_socket: the path must not be empty",
            ),
            (
                RedisBuilder::new().unix_socket(format!("/tmp/{}", "x".repeat(200))),
                "unix_socket: the path must be at most",
            ),
            (
                RedisBuilder::new().url("unix:///tmp/a%00b"),
                "unix_socket: the path must be at most",
            ),
            (RedisBuilder::new().sentinel("", [("h", 1)]), "sentinel"),
            (RedisBuilder::new().sentinel::<String>("main", []), "sentinel"),
            (RedisBuilder::new().sentinel("main", [("h", 0)]), "sentinel"),
            (RedisBuilder::new().sentinel_username("app"), "password"),
            (RedisBuilder::new().cluster::<String>([]), "cluster"),
            (RedisBuilder::new().cluster([("", 1)]), "cluster"),
            (RedisBuilder::new().cluster([("h", 1)]).database(1), "database"),
            (RedisBuilder::new().database(u32::MAX), "database"),
            (RedisBuilder::new().username("app"), "password"),
            (RedisBuilder::new().connections(0), "connections"),
            (RedisBuilder::new().connections(65), "connections"),
            (RedisBuilder::new().command_timeout(Duration::ZERO), "command_timeout"),
            (RedisBuilder::new().command_timeout(Duration::MAX), "command_timeout"),
            (RedisBuilder::new().connect_timeout(day * 2), "connect_timeout"),
            (RedisBuilder::new().transfer_timeout(Duration::ZERO), "transfer_timeout"),
            (RedisBuilder::new().max_reply_bytes(1000), "max_reply_bytes"),
            (RedisBuilder::new().max_reply_bytes(usize::MAX), "max_reply_bytes"),
            (RedisBuilder::new().max_in_flight(0), "max_in_flight"),
            (RedisBuilder::new().max_in_flight(usize::MAX), "max_in_flight"),
            (RedisBuilder::new().timeouts_before_redial(0), "timeouts_before_redial"),
            (RedisBuilder::new().backoff(Duration::ZERO, day), "backoff"),
            (RedisBuilder::new().backoff(day, Duration::from_secs(1)), "backoff"),
            (RedisBuilder::new().keepalive(Some(Duration::ZERO)), "keepalive"),
            (RedisBuilder::new().keepalive(Some(day)), "keepalive"),
            (RedisBuilder::new().client_name(Some("two words")), "client_name"),
            (RedisBuilder::new().client_name(Some("")), "client_name"),
            // The first of two errors is reported.
            (RedisBuilder::new().url("redis://h:0").url("redis://"), "port"),
        ] {
            let error = builder.check().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(setting), "{setting}: {error}");
        }
    }
}
