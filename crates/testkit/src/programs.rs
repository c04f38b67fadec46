//! Finds the servers' programs: in the folder that `scripts/setup` fills, else on the PATH. Never runs a server whose
//! version it has not asked for.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Attempt;
use crate::{Error, Result};

/// The folder of the unpacked servers; see `scripts/setup`.
const SERVERS_HOME: &str = "HEADWATER_SERVERS_HOME";
/// Where `scripts/setup` puts them as root.
const SERVERS_OF_ROOT: &str = "/opt/headwater-servers";
/// Searched after the PATH: servers live there, and the PATH of a user often lacks them.
const SYSTEM_FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/local/sbin", "/usr/libexec", "/opt/homebrew/bin"];

/// A database server that the tests know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flavor {
    /// Oracle MySQL 8.0 or later (9.7 by `scripts/setup`).
    MySql,
    /// MariaDB 10 (10.11 on Debian 12).
    MariaDb10,
    /// MariaDB 11 or later (11.8 by `scripts/setup`).
    MariaDb11,
}

impl Flavor {
    /// All of them, in the order of the documentation.
    pub const ALL: [Flavor; 3] = [Flavor::MySql, Flavor::MariaDb10, Flavor::MariaDb11];

    /// Either MariaDB.
    pub fn is_mariadb(self) -> bool {
        self != Flavor::MySql
    }

    /// The scheme of its URLs and the name of its source in a configuration.
    pub fn scheme(self) -> &'static str {
        if self.is_mariadb() { "mariadb" } else { "mysql" }
    }

    fn unpacked(self) -> Option<&'static str> {
        match self {
            Flavor::MySql => Some("mysql"),
            Flavor::MariaDb10 => None,
            Flavor::MariaDb11 => Some("mariadb-11"),
        }
    }

    fn accepts(self, version: &str) -> bool {
        let major: u32 = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
        match (self, version.contains("MariaDB")) {
            (Flavor::MySql, mariadb) => !mariadb && major >= 8,
            (Flavor::MariaDb10, mariadb) => mariadb && major == 10,
            (Flavor::MariaDb11, mariadb) => mariadb && major >= 11,
        }
    }
}

impl fmt::Display for Flavor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Flavor::MySql => "MySQL",
            Flavor::MariaDb10 => "MariaDB 10",
            Flavor::MariaDb11 => "MariaDB 11",
        })
    }
}

/// A server's programs.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    pub flavor: Flavor,
    /// As the server says it, such as `10.11.19-MariaDB-0+deb12u1`.
    pub version: String,
    pub server: PathBuf,
    /// Where it is installed, such as `/usr`.
    pub base: PathBuf,
    /// Whether it lies beside the system, so that it must be told where its messages are.
    unpacked: bool,
}

impl Programs {
    /// The programs of `flavor`, or an error that names the command which installs them.
    pub fn find(flavor: Flavor) -> Result<Self> {
        let unpacked = flavor.unpacked().and_then(|name| {
            let base = servers_homes().into_iter().map(|home| home.join(name).join("usr"));
            base.map(|base| base.join("sbin").join(server_name(flavor))).find(|server| server.exists())
        });
        let was_unpacked = unpacked.is_some();
        for server in unpacked.into_iter().chain(on_path(server_name(flavor))) {
            let version = version(&server)?;
            if flavor.accepts(&version) {
                let base = server.ancestors().nth(2).unwrap_or(Path::new("/usr")).to_owned();
                return Ok(Self { flavor, version, server, base, unpacked: was_unpacked });
            }
        }
        Err(missing(&flavor.to_string()))
    }

    /// A program beside the server's, such as `mysqlbinlog`.
    pub fn tool(&self, name: &str) -> Result<PathBuf> {
        let own = self.base.join("bin").join(name);
        let found = own.exists().then_some(own).or_else(|| on_path(name).into_iter().next());
        found.ok_or_else(|| missing(name))
    }

    /// The server's own command-line client.
    pub fn client(&self) -> Result<PathBuf> {
        self.tool(if self.flavor.is_mariadb() { "mariadb" } else { "mysql" })
    }

    /// The options that tell an unpacked server where its files are.
    pub fn place(&self) -> Vec<String> {
        let base = self.base.display();
        let mut options = vec![format!("--basedir={base}")];
        if self.unpacked {
            let share = if self.flavor.is_mariadb() { "mariadb" } else { "mysql" };
            options.push(format!("--lc-messages-dir={base}/share/{share}"));
            options.push(format!("--character-sets-dir={base}/share/{share}/charsets"));
        }
        if self.unpacked && !self.flavor.is_mariadb() {
            options.push(format!("--plugin-dir={base}/lib/mysql/plugin"));
        }
        options
    }
}

/// A program that is not a database's, such as `redis-server`.
pub(crate) fn find_program(name: &str) -> Result<PathBuf> {
    on_path(name).into_iter().next().ok_or_else(|| missing(name))
}

fn server_name(flavor: Flavor) -> &'static str {
    if flavor.is_mariadb() { "mariadbd" } else { "mysqld" }
}

pub(crate) fn missing(what: &str) -> Error {
    Error::new(format!("{what} is not on this machine; install it with: scripts/setup test"))
}

/// Where `scripts/setup` may have put servers, in the order in which they are tried.
pub(crate) fn servers_homes() -> Vec<PathBuf> {
    if let Some(home) = env::var_os(SERVERS_HOME) {
        return vec![PathBuf::from(home)];
    }
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    let own = cache.map(|cache| cache.join("headwater/servers"));
    [Some(PathBuf::from(SERVERS_OF_ROOT)), own].into_iter().flatten().collect()
}

pub(crate) fn on_path(name: &str) -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(SYSTEM_FOLDERS.iter().map(PathBuf::from));
    folders.map(|folder| folder.join(name)).filter(|program| program.is_file()).collect()
}

/// What follows `Ver` in `mysqld  Ver 9.7.4-2 for Linux on x86_64`.
fn version(server: &Path) -> Result<String> {
    let output = Command::new(server).args(["--no-defaults", "--version"]).output();
    let output = output.attempt(|| format!("ask {} for its version", server.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut words = text.split_whitespace().skip_while(|word| *word != "Ver").skip(1);
    let version = words.next().map(str::to_owned);
    version.ok_or_else(|| Error::new(format!("{} says no version: {text}", server.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_recognised_by_its_version() {
        let cases = [
            ("9.7.4-2", Some(Flavor::MySql)),
            ("8.0.40", Some(Flavor::MySql)),
            ("5.7.44", None),
            ("10.11.19-MariaDB-0+deb12u1", Some(Flavor::MariaDb10)),
            ("11.8.9-MariaDB-4", Some(Flavor::MariaDb11)),
            ("12.1.2-MariaDB", Some(Flavor::MariaDb11)),
            ("", None),
        ];
        for (version, expected) in cases {
            let found = Flavor::ALL.into_iter().find(|flavor| flavor.accepts(version));
            assert_eq!(found, expected, "{version:?}");
        }
    }
}
