//! Keeping a DEL on disk while the daemon is down: written whole, synced, renamed, folder synced.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process;
use std::thread;
use std::time::Duration;

use super::environment::variable;
use crate::answer::{self, Failure};
use crate::intent::{Intent, MAX_SPOOLED};

const FOLDER_MODE: u32 = 0o700;
/// What `/proc/uptime` counts in.
const TICK_MS: u64 = 10;

/// A moment of one boot, as the intent carries it.
#[derive(Clone)]
pub(super) struct Instant {
    boot: String,
    boottime_ms: u64,
}

impl Instant {
    /// Now; none where `/proc` does not tell.
    pub(super) fn now() -> Option<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(Self { boot: boot.trim().to_owned(), boottime_ms: uptime_ms()? })
    }

    /// The end of the hundredth of a second that it lies in, once that is over: an ADD of a moment before is before it, too.
    /// Whoever is called while this DEL still runs does not come after it.
    fn when_over(self) -> Self {
        let end = self.boottime_ms.saturating_add(TICK_MS);
        // Mostly it is over long since: a DEL is kept only after the daemon was waited for.
        while uptime_ms().is_some_and(|now| now < end) {
            thread::sleep(Duration::from_millis(1));
        }
        Self { boottime_ms: end, ..self }
    }
}

/// `CLOCK_BOOTTIME`, as far as `/proc` tells it.
fn uptime_ms() -> Option<u64> {
    boottime_ms(&fs::read_to_string("/proc/uptime").ok()?)
}

/// The first figure of `/proc/uptime` (seconds with two decimals, cut not rounded).
fn boottime_ms(uptime: &str) -> Option<u64> {
    let (seconds, hundredths) = uptime.split_whitespace().next()?.split_once('.')?;
    let seconds: u64 = seconds.parse().ok()?;
    let hundredths: u64 = hundredths.parse().ok().filter(|h| *h < 100)?;
    seconds.checked_mul(1000)?.checked_add(hundredths * 10)
}

/// Keeps the DEL of the environment's attachment in `folder`, as of `started`: the moment at which the plugin
/// was called, so that an ADD that comes while it waits for the daemon stays untouched.
///
/// # Errors
/// Code 11 when the folder is full, 5 when the disk refuses, 4 when the environment names no attachment.
pub(super) fn keep(folder: &Path, network: &str, started: Option<Instant>) -> Result<(), Failure> {
    let instant = started.map(Instant::when_over).ok_or_else(|| {
        let msg = "boot id and uptime cannot be read from /proc, so the DEL cannot be kept for the daemon";
        Failure::new(answer::IO_FAILED, "NO_BOOT_CLOCK", msg)
    })?;
    let text_of =
        |name| variable(name).and_then(|value| value.into_string().ok()).unwrap_or_default();
    let intent = Intent {
        network: network.to_owned(),
        container: text_of("CNI_CONTAINERID"),
        ifname: text_of("CNI_IFNAME"),
        boot: instant.boot,
        boottime_ms: instant.boottime_ms,
    };
    let text = intent.to_text().ok_or_else(|| {
        let msg = "network name, CNI_CONTAINERID or CNI_IFNAME is no name that CNI allows";
        Failure::new(answer::BAD_ENVIRONMENT, "BAD_ATTACHMENT", msg)
    })?;
    make_folder(folder).map_err(|error| refused(folder, &error))?;
    match write(folder, &intent, &text) {
        Ok(Room::Kept) => Ok(()),
        Ok(Room::Full) => {
            let msg =
                format!("{MAX_SPOOLED} DELs wait in {} already; start tenured", folder.display());
            Err(Failure::new(answer::TRY_LATER, "SPOOL_FULL", msg))
        }
        Err(error) => Err(refused(folder, &error)),
    }
}

fn refused(folder: &Path, error: &io::Error) -> Failure {
    let msg = format!(
        "tenured does not answer, and the DEL cannot be kept for it in {}: {error}",
        folder.display()
    );
    Failure::new(answer::IO_FAILED, "SPOOL_FAILED", msg)
}

enum Room {
    Kept,
    Full,
}

fn write(folder: &Path, intent: &Intent, text: &str) -> io::Result<Room> {
    let path = folder.join(intent.file_name());
    match fs::read_to_string(&path) {
        // Another DEL of this attachment, called later, was quicker.
        Ok(there) if Intent::parse(&there).is_some_and(|there| there.covers(intent)) => {
            return Ok(Room::Kept);
        }
        Ok(_) => {}
        Err(_) if fs::read_dir(folder)?.take(MAX_SPOOLED).count() >= MAX_SPOOLED => {
            return Ok(Room::Full);
        }
        Err(_) => {}
    }
    let temporary = folder.join(format!(".{}.{}", intent.file_name(), process::id()));
    let written = write_synced(&temporary, text).and_then(|()| fs::rename(&temporary, &path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written?;
    File::open(folder)?.sync_all()?;
    Ok(Room::Kept)
}

fn write_synced(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
    match folder.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_kept_as_the_end_of_its_tick_once_that_is_over() {
        let before = Instant::now().unwrap();
        let kept = before.clone().when_over();
        assert_eq!(kept.boottime_ms, before.boottime_ms + TICK_MS);
        assert!(uptime_ms().unwrap() >= kept.boottime_ms, "an ADD that comes now is not before it");
    }

    #[test]
    fn uptime_reads_as_milliseconds() {
        assert_eq!(boottime_ms("12.34 56.78\n"), Some(12_340));
        assert_eq!(boottime_ms("0.05 0.00\n"), Some(50));
        assert_eq!(boottime_ms(""), None);
        assert_eq!(boottime_ms("12 1\n"), None);
        assert_eq!(boottime_ms("1.500 1"), None, "three decimals are not what the kernel writes");
        assert_eq!(boottime_ms("99999999999999999999.00"), None);
    }
}
