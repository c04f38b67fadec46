//! Finds PostgreSQL's programs: in the folder that `scripts/setup` fills, where Debian puts them, else on the PATH. Never runs
//! a server whose version it has not asked for.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Attempt;
use crate::programs::{missing, on_path, servers_homes};
use crate::{Error, Result};

/// Where Debian puts each version's programs.
const DEBIAN_FOLDER: &str = "/usr/lib/postgresql";
/// The oldest version that logs by `pgoutput` as we read it.
const OLDEST_MAJOR: u32 = 12;

/// A PostgreSQL that the tests know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PostgresRelease {
    /// PostgreSQL 12 to 17 (15 on Debian 12).
    V15,
    /// PostgreSQL 18 or later.
    V18,
}

impl PostgresRelease {
    /// All of them, in the order of the documentation.
    pub const ALL: [PostgresRelease; 2] = [PostgresRelease::V15, PostgresRelease::V18];

    /// The version that `scripts/setup` installs.
    fn major(self) -> u32 {
        match self {
            PostgresRelease::V15 => 15,
            PostgresRelease::V18 => 18,
        }
    }

    fn accepts(self, version: &str) -> bool {
        let digits = version.split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default();
        let major: u32 = digits.parse().unwrap_or(0);
        match self {
            PostgresRelease::V15 => (OLDEST_MAJOR..PostgresRelease::V18.major()).contains(&major),
            PostgresRelease::V18 => major >= PostgresRelease::V18.major(),
        }
    }
}

impl fmt::Display for PostgresRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgreSQL {}", self.major())
    }
}

/// A server's programs.
#[derive(Debug, Clone)]
pub(crate) struct PostgresPrograms {
    pub release: PostgresRelease,
    /// As the server says it, such as `15.18 (Debian 15.18-0+deb12u1)`.
    pub version: String,
    /// The folder that holds `postgres`, `initdb` and `psql`.
    folder: PathBuf,
}

impl PostgresPrograms {
    /// The programs of `release`, or an error that names the command which installs them.
    pub fn find(release: PostgresRelease) -> Result<Self> {
        let major = release.major().to_string();
        let below = Path::new("lib/postgresql").join(&major).join("bin");
        let unpacked =
            servers_homes().into_iter().map(|home| home.join(format!("postgresql-{major}/usr")).join(&below));
        let debian = Path::new(DEBIAN_FOLDER).join(&major).join("bin");
        let path = on_path("postgres").into_iter().filter_map(|server| server.parent().map(Path::to_owned));
        for folder in unpacked.chain([debian]).chain(path).filter(|folder| folder.join("postgres").is_file()) {
            let version = version(&folder.join("postgres"))?;
            if release.accepts(&version) {
                return Ok(Self { release, version, folder });
            }
        }
        Err(missing(&release.to_string()))
    }

    /// A program of this installation, such as `pg_recvlogical`.
    pub fn tool(&self, name: &str) -> Result<PathBuf> {
        let own = self.folder.join(name);
        let found = own.exists().then_some(own).or_else(|| on_path(name).into_iter().next());
        found.ok_or_else(|| missing(name))
    }
}

/// What follows in `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
fn version(server: &Path) -> Result<String> {
    let output = Command::new(server).arg("--version").output();
    let output = output.attempt(|| format!("ask {} for its version", server.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_once("(PostgreSQL) ").map(|(_, version)| version.trim().to_owned());
    version.ok_or_else(|| Error::new(format!("{} says no version: {text}", server.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_recognised_by_its_version() {
        for (version, expected) in [
            ("15.18 (Debian 15.18-0+deb12u1)", Some(PostgresRelease::V15)),
            ("17rc1", Some(PostgresRelease::V15)),
            ("12.22", Some(PostgresRelease::V15)),
            ("18.6 (Debian 18.6-3)", Some(PostgresRelease::V18)),
            ("19beta1", Some(PostgresRelease::V18)),
            ("11.22", None),
            ("", None),
        ] {
            let found = PostgresRelease::ALL.into_iter().find(|release| release.accepts(version));
            assert_eq!(found, expected, "{version:?}");
        }
    }
}
