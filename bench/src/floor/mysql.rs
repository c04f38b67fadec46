//! MySQL's binlog as the floor reads it. Invariant: of an event only its type is looked at, and of a row its first column.
//! Start at [`Binlog::open`].

use super::{Log, Means};
use crate::load::connect;
use headwater_source::mysql::wire::{Dump, DumpRequest, DumpStart};
use headwater_testkit::{Error, Result};
use std::time::Duration;

/// Our number among the server's replicas.
const SERVER_ID: u32 = 4_711;
const HEARTBEAT: Duration = Duration::from_secs(1);
const EVENT_HEADER_BYTES: usize = 19;
const TYPE_AT: usize = 4;
const XID_EVENT: u8 = 16;
const WRITE_ROWS_V1: u8 = 23;
const WRITE_ROWS_V2: u8 = 30;

/// The stream of a server's binlog.
pub struct Binlog(Dump);

impl Binlog {
    /// Asks the server at `url` for its log from there on.
    pub fn open(url: &str, file: &str, offset: u64) -> Result<Binlog> {
        let mut link = connect(url)?;
        if link.server().is_mariadb {
            link.execute("SET @mariadb_slave_capability = 4").map_err(failed)?;
        }
        let start = DumpStart::Position { file, offset };
        let request = DumpRequest { server_id: SERVER_ID, report_host: "floor", heartbeat: HEARTBEAT, start, flags: 0 };
        link.into_dump(&request).map(Binlog).map_err(failed)
    }
}

impl Log for Binlog {
    fn next(&mut self) -> Result<Option<&[u8]>> {
        self.0.next_event().map_err(failed)
    }

    fn has_next(&self) -> bool {
        self.0.has_buffered_event()
    }

    fn read(event: &[u8]) -> Means {
        match event.get(TYPE_AT) {
            Some(&kind @ (WRITE_ROWS_V1 | WRITE_ROWS_V2)) => first_key(event, kind).map_or(Means::Nothing, Means::Row),
            Some(&XID_EVENT) => Means::Commit,
            _ => Means::Nothing,
        }
    }
}

/// The BIGINT that is the first column of an event's first row.
fn first_key(event: &[u8], kind: u8) -> Option<u64> {
    let mut at = EVENT_HEADER_BYTES + 8;
    if kind == WRITE_ROWS_V2 {
        at += usize::from(u16::from_le_bytes(event.get(at..at + 2)?.try_into().ok()?));
    }
    let bitmap = usize::from(*event.get(at)?).div_ceil(8);
    // The columns that are there, then the row's NULLs.
    at += 1 + 2 * bitmap;
    Some(u64::from_le_bytes(event.get(at..at + 8)?.try_into().ok()?))
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::new(format!("floor: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_or_nothing_is() {
        let mut event = vec![0; EVENT_HEADER_BYTES + 8];
        event[TYPE_AT] = WRITE_ROWS_V2;
        event.extend([2, 0, 6, 0x3f, 0]);
        event.extend(77_u64.to_le_bytes());
        assert_eq!(Binlog::read(&event), Means::Row(77));
        for cut in 0..event.len() {
            assert_eq!(Binlog::read(&event[..cut]), Means::Nothing, "{cut}");
        }
    }
}
