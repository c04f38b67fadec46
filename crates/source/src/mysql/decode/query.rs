//! Query events: a statement, the database it ran in, and the session variables it depends on.
//!
//! Invariant: the statement stays as bytes in the client's character set; who needs text asks [`Query::text`].

use super::bytes::{Bad, Bytes, Read};
use super::charset::Charsets;
use super::event::text;
use std::borrow::Cow;

/// A statement in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query<'a> {
    /// The session that ran it.
    pub thread: u32,
    /// Seconds it took.
    pub seconds: u32,
    /// The error it ended with, when it changed something all the same; else 0.
    pub error_code: u16,
    /// The session's default database; empty when none.
    pub database: &'a str,
    /// The statement, in the client's character set.
    pub sql: Cow<'a, [u8]>,
    /// What is known of the session.
    pub session: Session,
}

/// Session variables that a statement's meaning depends on (`Q_*_CODE`); `None` where the log does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// `sql_mode`; `NO_BACKSLASH_ESCAPES` is 0x100000, `ANSI_QUOTES` is 4.
    pub sql_mode: Option<u64>,
    /// Collation of `character_set_client`: what the statement is written in.
    pub client_collation: Option<u16>,
    /// `collation_connection`.
    pub connection_collation: Option<u16>,
    /// `collation_server`.
    pub server_collation: Option<u16>,
    /// `collation_database`, when it is not the server's.
    pub database_collation: Option<u16>,
    /// `default_collation_for_utf8mb4`.
    pub utf8mb4_collation: Option<u16>,
    /// Microseconds of the statement's start, beside the header's seconds.
    pub micros: Option<u32>,
    /// The transaction number that DDL was logged with.
    pub ddl_xid: Option<u64>,
}

impl Query<'_> {
    /// The statement as text. `None` when its character set is unknown or its bytes are not valid in it.
    pub fn text(&self, charsets: &Charsets) -> Option<Cow<'_, str>> {
        // ASCII is the same in every set that a client may have; most statements are.
        if let Ok(text) = std::str::from_utf8(&self.sql)
            && (text.is_ascii() || self.session.client_collation.is_none())
        {
            return Some(Cow::Borrowed(text));
        }
        let codec = charsets.of_collation(u32::from(self.session.client_collation?))?;
        let mut out = Vec::new();
        let decoded = codec.decode(&self.sql, &mut out).ok()?;
        let owned = decoded.to_owned();
        Some(Cow::Owned(owned))
    }
}

/// Reads a query event's body, without decompressing.
pub(super) fn query<'a>(body: &mut Bytes<'a>) -> Read<Query<'a>> {
    let thread = body.u32("session")?;
    let seconds = body.u32("duration")?;
    let database = usize::from(body.u8("length of the database's name")?);
    let error_code = body.u16("error code")?;
    let variables = usize::from(body.u16("length of the status variables")?);
    let session = session(Bytes(body.take(variables, "status variables")?))?;
    let database = text(body.take(database, "database")?, "database")?;
    if body.u8("end of the database's name")? != 0 {
        return Err(Bad("end of the database's name"));
    }
    Ok(Query { thread, seconds, error_code, database, sql: Cow::Borrowed(body.rest()), session })
}

/// Status variables: a code and its value, whose length only the code tells. They are written in the order of what
/// servers learned first, so that reading ends at the first unknown one, as it does in the server.
fn session(mut vars: Bytes<'_>) -> Read<Session> {
    const WHAT: &str = "status variables";
    let mut session = Session::default();
    while !vars.is_empty() {
        match vars.u8(WHAT)? {
            0 => skip(&mut vars, 4)?,                      // Q_FLAGS2
            1 => session.sql_mode = Some(vars.u64(WHAT)?), // Q_SQL_MODE
            2 => {
                // Q_CATALOG: a length, the name, and a NUL.
                let length = usize::from(vars.u8(WHAT)?);
                skip(&mut vars, length + 1)?;
            }
            3 => skip(&mut vars, 4)?, // Q_AUTO_INCREMENT
            4 => {
                session.client_collation = Some(vars.u16(WHAT)?);
                session.connection_collation = Some(vars.u16(WHAT)?);
                session.server_collation = Some(vars.u16(WHAT)?);
            }
            5 | 6 => short_text(&mut vars)?, // Q_TIME_ZONE, Q_CATALOG_NZ
            7 => skip(&mut vars, 2)?,        // Q_LC_TIME_NAMES
            8 => session.database_collation = Some(vars.u16(WHAT)?), // Q_CHARSET_DATABASE
            9 => skip(&mut vars, 8)?,        // Q_TABLE_MAP_FOR_UPDATE
            10 => skip(&mut vars, 4)?,       // Q_MASTER_DATA_WRITTEN
            11 => {
                // Q_INVOKER: user and host.
                short_text(&mut vars)?;
                short_text(&mut vars)?;
            }
            12 => {
                // Q_UPDATED_DB_NAMES: 254 says that there are too many to list.
                let count = vars.u8(WHAT)?;
                for _ in 0..if count == 254 { 0 } else { count } {
                    vars.until_nul(WHAT)?;
                }
            }
            13 => session.micros = Some(vars.uint(3, WHAT)? as u32), // Q_MICROSECONDS
            16 | 19 | 20 => skip(&mut vars, 1)?, // Q_EXPLICIT_DEFAULTS_FOR_TIMESTAMP, Q_SQL_REQUIRE_PRIMARY_KEY, Q_DEFAULT_TABLE_ENCRYPTION
            17 | 129 => session.ddl_xid = Some(vars.u64(WHAT)?), // Q_DDL_LOGGED_WITH_XID, MariaDB's Q_XID
            18 => session.utf8mb4_collation = Some(vars.u16(WHAT)?), // Q_DEFAULT_COLLATION_FOR_UTF8MB4
            128 => session.micros = Some(vars.uint(3, WHAT)? as u32), // MariaDB's Q_HRNOW
            _ => break,
        }
    }
    Ok(session)
}

fn skip(vars: &mut Bytes<'_>, count: usize) -> Read<()> {
    vars.take(count, "status variables").map(drop)
}

fn short_text(vars: &mut Bytes<'_>) -> Read<()> {
    let length = usize::from(vars.u8("status variables")?);
    skip(vars, length)
}
