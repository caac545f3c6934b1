//! The slot map: the node that serves each slot.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use redis::Value;

use super::slots::{SLOTS, SlotSet};
use crate::{config::settings::Address, server::Server, wire::reply::text};

/// A node that serves slots.
#[derive(Debug, Clone)]
pub(crate) struct Master {
    pub(crate) id: String,
    pub(crate) server: Arc<Server<Address>>,
}

/// A slot map, as reported by one node at one time.
#[derive(Debug, Default)]
pub(crate) struct SlotMap {
    masters: Vec<Master>,
    /// The index of each slot's master in `masters`, or `NOBODY`.
    owners: Vec<u16>,
    /// Nodes that serve no slot now but may do so after a fail-over.
    pub(crate) replicas: Vec<Address>,
}

const NOBODY: u16 = u16::MAX;

/// The maximum number of remembered replicas. A cluster has at most about 1,000 nodes.
const MOST_REPLICAS: usize = 1000;

impl SlotMap {
    pub(crate) fn owner(&self, slot: u16) -> Option<&Master> {
        let place = self.owners.get(usize::from(slot))?;
        self.masters.get(usize::from(*place))
    }

    /// Returns whether every slot is served.
    pub(crate) fn is_whole(&self) -> bool {
        !self.owners.is_empty() && !self.owners.contains(&NOBODY)
    }

    pub(crate) fn by_id(&self, id: &str) -> Option<&Master> {
        self.masters.iter().find(|master| master.id == id)
    }

    /// Returns the number of slots whose node differs from `before`, and the new masters that took
    /// over slots from masters that are gone.
    pub(crate) fn changes<'a>(&'a self, before: &'a Self) -> (usize, Vec<&'a Master>) {
        // Sets, because a linear search would take seconds with a master for each slot.
        let ids = |map: &'a Self| -> HashSet<&'a str> { map.masters.iter().map(|master| &*master.id).collect() };
        let (ids_before, ids_now) = (ids(before), ids(self));
        let mut reported = HashSet::new();
        let mut moved = 0;
        let mut took_over: Vec<&Master> = Vec::new();
        for slot in 0..SLOTS {
            let (Some(old), Some(new)) = (before.owner(slot), self.owner(slot)) else {
                continue;
            };
            if old.id == new.id {
                continue;
            }
            moved += 1;
            let is_new = !ids_before.contains(&*new.id) && !ids_now.contains(&*old.id);
            if is_new && reported.insert(&*new.id) {
                took_over.push(new);
            }
        }
        (moved, took_over)
    }

    pub(crate) fn masters(&self) -> &[Master] {
        &self.masters
    }

    /// Parses the answer to CLUSTER SLOTS: the ends of each range, then the master and its
    /// replicas, each with host, port and id. `asked` replaces the host of a node that does not
    /// know its own. Returns `None` if the answer names a slot that does not exist or a slot with
    /// two masters.
    ///
    /// `reachable` translates an announced address.
    pub(crate) fn read(
        answer: &Value,
        asked: &Address,
        reachable: impl Fn(Address) -> Address,
        server: impl Fn(Address) -> Arc<Server<Address>>,
    ) -> Option<Self> {
        let mut map = Self {
            owners: vec![NOBODY; usize::from(SLOTS)],
            ..Self::default()
        };
        let mut places = HashMap::new();
        let mut replicas_seen = HashSet::new();
        for range in array(answer)? {
            let [first, last, master, replicas @ ..] = array(range)? else {
                return None;
            };
            let (address, id) = place(master, asked)?;
            let at = *places.entry(id).or_insert_with(|| {
                map.masters.push(Master {
                    id: id.to_owned(),
                    server: server(reachable(address)),
                });
                map.masters.len() - 1
            });
            let slots = map.owners.get_mut(slot(first)?..=slot(last)?)?;
            if slots.iter().any(|owner| *owner != NOBODY) {
                return None;
            }
            slots.fill(u16::try_from(at).ok()?);
            for replica in replicas {
                let address = reachable(place(replica, asked)?.0);
                if map.replicas.len() < MOST_REPLICAS && replicas_seen.insert(address.clone()) {
                    map.replicas.push(address);
                }
            }
        }
        Some(map)
    }
}

fn array(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(items) => Some(items),
        _ => None,
    }
}

fn slot(value: &Value) -> Option<usize> {
    match value {
        Value::Int(slot) => usize::try_from(*slot).ok(),
        _ => None,
    }
}

fn place<'a>(value: &'a Value, asked: &Address) -> Option<(Address, &'a str)> {
    let [host, Value::Int(port), id, ..] = array(value)? else {
        return None;
    };
    let host = match text(host) {
        Some(host) if !host.is_empty() && host != "?" => host,
        _ => host_of(asked)?,
    };
    let address = Address::Tcp {
        host: host.to_owned(),
        port: u16::try_from(*port).ok()?,
    };
    Some((address, text(id)?))
}

pub(crate) fn host_of(address: &Address) -> Option<&str> {
    match address {
        Address::Tcp { host, .. } => Some(host),
        Address::Unix(_) => None,
    }
}

/// The slots of a node, by its own report.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Own {
    /// Slots that it serves and that are not moving away.
    pub(crate) settled: SlotSet,
    /// Slots that it serves and whose keys are moving to the node with this id.
    pub(crate) leaving: Vec<(u16, String)>,
    /// Slots that it does not serve yet and whose keys are moving to it.
    pub(crate) arriving: Vec<u16>,
}

impl Own {
    /// Parses the node's own line of the answer to CLUSTER NODES:
    /// <https://redis.io/docs/latest/commands/cluster-nodes/>.
    pub(crate) fn read(answer: &Value) -> Option<Self> {
        let line = text(answer)?.lines().find(|line| {
            let flags = line.split(' ').nth(2).unwrap_or_default();
            flags.split(',').any(|flag| flag == "myself")
        })?;
        let mut own = Self::default();
        let flags = line.split(' ').nth(2)?;
        if !flags.split(',').any(|flag| flag == "master") {
            return Some(own);
        }
        let (mut settled, mut leaving) = (Vec::new(), SlotSet::default());
        for item in line.split(' ').skip(8) {
            if let Some(moving) = item.strip_prefix('[') {
                let moving = moving.strip_suffix(']')?;
                if let Some((slot, to)) = moving.split_once("->-") {
                    own.leaving.push((number(slot)?, to.to_owned()));
                } else if let Some((slot, _)) = moving.split_once("-<-") {
                    own.arriving.push(number(slot)?);
                }
                continue;
            }
            let (first, last) = item.split_once('-').unwrap_or((item, item));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return None;
            }
            settled.push((first, last));
        }
        own.settled.extend(settled);
        leaving.extend(own.leaving.iter().map(|(slot, _)| (*slot, *slot)));
        own.settled = own.settled.without(&leaving);
        Some(own)
    }
}

/// Parses the number of a slot.
fn number(text: &str) -> Option<u16> {
    text.parse().ok().filter(|slot| *slot < SLOTS)
}

/// Returns the address of this node according to the answer to CLUSTER NODES.
pub(crate) fn address_in(answer: &Value, id: &str) -> Option<Address> {
    let line = text(answer)?.lines().find(|line| line.split(' ').next() == Some(id))?;
    let place = line.split(' ').nth(1)?.split('@').next()?;
    let (host, port) = place.rsplit_once(':').filter(|(host, _)| !host.is_empty())?;
    Some(Address::Tcp {
        host: host.to_owned(),
        port: port.parse().ok()?,
    })
}

/// Returns the node that serves this slot according to the answer to CLUSTER NODES.
pub(crate) fn owner_in(answer: &Value, slot: u16) -> Option<&str> {
    let has_slot = |item: &str| {
        let (first, last) = item.split_once('-').unwrap_or((item, item));
        let (Ok(first), Ok(last)) = (first.parse(), last.parse()) else {
            return false;
        };
        (first..=last).contains(&slot)
    };
    let line = text(answer)?
        .lines()
        .find(|line| line.split(' ').skip(8).any(has_slot))?;
    line.split(' ').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(lines: &str) -> Option<Own> {
        Own::read(&Value::BulkString(lines.as_bytes().to_vec()))
    }

    #[test]
    fn a_nodes_own_slots_are_read() {
        let other = "67ed 127.0.0.1:30002@31002,host master - 0 1426238316232 2 connected 5461-10922\n";
        let found = own(&format!(
            "{other}e7d1 127.0.0.1:30001@31001 myself,master - 0 0 1 connected 0-99 200 300-302 [50->-67ed] [93-<-292f]\n"
        ));
        let found = found.unwrap();
        assert_eq!(found.settled.ranges(), [(0, 49), (51, 99), (200, 200), (300, 302)]);
        assert_eq!(
            (found.leaving, found.arriving),
            (vec![(50, "67ed".to_owned())], vec![93])
        );
        let nodes = Value::BulkString(other.as_bytes().to_vec());
        assert_eq!(format!("{:?}", address_in(&nodes, "67ed").unwrap()), "127.0.0.1:30002");
        assert_eq!(address_in(&nodes, "67"), None);
        assert_eq!((owner_in(&nodes, 5461), owner_in(&nodes, 5460)), (Some("67ed"), None));
        let replica = own(&format!("{other}e7d1 :30001@31001 myself,slave 67ed 0 0 1 connected\n"));
        assert_eq!(replica, Some(Own::default()));
        for bad in [
            other,
            "",
            "e7d1 x myself,master - 0 0 1 connected 5-4",
            "e7d1 x myself,master - 0 0 1 connected x",
        ] {
            assert_eq!(own(bad), None, "{bad}");
        }
    }
}
