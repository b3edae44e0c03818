//! Installing the CNI plugin on a node, from an init container: by rename, so that a runtime finds the old plugin or the new
//! one, never a half of it.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

const PLUGIN: &str = "tenure-ipam";

/// Puts the plugin that lies beside this program into the folder.
pub(crate) fn plugin(folder: &Path) -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("finding the plugin beside the program")?;
    let from = program.with_file_name(PLUGIN);
    copy(&from, folder)
        .with_context(|| format!("installing {} into {}", from.display(), folder.display()))
}

fn copy(from: &Path, folder: &Path) -> io::Result<PathBuf> {
    let (to, fresh) = (folder.join(PLUGIN), folder.join(format!(".{PLUGIN}.new")));
    let mut source = File::open(from)?;
    let mut target = File::create(&fresh)?;
    io::copy(&mut source, &mut target)?;
    target.set_permissions(Permissions::from_mode(0o755))?;
    target.sync_all()?;
    fs::rename(&fresh, &to)?;
    File::open(folder)?.sync_all()?;
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_that_is_running_is_replaced_and_the_new_one_is_executable() {
        let (image, node) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let from = image.path().join(PLUGIN);
        fs::write(&from, "new").unwrap();
        fs::write(node.path().join(PLUGIN), "old").unwrap();
        // Whoever has the old one open keeps the old one.
        let running = File::open(node.path().join(PLUGIN)).unwrap();
        let to = copy(&from, node.path()).unwrap();
        assert_eq!(fs::read_to_string(&to).unwrap(), "new");
        assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(io::read_to_string(running).unwrap(), "old");
        assert_eq!(fs::read_dir(node.path()).unwrap().count(), 1, "nothing else is left there");
    }
}
