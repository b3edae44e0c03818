//! Who and what appears in a history: attachments, pools and their shapes, addresses. Few of each, so that they meet.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::LazyLock;

use serde_json::{Value, json};
use tenure_core::address::Family;
use tenure_core::lease::{Attachment, LeaseKey, Owner};
use tenure_core::name::{ContainerId, IfName, NetworkName, PoolName, SpaceName};
use tenure_core::objects::{API_VERSION, Object, Probe};
use tenure_sim::pod;

/// An attachment with its pod and the path of its namespace.
pub struct Actor {
    pub attachment: Attachment,
    pub owner: Owner,
    pub path: &'static str,
}

/// How many attachments there are; the last few come only when a history ends.
pub const ACTORS: u8 = 12;

static CAST: LazyLock<Vec<Actor>> = LazyLock::new(|| {
    let none = Owner::default;
    let web = |uid: &str| pod("web-0", uid);
    vec![
        actor("net", "c0", "eth0", web("u0")),
        actor("net", "c1", "eth0", web("u0")),
        actor("net", "c2", "eth0", web("u9")),
        actor("net", "c3", "eth0", none()),
        actor("net", "c3", "net1", none()),
        actor("net", "c5", "eth0", pod("web-1", "u1")),
        actor("net", "c6", "eth0", pod("web-1", "u1")),
        actor("net", "c7", "eth0", pod("db-0", "")),
        actor("other", "c8", "eth0", web("u0")),
        actor("other", "c9", "eth0", none()),
        actor("net", "c10", "eth0", pod("db-0", "")),
        actor("net", "c11", "eth0", none()),
    ]
});

fn actor(network: &str, container: &'static str, ifname: &str, owner: Owner) -> Actor {
    let attachment = Attachment {
        network: NetworkName::new(network).unwrap(),
        container: ContainerId::new(container).unwrap(),
        ifname: IfName::new(ifname).unwrap(),
    };
    Actor { attachment, owner, path: container }
}

pub fn cast(who: u8) -> &'static Actor {
    &CAST[usize::from(who % ACTORS)]
}

pub fn everybody() -> impl Iterator<Item = &'static Actor> {
    CAST.iter()
}

// === pools ===

/// Where a pool lies; it never changes.
pub struct Place {
    pub name: &'static str,
    pub space: &'static str,
    /// The network part of the CIDR, and its length.
    pub base: &'static str,
    pub prefix: u8,
    /// Hosts of the CIDR.
    pub hosts: u8,
    pub gateway: Option<u8>,
    networks: &'static [&'static str],
}

pub const POOLS: usize = 4;

pub static PLACES: [Place; POOLS] = [
    Place {
        name: "a4",
        space: "default",
        base: "10.0.0.",
        prefix: 28,
        hosts: 16,
        gateway: Some(1),
        networks: &["net"],
    },
    Place {
        name: "b4",
        space: "default",
        base: "10.0.1.",
        prefix: 29,
        hosts: 8,
        gateway: None,
        networks: &[],
    },
    Place {
        name: "c6",
        space: "default",
        base: "fd00::",
        prefix: 125,
        hosts: 8,
        gateway: None,
        networks: &[],
    },
    // The addresses of the first in another space.
    Place {
        name: "d4",
        space: "blue",
        base: "10.0.0.",
        prefix: 29,
        hosts: 8,
        gateway: None,
        networks: &["other"],
    },
];

/// What an operator writes about a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub first: u8,
    pub last: u8,
    pub exclude: Option<u8>,
    pub disabled: bool,
    pub cooldown_s: u32,
    pub floor_s: u32,
    pub grace_s: (u32, u32),
    pub retain_max_s: u32,
    /// When addresses are probed on the wire.
    pub probe: Probe,
}

const PLAIN: Shape = Shape {
    first: 1,
    last: 6,
    exclude: None,
    disabled: false,
    cooldown_s: 120,
    floor_s: 0,
    grace_s: (0, 86_400),
    retain_max_s: 2_592_000,
    probe: Probe::Unproven,
};

pub static SHAPES: [Shape; 11] = [
    PLAIN,
    Shape { last: 3, ..PLAIN },
    Shape { last: 2, cooldown_s: 30, ..PLAIN },
    Shape { last: 14, probe: Probe::Always, ..PLAIN },
    Shape { first: 4, ..PLAIN },
    Shape { disabled: true, ..PLAIN },
    Shape { cooldown_s: 20, floor_s: 10, ..PLAIN },
    Shape { cooldown_s: 0, probe: Probe::Never, ..PLAIN },
    Shape { grace_s: (10, 20), retain_max_s: 60, ..PLAIN },
    Shape { exclude: Some(2), grace_s: (0, 1), ..PLAIN },
    Shape { last: 3, cooldown_s: 60, floor_s: 60, probe: Probe::Always, ..PLAIN },
];

pub fn shape(number: u8) -> Shape {
    SHAPES[usize::from(number) % SHAPES.len()]
}

/// The shapes that pools begin with: together they are a little too small for everybody.
pub const FIRST_SHAPES: [u8; POOLS] = [0, 1, 0, 2];

impl Place {
    fn spelled(&self, host: u8) -> IpAddr {
        let text = match self.family() {
            Family::V4 => format!("{}{host}", self.base),
            Family::V6 => format!("{}{host:x}", self.base),
        };
        text.parse().unwrap()
    }

    pub fn family(&self) -> Family {
        if self.base.contains(':') { Family::V6 } else { Family::V4 }
    }

    pub fn serves(&self, network: &str) -> bool {
        self.networks.is_empty() || self.networks.contains(&network)
    }

    /// Whether the shape has this host, without reservations.
    pub fn gives(&self, shape: &Shape, host: u8) -> bool {
        let own = match self.family() {
            Family::V4 => host == 0 || host == self.hosts - 1,
            Family::V6 => host == 0,
        };
        (shape.first..=shape.last.min(self.hosts - 1)).contains(&host)
            && !own
            && shape.exclude != Some(host)
            && self.gateway != Some(host)
    }

    pub fn object(&self, shape: &Shape) -> Object {
        let last = shape.last.min(self.hosts - 1);
        let range = format!("{}-{}", self.spelled(shape.first), self.spelled(last));
        let mut spec = json!({
            "cidr": format!("{}/{}", self.spelled(0), self.prefix),
            "space": self.space,
            "ranges": [range],
            "disabled": shape.disabled,
            "networks": self.networks,
            "cooldown": format!("{}s", shape.cooldown_s),
            "cooldownFloor": format!("{}s", shape.floor_s),
            "probe": shape.probe,
            "limits": {
                "graceMin": format!("{}s", shape.grace_s.0),
                "graceMax": format!("{}s", shape.grace_s.1),
                "retainMax": format!("{}s", shape.retain_max_s),
            },
        });
        if let Some(host) = shape.exclude {
            spec["exclude"] = json!([self.spelled(host)]);
        }
        if let Some(host) = self.gateway {
            spec["gateway"] = json!(self.spelled(host));
        }
        object("IPPool", self.name, &spec)
    }
}

// === addresses ===

/// An address: its pool and host.
pub type At = (usize, u8);

static KEYS: LazyLock<Vec<Vec<LeaseKey>>> = LazyLock::new(|| {
    let key = |place: &Place, host| LeaseKey {
        space: SpaceName::new(place.space).unwrap(),
        address: place.spelled(host),
    };
    PLACES.iter().map(|place| (0..place.hosts).map(|host| key(place, host)).collect()).collect()
});

/// All addresses of a pool's CIDR.
pub fn addresses(pool: usize) -> impl Iterator<Item = At> {
    (0..PLACES[pool].hosts).map(move |host| (pool, host))
}

pub fn key((pool, host): At) -> &'static LeaseKey {
    &KEYS[pool][usize::from(host)]
}

/// Which address it is. Every row has one: CIDRs never change.
pub fn at(address: &LeaseKey) -> At {
    static TABLE: LazyLock<HashMap<&LeaseKey, At>> = LazyLock::new(|| {
        let all = (0..POOLS).flat_map(addresses);
        all.map(|at| (key(at), at)).collect()
    });
    TABLE[address]
}

/// Some address of the default space, usable or not; the last lies in no pool.
pub fn address(number: u8) -> IpAddr {
    match number % 26 {
        n @ 0..9 => key((0, n)).address,
        n @ 9..17 => key((1, n - 9)).address,
        n @ 17..25 => key((2, n - 17)).address,
        _ => IpAddr::from([10, 9, 9, 9]),
    }
}

// === reservations ===

pub const SLOTS: usize = 2;

/// Which pool a reservation speaks of, and how many addresses it takes.
const RESERVES: [(usize, u8); SLOTS] = [(0, 2), (1, 1)];

pub fn slot_name(slot: usize) -> String {
    format!("r{slot}")
}

/// Whether the reservation in this slot, beginning at a host, takes the address.
pub fn reserves(slot: usize, from: u8, (pool, host): At) -> bool {
    let (its, length) = RESERVES[slot];
    its == pool && (from..from + length).contains(&host)
}

pub fn reservation(slot: usize, from: u8) -> Object {
    let (pool, length) = RESERVES[slot];
    let place = &PLACES[pool];
    let range = format!("{}-{}", place.spelled(from), place.spelled(from + length - 1));
    object("IPReservation", &slot_name(slot), &json!({ "addresses": [range] }))
}

fn object(kind: &str, name: &str, spec: &Value) -> Object {
    Object::from_json(json!({
        "apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec,
    }))
    .unwrap()
}

// === requests ===

/// Lists of pools that a configuration may name; none names all.
pub fn named(choice: u8) -> Vec<PoolName> {
    let lists: [&[&str]; 7] =
        [&[], &["a4"], &["b4", "a4"], &["c6"], &["a4", "c6"], &["c6", "b4"], &["nope", "a4"]];
    let list = lists[usize::from(choice) % lists.len()];
    list.iter().map(|name| PoolName::new(name).unwrap()).collect()
}
