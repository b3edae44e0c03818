//! What this agent has answered and nobody has taken back: the *acknowledged set*, on disk before the plugin is answered.
//!
//! ```text
//! FOLDER/acknowledged.jsonl     {"format":1,"boot":ID}, then {"held":...} and {"gone":...}, the later line counts
//! ```
//!
//! It tells an allocator that has not heard of a lease yet that there is one, and a store that went back in time what is
//! held here. It is no second ledger: losing a line costs a live LIST, and what it says of another boot is void.
//!
//! One thread writes; lines that come together share one `fdatasync`. A half line at the end is one that was never
//! answered.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tenure_core::lease::{Attachment, Generation, Netns};
use tenure_core::name::SpaceName;
use tokio::sync::oneshot;

const FILE: &str = "acknowledged.jsonl";
const FORMAT: u32 = 1;
/// More attachments than any node has: a kubelet allows 110 pods unless told otherwise.
pub const MAX_HELD: usize = 10_000;
/// The file is written anew once it has so many lines more than four times those that count.
const SLACK: usize = 1024;
/// Lines that wait for the writer (I12): more than there are connections.
const QUEUE: usize = 4096;

/// One set of addresses that was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// Whose.
    pub attachment: Attachment,
    /// What, in which generation.
    pub addresses: Vec<HeldAddress>,
    /// The namespace of the container.
    pub netns: Option<Netns>,
    /// `CLOCK_BOOTTIME` when its ADD came.
    pub boottime_ms: u64,
}

/// One address of a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldAddress {
    /// Its routing domain.
    pub space: SpaceName,
    /// The address.
    pub address: IpAddr,
    /// Which hold of it.
    pub generation: Generation,
}

/// The set. Dropping it ends its thread; what was answered before is durable.
#[derive(Debug)]
pub struct Acknowledged {
    /// Changed before a line is sent; the writer reads it when it writes the file anew.
    held: Arc<Mutex<HashMap<Attachment, Held>>>,
    lines: SyncSender<Order>,
    had_earlier_process: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    format: u32,
    boot: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Line {
    Held(Held),
    Gone(Attachment),
}

struct Order {
    line: Line,
    /// Who waits until it is durable.
    done: Option<oneshot::Sender<io::Result<()>>>,
}

/// The thread that writes.
struct Writer {
    path: PathBuf,
    boot: String,
    file: File,
    /// Bytes of whole lines; what a failed write left behind is cut off.
    good: u64,
    lines: usize,
    held: Arc<Mutex<HashMap<Attachment, Held>>>,
}

// === impl Acknowledged ===

impl Acknowledged {
    /// Reads what an earlier process of this boot has left in the folder, and begins the file anew.
    ///
    /// # Errors
    /// The folder cannot be read or written, or a newer Tenure wrote the file (I14).
    pub fn open(folder: &Path, boot: &str) -> io::Result<Self> {
        let path = folder.join(FILE);
        let earlier = read(&path, boot)?;
        let had_earlier_process = earlier.is_some();
        let held = Arc::new(Mutex::new(earlier.unwrap_or_default()));
        let (file, good) = write_anew(&path, boot, &held.lock())?;
        let (lines, orders) = sync_channel(QUEUE);
        let count = held.lock().len();
        let writer =
            Writer { path, boot: boot.to_owned(), file, good, lines: count, held: held.clone() };
        std::thread::Builder::new()
            .name("acknowledged".to_owned())
            .spawn(move || writer.run(&orders))?;
        Ok(Self { held, lines, had_earlier_process })
    }

    /// Whether another process of this boot has kept its set here.
    #[must_use]
    pub fn had_earlier_process(&self) -> bool {
        self.had_earlier_process
    }

    /// The addresses that an attachment was answered.
    #[must_use]
    pub fn addresses(&self, attachment: &Attachment) -> Option<Vec<IpAddr>> {
        let held = self.held.lock();
        let set = held.get(attachment)?;
        Some(set.addresses.iter().map(|one| one.address).collect())
    }

    /// The set of an attachment.
    #[must_use]
    pub fn get(&self, attachment: &Attachment) -> Option<Held> {
        self.held.lock().get(attachment).cloned()
    }

    /// All of it.
    #[must_use]
    pub fn all(&self) -> Vec<Held> {
        self.held.lock().values().cloned().collect()
    }

    /// How many attachments hold something.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.lock().len()
    }

    /// Whether none does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes in what is about to be answered; durable when the future resolves.
    ///
    /// # Errors
    /// The disk failed, or [`MAX_HELD`] is reached: then the ADD must not be answered.
    pub async fn note(&self, held: Held) -> io::Result<()> {
        {
            let mut all = self.held.lock();
            if all.len() >= MAX_HELD && !all.contains_key(&held.attachment) {
                return Err(io::Error::other(format!("{MAX_HELD} attachments hold addresses")));
            }
            all.insert(held.attachment.clone(), held.clone());
        }
        let (done, is_done) = oneshot::channel();
        let attachment = held.attachment.clone();
        let order = Order { line: Line::Held(held), done: Some(done) };
        let outcome = match self.lines.try_send(order) {
            Ok(()) => is_done.await.unwrap_or_else(|_| Err(closed())),
            Err(_) => Err(closed()),
        };
        if outcome.is_err() {
            self.held.lock().remove(&attachment);
        }
        outcome
    }

    /// Forgets a set whose addresses were given back, if its ADD came before `boottime_ms`. Not durable: to forget it later
    /// costs a live LIST at most.
    pub fn forget(&self, attachment: &Attachment, boottime_ms: u64) {
        {
            let mut held = self.held.lock();
            if held.get(attachment).is_none_or(|held| held.boottime_ms >= boottime_ms) {
                return;
            }
            held.remove(attachment);
        }
        // A full queue: the next process forgets it by the end of its namespace.
        let _ = self.lines.try_send(Order { line: Line::Gone(attachment.clone()), done: None });
    }
}

// === impl Writer ===

impl Writer {
    fn run(mut self, orders: &Receiver<Order>) {
        while let Ok(first) = orders.recv() {
            let batch: Vec<_> = std::iter::once(first).chain(orders.try_iter()).collect();
            let outcome = self.write(&batch);
            if let Err(error) = &outcome {
                tracing::error!(%error, path = %self.path.display(), "what was answered cannot be noted; ADDs fail");
            }
            for done in batch.into_iter().filter_map(|order| order.done) {
                let failed = |e: &io::Error| Err(io::Error::new(e.kind(), e.to_string()));
                // Nobody waits any more if it cannot be sent.
                let _ = done.send(outcome.as_ref().err().map_or(Ok(()), failed));
            }
        }
    }

    fn write(&mut self, batch: &[Order]) -> io::Result<()> {
        let counting = self.held.lock().len();
        if self.lines > counting.saturating_mul(4).saturating_add(SLACK) {
            // The map has all of the batch by now.
            let held = self.held.lock().clone();
            let (file, good) = write_anew(&self.path, &self.boot, &held)?;
            (self.file, self.good, self.lines) = (file, good, held.len());
            return Ok(());
        }
        let mut text = Vec::new();
        for order in batch {
            serde_json::to_writer(&mut text, &order.line)?;
            text.push(b'\n');
        }
        self.file.set_len(self.good)?;
        self.file.write_all(&text)?;
        if batch.iter().any(|order| order.done.is_some()) {
            self.file.sync_data()?;
        }
        self.good = self.good.saturating_add(u64::try_from(text.len()).unwrap_or(u64::MAX));
        self.lines = self.lines.saturating_add(batch.len());
        Ok(())
    }
}

/// What an earlier process of this boot has left; none where there was none.
fn read(path: &Path, boot: &str) -> io::Result<Option<HashMap<Attachment, Held>>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut lines = text.lines();
    let Some(Ok(head)) = lines.next().map(serde_json::from_str::<Head>) else {
        return Ok(None);
    };
    if head.format > FORMAT {
        return Err(io::Error::other(format!(
            "it was written by a newer Tenure (format {}, this one knows {FORMAT})",
            head.format
        )));
    }
    let mut held = HashMap::new();
    if head.boot != boot {
        return Ok(None);
    }
    for line in lines {
        match serde_json::from_str(line) {
            Ok(Line::Held(one)) => drop(held.insert(one.attachment.clone(), one)),
            Ok(Line::Gone(attachment)) => drop(held.remove(&attachment)),
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "a line that cannot be read is passed over");
            }
        }
    }
    Ok(Some(held))
}

/// Writes the whole file, durably, and answers it open for appending.
fn write_anew(
    path: &Path,
    boot: &str,
    held: &HashMap<Attachment, Held>,
) -> io::Result<(File, u64)> {
    let fresh = path.with_extension("new");
    let mut text = serde_json::to_vec(&Head { format: FORMAT, boot: boot.to_owned() })?;
    text.push(b'\n');
    for one in held.values() {
        serde_json::to_writer(&mut text, &Line::Held(one.clone()))?;
        text.push(b'\n');
    }
    let mut file = File::create(&fresh)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()?;
    let file = OpenOptions::new().append(true).open(path)?;
    Ok((file, u64::try_from(text.len()).unwrap_or(u64::MAX)))
}

fn closed() -> io::Error {
    io::Error::other("its writer has too much to do, or has ended")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn held(container: &str, boottime_ms: u64) -> Held {
        Held {
            attachment: tenure_sim::attachment(container),
            addresses: vec![HeldAddress {
                space: SpaceName::default(),
                address: "10.0.0.7".parse().unwrap(),
                generation: Generation(3),
            }],
            netns: None,
            boottime_ms,
        }
    }

    #[tokio::test]
    async fn what_was_answered_is_there_for_the_next_process_of_the_boot_only() {
        let folder = tempfile::tempdir().unwrap();
        let set = Acknowledged::open(folder.path(), "b1").unwrap();
        set.note(held("a", 5)).await.unwrap();
        set.note(held("b", 6)).await.unwrap();
        set.forget(&held("a", 0).attachment, 5);
        assert_eq!(set.len(), 2, "a DEL that came before the ADD");
        set.forget(&held("a", 0).attachment, 6);
        // Lines are written in their order, so that this one is durable with the one before.
        set.note(held("c", 7)).await.unwrap();
        drop(set);
        let set = Acknowledged::open(folder.path(), "b1").unwrap();
        let mut all = set.all();
        all.sort_by_key(|held| held.boottime_ms);
        assert_eq!(all, [held("b", 6), held("c", 7)]);
        assert!(Acknowledged::open(folder.path(), "b2").unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_half_line_at_the_end_costs_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let set = Acknowledged::open(folder.path(), "b1").unwrap();
        set.note(held("a", 5)).await.unwrap();
        drop(set);
        let path = folder.path().join(FILE);
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(br#"{"held":{"attachm"#).unwrap();
        let set = Acknowledged::open(folder.path(), "b1").unwrap();
        assert_eq!(set.all(), [held("a", 5)]);
    }

    #[tokio::test]
    async fn the_file_does_not_grow_with_the_number_of_pods_that_came_and_went() {
        let folder = tempfile::tempdir().unwrap();
        let set = Acknowledged::open(folder.path(), "b1").unwrap();
        for round in 0..2 * SLACK {
            let one = held("a", u64::try_from(round).unwrap());
            set.note(one).await.unwrap();
        }
        let text = fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert!(text.lines().count() < SLACK + 16, "{}", text.lines().count());
    }

    #[test]
    fn a_newer_format_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        fs::write(&path, "{\"format\":2,\"boot\":\"b1\"}\n").unwrap();
        let error = Acknowledged::open(folder.path(), "b1").unwrap_err();
        assert!(error.to_string().contains("newer Tenure"), "{error}");
        assert!(fs::read_to_string(path).unwrap().starts_with("{\"format\":2"));
    }
}
