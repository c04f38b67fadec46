//! Which server wrote the log, and the session state that changes how its statements read.
//!
//! Invariant: everything that makes two servers understand one DDL text differently is a field here, never a global.

/// The server's family and version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// MariaDB, else MySQL.
    pub mariadb: bool,
    /// `major * 10000 + minor * 100 + patch`, as executable comments count: 80036, 101119.
    pub version: u32,
}

impl Server {
    /// From `SELECT VERSION()` or the format description event, such as `8.0.36` or `10.11.6-MariaDB-log`.
    /// A missing part counts as zero.
    pub fn parse(version: &str) -> Server {
        let mariadb = version.to_ascii_lowercase().contains("maria");
        // Old MariaDB servers put this in front for the sake of replicas that stumble over a two-digit major version.
        let text = if mariadb { version.strip_prefix("5.5.5-").unwrap_or(version) } else { version };
        let mut parts = text.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0).min(99));
        let mut part = || parts.next().unwrap_or(0);
        Server { mariadb, version: part() * 10_000 + part() * 100 + part() }
    }

    /// Whether integer types print their display width; MySQL stopped with 8.0.19.
    pub(crate) fn prints_widths(self) -> bool {
        self.mariadb || self.version < 80_019
    }
}

/// Bits of `sql_mode`, as the status variables of a query event carry them.
pub mod sql_mode {
    /// REAL is FLOAT.
    pub const REAL_AS_FLOAT: u64 = 1;
    /// Double quotes delimit names.
    pub const ANSI_QUOTES: u64 = 1 << 2;
    /// MariaDB: DATE is DATETIME, BLOB is LONGBLOB, and a few more names of types.
    pub const ORACLE: u64 = 1 << 9;
    /// A backslash in a string is a backslash.
    pub const NO_BACKSLASH_ESCAPES: u64 = 1 << 20;
}

/// The state of the session that ran a statement.
#[derive(Clone, Copy, Debug, Default)]
pub struct Session<'a> {
    /// The default database of the statement; empty when there is none.
    pub database: &'a str,
    /// See [`sql_mode`].
    pub sql_mode: u64,
    /// `explicit_defaults_for_timestamp` was off: a TIMESTAMP without NULL is NOT NULL.
    pub implicit_timestamps: bool,
    /// The session's `character_set_server`, where the log tells it: what a new database gets.
    pub server_charset: Option<&'a str>,
}

impl<'a> Session<'a> {
    /// A session with this default database and the server's defaults otherwise.
    pub fn new(database: &'a str) -> Self {
        Session { database, ..Session::default() }
    }

    pub(crate) fn has(&self, mode: u64) -> bool {
        self.sql_mode & mode != 0
    }
}

#[cfg(test)]
mod tests {
    use super::Server;

    #[test]
    fn versions() {
        let cases = [
            ("8.0.36", false, 80_036),
            ("9.7.4-2", false, 90_704),
            ("10.11.19-MariaDB-0+deb12u1", true, 101_119),
            ("5.5.5-10.5.27-MariaDB-log", true, 100_527),
            ("", false, 0),
        ];
        for (text, mariadb, version) in cases {
            assert_eq!(Server::parse(text), Server { mariadb, version }, "{text}");
        }
    }
}
