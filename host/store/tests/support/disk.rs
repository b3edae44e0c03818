//! A disk that remembers what it was told, so that the power can be cut at any point of it afterwards,
//! and that can fail, lie or stall when asked.

use std::io;
use std::sync::{Arc, Condvar, Mutex};

use proptest::prelude::RngExt;
use redb::StorageBackend;
use tenure_store::Disk;

/// Something the disk was told, or the test noted down.
#[derive(Debug, Clone)]
pub enum Op {
    /// Bytes were written.
    Write { offset: usize, data: Arc<[u8]> },
    /// The file was cut or grew.
    SetLen(usize),
    /// All before it is on the platter.
    Sync,
    /// The store can be found from here on, durably.
    Publish,
    /// So many commits have been sent.
    Sent(usize),
    /// So many commits have been acknowledged.
    Acknowledged(usize),
}

#[derive(Debug, Default)]
struct State {
    file: Vec<u8>,
    published: bool,
    log: Vec<Op>,
    /// Sync is answered but not done.
    lies: bool,
    /// Calls from now until every call fails; `None` never.
    fails_after: Option<u64>,
    /// The next syncs that fail.
    failing_syncs: u32,
    stalled: bool,
    waiting_syncs: u32,
}

/// The disk; clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct Recorder {
    state: Arc<(Mutex<State>, Condvar)>,
}

/// What the platter held when the power went.
#[derive(Debug, Clone)]
pub struct Image {
    pub file: Vec<u8>,
    pub published: bool,
}

// === impl Recorder ===

impl Recorder {
    /// A disk that holds `image`.
    pub fn holding(image: Image) -> Self {
        let disk = Self::default();
        disk.with(|state| (state.file, state.published) = (image.file, image.published));
        disk
    }

    /// A disk that answers a sync without doing it.
    pub fn that_lies() -> Self {
        let disk = Self::default();
        disk.with(|state| state.lies = true);
        disk
    }

    pub fn note(&self, op: Op) {
        self.with(|state| state.log.push(op));
    }

    /// All that it was told since it was made.
    pub fn log(&self) -> Vec<Op> {
        self.with(|state| state.log.clone())
    }

    pub fn contents(&self) -> Vec<u8> {
        self.with(|state| state.file.clone())
    }

    /// Lets `calls` more calls succeed and fails all behind them; `None` heals the disk.
    pub fn fail_after(&self, calls: Option<u64>) {
        self.with(|state| state.fails_after = calls);
    }

    pub fn fail_syncs(&self, count: u32) {
        self.with(|state| state.failing_syncs = count);
    }

    /// Holds every sync until [`Recorder::go_on`].
    pub fn stall(&self) {
        self.with(|state| state.stalled = true);
    }

    pub fn go_on(&self) {
        self.with(|state| state.stalled = false);
        self.state.1.notify_all();
    }

    /// Waits until a sync is held.
    pub fn until_a_sync_waits(&self) {
        let guard = self.state.0.lock().unwrap();
        drop(self.state.1.wait_while(guard, |state| state.waiting_syncs == 0).unwrap());
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.0.lock().unwrap())
    }

    fn call<T>(&self, f: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        self.with(|state| {
            match &mut state.fails_after {
                Some(0) => return Err(io::Error::other("the disk fails")),
                Some(calls) => *calls -= 1,
                None => {}
            }
            f(state)
        })
    }

    fn hold_if_stalled(&self) {
        let (lock, changed) = &*self.state;
        let mut state = lock.lock().unwrap();
        state.waiting_syncs += 1;
        changed.notify_all();
        let mut state = changed.wait_while(state, |state| state.stalled).unwrap();
        state.waiting_syncs -= 1;
    }
}

impl Disk for Recorder {
    type Backend = Self;

    fn open(&self) -> io::Result<Option<Self>> {
        self.call(|state| Ok(state.published)).map(|published| published.then(|| self.clone()))
    }

    fn create(&self) -> io::Result<Self> {
        self.call(|state| {
            state.log.push(Op::SetLen(0));
            state.file.clear();
            Ok(())
        })?;
        Ok(self.clone())
    }

    fn publish(&self) -> io::Result<()> {
        self.call(|state| {
            state.log.push(Op::Publish);
            state.published = true;
            Ok(())
        })
    }

    fn place(&self) -> String {
        "the recording disk".to_owned()
    }
}

impl StorageBackend for Recorder {
    fn len(&self) -> io::Result<u64> {
        self.call(|state| Ok(state.file.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.call(|state| {
            let start = usize::try_from(offset).unwrap();
            let from = state.file.get(start..start + out.len());
            out.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.call(|state| {
            let len = usize::try_from(len).unwrap();
            state.file.resize(len, 0);
            state.log.push(Op::SetLen(len));
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.hold_if_stalled();
        self.call(|state| {
            if state.failing_syncs > 0 {
                state.failing_syncs -= 1;
                return Err(io::Error::other("the sync fails"));
            }
            if !state.lies {
                state.log.push(Op::Sync);
            }
            Ok(())
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.call(|state| {
            let offset = usize::try_from(offset).unwrap();
            put(&mut state.file, offset, data);
            state.log.push(Op::Write { offset, data: data.into() });
            Ok(())
        })
    }
}

fn put(file: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset..end].copy_from_slice(data);
}

// === cutting the power ===

/// Walks through a log and cuts the power where it stands.
#[derive(Debug)]
pub struct Platter {
    synced: Image,
    unsynced: Vec<Op>,
    /// Commits sent and acknowledged so far.
    pub sent: usize,
    pub acknowledged: usize,
}

impl Platter {
    pub fn holding(image: Image) -> Self {
        Self { synced: image, unsynced: Vec::new(), sent: 0, acknowledged: 0 }
    }

    pub fn step(&mut self, op: &Op) {
        match op {
            Op::Sent(count) => self.sent = *count,
            Op::Acknowledged(count) => self.acknowledged = *count,
            Op::Publish => self.synced.published = true,
            Op::Sync => {
                for op in self.unsynced.drain(..) {
                    match op {
                        Op::Write { offset, data } => put(&mut self.synced.file, offset, &data),
                        Op::SetLen(len) => self.synced.file.resize(len, 0),
                        _ => {}
                    }
                }
            }
            Op::Write { .. } | Op::SetLen(_) => self.unsynced.push(op.clone()),
        }
    }

    /// What may be left: of the un-synced writes any set of pieces of 512 B or 4 KiB, of the lengths since the
    /// last sync any one.
    pub fn cut(&self, rng: &mut impl RngExt) -> Image {
        let piece = if rng.random_bool(0.5) { 512 } else { 4096 };
        let survives = [0.0, 0.1, 0.5, 0.9, 1.0][rng.random_range(0..5)];
        let mut image = self.synced.clone();
        let mut lengths = vec![image.file.len()];
        let mut live_len = image.file.len();
        for op in &self.unsynced {
            match op {
                Op::Write { offset, data } => {
                    live_len = live_len.max(offset + data.len());
                    for (start, part) in pieces(*offset, data, piece) {
                        if rng.random_bool(survives) {
                            put(&mut image.file, start, part);
                        }
                    }
                }
                Op::SetLen(len) => live_len = *len,
                _ => {}
            }
            lengths.push(live_len);
        }
        let len = if rng.random_bool(survives) {
            live_len
        } else {
            lengths[rng.random_range(0..lengths.len())]
        };
        image.file.resize(len, 0);
        image
    }
}

/// Cuts a write at the borders of the disk's own pieces.
fn pieces(offset: usize, data: &[u8], piece: usize) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = offset;
    let mut rest = data;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (part, tail) = rest.split_at((piece - at % piece).min(rest.len()));
        let start = at;
        at += part.len();
        rest = tail;
        Some((start, part))
    })
}
