//! Temporary folders that do not outlive the tests. A folder's name carries the id of its process, so that the next run can
//! remove what a killed one left behind.

use std::env;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process;
use std::sync::Once;

use tempfile::TempDir;

use crate::Result;
use crate::error::Attempt;
use crate::process::{is_alive, server_account};

const PREFIX: &str = "headwater-test-";
/// Set to 1, the folders of failed tests stay until the next run.
const KEEP: &str = "HEADWATER_TEST_KEEP";

static SWEEP: Once = Once::new();

/// A temporary folder, removed when dropped.
#[derive(Debug)]
pub struct TestFolder {
    folder: Option<TempDir>,
}

impl TestFolder {
    /// A folder of this user; `name` becomes part of its name.
    pub fn new(name: &str) -> Result<Self> {
        SWEEP.call_once(sweep);
        let folder = tempfile::Builder::new()
            .prefix(&format!("{PREFIX}{}-{name}-", process::id()))
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir()
            .attempt(|| format!("make a temporary folder for {name} in {}", env::temp_dir().display()))?;
        Ok(Self { folder: Some(folder) })
    }

    /// A folder of the account that runs servers.
    pub(crate) fn for_server(name: &str) -> Result<Self> {
        let folder = Self::new(name)?;
        give_to_servers(folder.path())?;
        Ok(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.as_ref().map_or(Path::new("/nonexistent"), TempDir::path)
    }
}

impl Drop for TestFolder {
    fn drop(&mut self) {
        let keep = std::thread::panicking() && env::var(KEEP).is_ok_and(|v| v == "1");
        if let (true, Some(folder)) = (keep, self.folder.take()) {
            crate::say(&format!("kept {}", folder.keep().display()));
        }
    }
}

/// Makes `path` belong to the account that runs servers.
pub(crate) fn give_to_servers(path: &Path) -> Result {
    let Some(account) = server_account()? else { return Ok(()) };
    chown(path, Some(account.uid), Some(account.gid)).attempt(|| format!("give {} to {}", path.display(), account.name))
}

/// Removes the folders of processes that are gone.
fn sweep() {
    let Ok(entries) = fs::read_dir(env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok());
        if owner.is_some_and(|pid| !is_alive(pid)) {
            // Another user's folder, or another test process was faster: neither is ours to mend.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
