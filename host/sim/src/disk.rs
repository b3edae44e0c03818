//! The disk of a redb store, in memory. It outlives the store: what was synced is there when it is opened again.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use redb::StorageBackend;
use tenure_store::Disk;

/// The disk; clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    file: Vec<u8>,
    published: bool,
}

impl Disk for MemoryDisk {
    type Backend = Self;

    fn open(&self) -> io::Result<Option<Self>> {
        Ok(self.state.lock().published.then(|| self.clone()))
    }

    fn create(&self) -> io::Result<Self> {
        self.state.lock().file.clear();
        Ok(self.clone())
    }

    fn publish(&self) -> io::Result<()> {
        self.state.lock().published = true;
        Ok(())
    }

    fn place(&self) -> String {
        "the disk in memory".to_owned()
    }
}

impl StorageBackend for MemoryDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state.lock().file.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state.lock();
        let start = offset as usize;
        let from = state.file.get(start..start + out.len());
        out.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.state.lock().file.resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state.lock();
        let (start, end) = (offset as usize, offset as usize + data.len());
        if state.file.len() < end {
            state.file.resize(end, 0);
        }
        state.file[start..end].copy_from_slice(data);
        Ok(())
    }
}
