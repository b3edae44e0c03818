//! A look at a database that cannot change it: reads come from below, writes stay in memory.
//!
//! redb has to write before it lets one read (it marks the file as open, and repairs it after a crash).
//! A store of a newer version, or a damaged one, must stay as it is to the last byte (invariant I14).

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;

use parking_lot::Mutex;
use redb::{BackendError, StorageBackend};

/// Written pieces are kept whole in this size; redb writes in pages of 4 KiB.
const PAGE: u64 = 4096;

/// Everything is passed on to `below`, locks included, but for writes.
#[derive(Debug)]
pub(super) struct Overlay<B> {
    below: B,
    written: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    len: u64,
    /// How much of `below` still shows: a cut hides it for good.
    shown: u64,
    pages: BTreeMap<u64, Vec<u8>>,
}

// === impl Overlay ===

impl<B: StorageBackend> Overlay<B> {
    pub(super) fn over(below: B) -> io::Result<Self> {
        let len = below.len()?;
        Ok(Self { below, written: Mutex::new(Written { len, shown: len, pages: BTreeMap::new() }) })
    }

    fn page(&self, written: &Written, number: u64) -> io::Result<Vec<u8>> {
        if let Some(page) = written.pages.get(&number) {
            return Ok(page.clone());
        }
        let mut page = vec![0; size(PAGE)];
        let start = number.saturating_mul(PAGE);
        let below = size(written.shown.saturating_sub(start).min(PAGE));
        if let Some(part) = page.get_mut(..below).filter(|part| !part.is_empty()) {
            self.below.read(start, part)?;
        }
        Ok(page)
    }
}

impl<B: StorageBackend> StorageBackend for Overlay<B> {
    fn len(&self) -> io::Result<u64> {
        Ok(self.written.lock().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let written = self.written.lock();
        if end(offset, out.len()) > written.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (number, within, part) in pieces_mut(offset, out) {
            let page = self.page(&written, number)?;
            let from = page.get(within..).and_then(|rest| rest.get(..part.len()));
            part.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut written = self.written.lock();
        if len < written.len {
            let last = len / PAGE;
            let mut page = self.page(&written, last)?;
            page.get_mut(size(len % PAGE)..).unwrap_or_default().fill(0);
            written.pages.split_off(&last);
            written.pages.insert(last, page);
            written.shown = written.shown.min(len);
        }
        written.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut written = self.written.lock();
        written.len = written.len.max(end(offset, data.len()));
        let mut data = data.to_vec();
        for (number, within, part) in pieces_mut(offset, &mut data) {
            let mut page = self.page(&written, number)?;
            let into = page.get_mut(within..).and_then(|rest| rest.get_mut(..part.len()));
            into.ok_or(io::ErrorKind::UnexpectedEof)?.copy_from_slice(part);
            written.pages.insert(number, page);
        }
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.below.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.below.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.below.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.below.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.below.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.below.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.below.query_lock_range(start, end)
    }
}

/// Cuts `bytes` at page borders: page number, offset within the page, piece.
fn pieces_mut(offset: u64, bytes: &mut [u8]) -> impl Iterator<Item = (u64, usize, &mut [u8])> {
    let mut rest = bytes;
    let mut at = offset;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let within = at % PAGE;
        let length = size(PAGE.saturating_sub(within)).min(rest.len());
        let (piece, tail) = std::mem::take(&mut rest).split_at_mut(length);
        let number = at / PAGE;
        rest = tail;
        at = end(at, length);
        Some((number, size(within), piece))
    })
}

fn end(offset: u64, length: usize) -> u64 {
    offset.saturating_add(length as u64)
}

/// Within a page, so it always fits.
fn size(within_page: u64) -> usize {
    usize::try_from(within_page).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use redb::backends::InMemoryBackend;

    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_nothing_of_it_comes_below() {
        let below = InMemoryBackend::new();
        below.set_len(10_000).unwrap();
        below.write(0, &[7; 10_000]).unwrap();
        let overlay = Overlay::over(below).unwrap();
        overlay.write(4000, &[9; 5000]).unwrap();
        let mut all = vec![0; 10_000];
        overlay.read(0, &mut all).unwrap();
        assert!(all[..4000].iter().chain(&all[9000..]).all(|b| *b == 7));
        assert!(all[4000..9000].iter().all(|b| *b == 9));
        overlay.below.read(0, &mut all).unwrap();
        assert!(all.iter().all(|b| *b == 7));
    }

    #[test]
    fn what_a_cut_removed_comes_back_as_zeroes() {
        let below = InMemoryBackend::new();
        below.set_len(20_000).unwrap();
        below.write(0, &[7; 20_000]).unwrap();
        let overlay = Overlay::over(below).unwrap();
        overlay.set_len(5000).unwrap();
        assert!(overlay.read(0, &mut [0; 5001]).is_err());
        overlay.set_len(20_000).unwrap();
        let mut all = vec![1; 20_000];
        overlay.read(0, &mut all).unwrap();
        assert!(all[..5000].iter().all(|b| *b == 7) && all[5000..].iter().all(|b| *b == 0));
    }
}
