//! Addresses of servers behind network address translation.

use std::{fmt, sync::Arc};

use super::settings::{Address, bad_setting};
use codex_traits::Result;

/// A translation from the address that a server announces to the address that reaches it from here.
#[derive(Clone)]
pub(crate) struct AddressMap(Arc<Translate>);

type Translate = dyn Fn(&str, u16) -> Option<(String, u16)> + Send + Sync;

impl AddressMap {
    pub(crate) fn new(translate: impl Fn(&str, u16) -> Option<(String, u16)> + Send + Sync + 'static) -> Self {
        Self(Arc::new(translate))
    }

    /// Parses `stated>reached,stated>reached`.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let expected = || {
            bad_setting(
                "address_map: must be pairs of addresses, for example \
                 `address_map=10.0.0.1:6379>203.0.113.7:7001,10.0.0.2:6379>203.0.113.7:7002`",
            )
        };
        let mut pairs = Vec::new();
        for pair in text.split(',') {
            let (stated, reached) = pair.split_once('>').ok_or_else(expected)?;
            let address = |text| match super::url::server(text, super::url::DEFAULT_PORT) {
                Ok(Address::Tcp { host, port }) => Ok((host, port)),
                _ => Err(expected()),
            };
            pairs.push((address(stated)?, address(reached)?));
        }
        Ok(Self::new(move |host, port| {
            let pair = pairs.iter().find(|((stated, at), _)| stated == host && *at == port);
            pair.map(|(_, reached)| reached.clone())
        }))
    }

    pub(crate) fn translate(&self, address: Address) -> Address {
        match &address {
            Address::Tcp { host, port } => match (self.0)(host, *port) {
                Some((host, port)) => Address::Tcp { host, port },
                None => address,
            },
            Address::Unix(_) => address,
        }
    }
}

impl fmt::Debug for AddressMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AddressMap(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(map: &AddressMap, host: &str, port: u16) -> String {
        let address = Address::Tcp {
            host: host.to_owned(),
            port,
        };
        format!("{:?}", map.translate(address))
    }

    #[test]
    fn a_stated_address_becomes_the_one_that_reaches_it() {
        let map =
            AddressMap::parse("10.0.0.1:7000>203.0.113.7:7001,[fd00::1]:7000>[2001:db8::1]:1,node>public").unwrap();
        for (host, port, expected) in [
            ("10.0.0.1", 7000, "203.0.113.7:7001"),
            ("10.0.0.1", 7001, "10.0.0.1:7001"),
            ("fd00::1", 7000, "[2001:db8::1]:1"),
            ("node", 6379, "public:6379"),
            ("other", 6379, "other:6379"),
        ] {
            assert_eq!(translated(&map, host, port), expected);
        }
    }

    #[test]
    fn a_map_of_another_form_is_refused_and_never_shown() {
        for text in ["", "hunter2", "hunter2>", "a:1>b:0", "a:1>b:2,", "a>b>c", "a:x>b"] {
            let error = AddressMap::parse(text).unwrap_err();
            assert!(error.to_string().contains("address_map: must be pairs"), "{error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
