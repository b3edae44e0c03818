//! Where the machine has no `ping`: one datagram there and back between two network namespaces.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

const PORT: u16 = 7;
const WORD: &[u8] = b"tenure";
/// A new IPv6 address can be bound once its duplicate address detection is over.
const PATIENCE: Duration = Duration::from_secs(10);

/// Shows that container `from` reaches `address` of container `to`.
pub(crate) fn from_to(from: &str, to: &str, address: &str) -> anyhow::Result<()> {
    let mut echo = inside(to, "echo", address)?;
    let asked = inside(from, "ask", address).and_then(|mut ask| Ok(ask.wait()?));
    let _ = echo.kill();
    let _ = echo.wait();
    ensure!(asked?.success(), "container {from} does not reach {address} of {to}");
    Ok(())
}

fn inside(netns: &str, role: &str, address: &str) -> anyhow::Result<Child> {
    let me = std::env::current_exe()?;
    let mut command = Command::new("ip");
    command.args(["netns", "exec", netns]).arg(me).args(["reach", role, address, netns]);
    command.stderr(Stdio::null()).spawn().context("entering a network namespace")
}

/// `cargo xtask reach`, started by [`from_to`] inside a namespace.
pub(crate) fn run(role: &str, address: IpAddr, name: &str) -> anyhow::Result<()> {
    match role {
        "echo" => echo(SocketAddr::new(address, PORT)),
        _ => ask(SocketAddr::new(address, PORT), name),
    }
}

fn echo(at: SocketAddr) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let socket = loop {
        match UdpSocket::bind(at) {
            Ok(socket) => break socket,
            Err(error) if Instant::now() > deadline => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    };
    let mut word = [0; 16];
    loop {
        let (length, from) = socket.recv_from(&mut word)?;
        socket.send_to(word.get(..length).unwrap_or_default(), from)?;
    }
}

fn ask(at: SocketAddr, name: &str) -> anyhow::Result<()> {
    let any: IpAddr = if at.is_ipv4() { [0; 4].into() } else { [0u16; 8].into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    let deadline = Instant::now() + PATIENCE;
    let mut word = [0; 16];
    loop {
        let begun = Instant::now();
        let sent = socket.send_to(WORD, at);
        if sent.is_ok() && socket.recv_from(&mut word).is_ok() {
            println!(
                "  from {name}: {} bytes from {}: time={:.3} ms",
                WORD.len(),
                at.ip(),
                begun.elapsed().as_secs_f64() * 1e3
            );
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{} does not answer", at.ip());
        std::thread::sleep(Duration::from_millis(50));
    }
}
