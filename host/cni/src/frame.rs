//! One request and one response between the plugin and the daemon: a fixed header and a payload of
//! length-prefixed fields, on std alone.
//!
//! ```text
//! header    "TNRE" | protocol u16 | length u32          big-endian
//! request   command, container, netns?, ifname, args, netns file?, flags u8, deadline u64, stdin
//! response  exit u8, stdout                             the same layout in every protocol, for ever
//! ```
//!
//! The header and the response never change. So a plugin and a daemon of different releases can always
//! refuse each other with an ordinary CNI error instead of a broken pipe.

use std::fmt;
use std::io::{self, Read, Write};

/// The layout of a request. Raised at each change of it.
pub const PROTOCOL: u16 = 1;
/// At most so many bytes follow a header; also the bound for the plugin's stdin.
pub const MAX_PAYLOAD: usize = 1024 * 1024;
/// Bytes of a header.
pub const HEADER: usize = 10;
/// Exit code of a response where a DEL was not made durable for reasons of the daemon: the plugin spools it then. For any
/// other verb it means the same as 1.
pub const EXIT_SPOOL: u8 = 75;

const MAGIC: [u8; 4] = *b"TNRE";
/// Room that the fields around stdin need within [`MAX_PAYLOAD`].
const ENVELOPE: usize = 16 * 1024;
/// The longest configuration that fits into a request.
pub const MAX_STDIN: usize = MAX_PAYLOAD - ENVELOPE;

const FLAG_OWN_NETNS: u8 = 1;
const FLAG_NETNS_OVERRIDE: u8 = 2;

/// What a runtime asked, as the plugin found it: raw bytes, judged by the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Request {
    /// `CNI_COMMAND`.
    pub command: Vec<u8>,
    /// `CNI_CONTAINERID`, empty where absent.
    pub container: Vec<u8>,
    /// `CNI_NETNS`, if it was set and not empty.
    pub netns: Option<Vec<u8>>,
    /// `CNI_IFNAME`, empty where absent.
    pub ifname: Vec<u8>,
    /// `CNI_ARGS`, empty where absent.
    pub args: Vec<u8>,
    /// (device, inode) of the file behind `CNI_NETNS`, where it could be read.
    pub netns_file: Option<(u64, u64)>,
    /// `CNI_NETNS` is the plugin's own namespace.
    pub own_netns: bool,
    /// `CNI_NETNS_OVERRIDE` says that this is meant.
    pub netns_override: bool,
    /// How long the plugin waits for the response, in milliseconds.
    pub deadline_ms: u64,
    /// The network configuration.
    pub stdin: Vec<u8>,
}

/// What the plugin does with it: bytes for stdout and an exit code.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Response {
    /// 0, 1 or [`EXIT_SPOOL`].
    pub exit: u8,
    /// A result or an error object.
    pub stdout: Vec<u8>,
}

/// A header that was read: how much follows it, and in which layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The sender's [`PROTOCOL`].
    pub protocol: u16,
    /// Bytes that follow, at most [`MAX_PAYLOAD`].
    pub length: usize,
}

/// Why bytes are not a frame.
#[derive(Debug)]
pub enum FrameError {
    /// The other side speaks something else.
    NotAFrame,
    /// The other side is of another release.
    Protocol {
        /// Its protocol.
        theirs: u16,
    },
    /// More than [`MAX_PAYLOAD`] was announced or would have to be sent.
    TooLong {
        /// How much.
        length: usize,
    },
    /// A field ends behind the payload, or the payload behind the last field.
    Malformed,
    /// Reading or writing failed.
    Io(io::Error),
}

// === impl Request ===

impl Request {
    /// The frame.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] when it would exceed [`MAX_PAYLOAD`].
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        let mut payload = Vec::with_capacity(self.stdin.len().saturating_add(512));
        put_bytes(&mut payload, &self.command);
        put_bytes(&mut payload, &self.container);
        put_option(&mut payload, self.netns.as_deref());
        put_bytes(&mut payload, &self.ifname);
        put_bytes(&mut payload, &self.args);
        let file =
            self.netns_file.map(|(dev, ino)| [dev.to_be_bytes(), ino.to_be_bytes()].concat());
        put_option(&mut payload, file.as_deref());
        let own = if self.own_netns { FLAG_OWN_NETNS } else { 0 };
        let over = if self.netns_override { FLAG_NETNS_OVERRIDE } else { 0 };
        payload.push(own | over);
        payload.extend_from_slice(&self.deadline_ms.to_be_bytes());
        put_bytes(&mut payload, &self.stdin);
        framed(&payload)
    }

    /// Reads the payload of a frame.
    ///
    /// # Errors
    /// [`FrameError::Protocol`] when the sender is of another release, [`FrameError::Malformed`] when fields and
    /// payload do not end together.
    pub fn decode(header: Header, payload: &[u8]) -> Result<Self, FrameError> {
        if header.protocol != PROTOCOL {
            return Err(FrameError::Protocol { theirs: header.protocol });
        }
        let mut rest = Fields(payload);
        let mut request = Self {
            command: rest.bytes()?,
            container: rest.bytes()?,
            netns: rest.option()?,
            ifname: rest.bytes()?,
            args: rest.bytes()?,
            netns_file: rest.option()?.map(|pair| numbers(&pair)).transpose()?,
            ..Self::default()
        };
        let flags = rest.byte()?;
        request.own_netns = flags & FLAG_OWN_NETNS != 0;
        request.netns_override = flags & FLAG_NETNS_OVERRIDE != 0;
        request.deadline_ms = rest.number()?;
        request.stdin = rest.bytes()?;
        rest.end()?;
        Ok(request)
    }
}

// === impl Response ===

impl Response {
    /// Success with this text on stdout.
    #[must_use]
    pub fn success(stdout: impl Into<Vec<u8>>) -> Self {
        Self { exit: 0, stdout: stdout.into() }
    }

    /// The frame.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] when it would exceed [`MAX_PAYLOAD`].
    pub fn encode(&self) -> Result<Vec<u8>, FrameError> {
        let mut payload = Vec::with_capacity(self.stdout.len().saturating_add(8));
        payload.push(self.exit);
        put_bytes(&mut payload, &self.stdout);
        framed(&payload)
    }

    /// Reads the payload of a frame of any protocol: the layout of a response is frozen.
    ///
    /// # Errors
    /// [`FrameError::Malformed`] when fields and payload do not end together.
    pub fn decode(payload: &[u8]) -> Result<Self, FrameError> {
        let mut rest = Fields(payload);
        let response = Self { exit: rest.byte()?, stdout: rest.bytes()? };
        rest.end()?;
        Ok(response)
    }

    /// Reads a whole response.
    ///
    /// # Errors
    /// Any [`FrameError`]; [`FrameError::Io`] also when the stream ends early.
    pub fn read(stream: &mut impl Read) -> Result<Self, FrameError> {
        let mut head = [0; HEADER];
        stream.read_exact(&mut head).map_err(FrameError::Io)?;
        let header = Header::decode(head)?;
        let mut payload = vec![0; header.length];
        stream.read_exact(&mut payload).map_err(FrameError::Io)?;
        Self::decode(&payload)
    }

    /// Writes the whole frame.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] or [`FrameError::Io`].
    pub fn write(&self, stream: &mut impl Write) -> Result<(), FrameError> {
        stream.write_all(&self.encode()?).map_err(FrameError::Io)
    }
}

// === impl Header ===

impl Header {
    /// Reads a header; the length is checked before anybody allocates it.
    ///
    /// # Errors
    /// [`FrameError::NotAFrame`] or [`FrameError::TooLong`].
    pub fn decode(bytes: [u8; HEADER]) -> Result<Self, FrameError> {
        let [m0, m1, m2, m3, p0, p1, l0, l1, l2, l3] = bytes;
        if [m0, m1, m2, m3] != MAGIC {
            return Err(FrameError::NotAFrame);
        }
        let length = length_of([l0, l1, l2, l3]);
        if length > MAX_PAYLOAD {
            return Err(FrameError::TooLong { length });
        }
        Ok(Self { protocol: u16::from_be_bytes([p0, p1]), length })
    }
}

fn framed(payload: &[u8]) -> Result<Vec<u8>, FrameError> {
    let length = payload.len();
    let announced = u32::try_from(length).ok().filter(|_| length <= MAX_PAYLOAD);
    let announced = announced.ok_or(FrameError::TooLong { length })?;
    let head = [&MAGIC[..], &PROTOCOL.to_be_bytes(), &announced.to_be_bytes()];
    Ok([&head.concat(), payload].concat())
}

// === fields ===

/// A longer field than a `u32` counts is cut in its prefix; `framed` refuses the frame then.
fn put_bytes(payload: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    payload.extend_from_slice(&length.to_be_bytes());
    payload.extend_from_slice(bytes);
}

fn put_option(payload: &mut Vec<u8>, bytes: Option<&[u8]>) {
    payload.push(u8::from(bytes.is_some()));
    if let Some(bytes) = bytes {
        put_bytes(payload, bytes);
    }
}

fn length_of(prefix: [u8; 4]) -> usize {
    usize::try_from(u32::from_be_bytes(prefix)).unwrap_or(usize::MAX)
}

fn numbers(pair: &[u8]) -> Result<(u64, u64), FrameError> {
    let mut rest = Fields(pair);
    let both = (rest.number()?, rest.number()?);
    rest.end()?;
    Ok(both)
}

/// The fields of a payload that were not read yet.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let (head, tail) = self.0.split_first_chunk::<N>().ok_or(FrameError::Malformed)?;
        self.0 = tail;
        Ok(*head)
    }

    fn byte(&mut self) -> Result<u8, FrameError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn number(&mut self) -> Result<u64, FrameError> {
        self.array().map(u64::from_be_bytes)
    }

    fn bytes(&mut self) -> Result<Vec<u8>, FrameError> {
        let length = length_of(self.array()?);
        let (head, tail) = self.0.split_at_checked(length).ok_or(FrameError::Malformed)?;
        self.0 = tail;
        Ok(head.to_vec())
    }

    fn option(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        match self.byte()? {
            0 => Ok(None),
            1 => self.bytes().map(Some),
            _ => Err(FrameError::Malformed),
        }
    }

    fn end(&self) -> Result<(), FrameError> {
        if self.0.is_empty() { Ok(()) } else { Err(FrameError::Malformed) }
    }
}

// === impl FrameError ===

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAFrame => {
                f.write_str("the other side does not speak the protocol of tenure-ipam")
            }
            Self::Protocol { theirs } => write!(
                f,
                "plugin and daemon are of different releases (protocol {theirs} and {PROTOCOL}): install both from one release"
            ),
            Self::TooLong { length } => {
                write!(
                    f,
                    "a frame of {length} bytes is longer than the {MAX_PAYLOAD} that are allowed"
                )
            }
            Self::Malformed => f.write_str("the fields of the frame do not fit its length"),
            Self::Io(_) => f.write_str("the connection broke"),
        }
    }
}

impl std::error::Error for FrameError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(source) => Some(source),
            _ => None,
        }
    }
}
