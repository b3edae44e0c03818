//! Setting a link of a holder down: its address was given to somebody else while nobody heard of its node.
//!
//! A link can only be changed from inside its namespace. A thread of its own goes in and ends there: it need not find its
//! way back.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkFlags, LinkMessage};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::AsFd as _;
use tenure_core::lease::Netns;
use tenure_core::ports::WitnessError;

use crate::address;
use crate::error::system;
use crate::handles::{self, Reach};
use crate::namespace_file::NamespaceFile;
use crate::netlink::Route;
use crate::witness::Inner;

const ACT: &str = "setting a link down";
/// A few messages of netlink.
const DEADLINE: Duration = Duration::from_secs(5);

/// Sets every link of the namespace down that carries the address; how many there were.
pub(crate) fn set_down(
    inner: &Inner,
    netns: &Netns,
    wanted: IpAddr,
) -> Result<usize, WitnessError> {
    let file = find(inner, netns)?;
    let cookie = netns.cookie;
    let (done, is_done) = sync_channel(1);
    std::thread::Builder::new()
        .name("tenure-set-down".to_owned())
        .spawn(move || {
            // Whoever asked may have given up.
            let _ = done.send(inside(&file, cookie, wanted));
        })
        .map_err(|why| system(ACT, why))?;
    is_done.recv_timeout(DEADLINE).map_err(|why| system(ACT, why))?
}

/// The namespace, open, by whatever shows it: its inode may be another one's by now, the cookie is not.
fn find(inner: &Inner, netns: &Netns) -> Result<NamespaceFile, WitnessError> {
    let mut paths = Vec::<PathBuf>::new();
    handles::walk(Reach::All, |ino, path| {
        if ino == netns.ino {
            paths.push(path.to_owned());
        }
    });
    for path in paths {
        let Ok(file) = NamespaceFile::open(&path) else { continue };
        if let Ok((file, cookie)) = inner.doorway.cookie(file)
            && cookie == netns.cookie
        {
            return Ok(file);
        }
    }
    Err(system(ACT, "nothing visible leads to its network namespace"))
}

fn inside(file: &NamespaceFile, cookie: u64, wanted: IpAddr) -> Result<usize, WitnessError> {
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(|errno| system(ACT, errno))?;
    let found = address::of_home(cookie, wanted).map_err(|error| error.during(ACT))?;
    let mut links: Vec<u32> =
        found.iter().filter(|found| found.address == wanted).map(|found| found.link).collect();
    links.sort_unstable();
    links.dedup();
    let mut route = Route::open(cookie).map_err(|error| error.during(ACT))?;
    for link in &links {
        let mut message = LinkMessage::default();
        message.header.index = *link;
        message.header.flags = LinkFlags::empty();
        message.header.change_mask = LinkFlags::Up;
        let change = RouteNetlinkMessage::SetLink(message);
        route.change(change).map_err(|error| error.during(ACT))?;
    }
    Ok(links.len())
}
