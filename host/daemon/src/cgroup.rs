//! How much memory the supervisor lets this process have.

use std::path::Path;

/// The least limit of memory on the way from the root to this process's own control group; none without limits, or with
/// the groups of old kernels.
pub(crate) fn memory_limit() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    limit_below(Path::new("/sys/fs/cgroup"), &groups)
}

fn limit_below(root: &Path, groups: &str) -> Option<u64> {
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let limit = |group: &Path| {
        std::fs::read_to_string(root.join(group).join("memory.max")).ok()?.trim().parse().ok()
    };
    Path::new(own).ancestors().filter_map(limit).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_limit_on_the_way_counts() {
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join("system.slice/tenured.service");
        std::fs::create_dir_all(&own).unwrap();
        let groups = "0::/system.slice/tenured.service\n";
        assert_eq!(limit_below(root.path(), groups), None);
        std::fs::write(own.join("memory.max"), "max\n").unwrap();
        std::fs::write(root.path().join("system.slice/memory.max"), "1048576\n").unwrap();
        assert_eq!(limit_below(root.path(), groups), Some(1_048_576));
        std::fs::write(own.join("memory.max"), "4096\n").unwrap();
        assert_eq!(limit_below(root.path(), groups), Some(4096));
        // Inside a container the own group is the root.
        std::fs::write(root.path().join("memory.max"), "2048\n").unwrap();
        assert_eq!(limit_below(root.path(), "0::/\n"), Some(2048));
        assert_eq!(limit_below(root.path(), "1:memory:/old\n"), None);
    }
}
