//! The replication slot: what the server keeps for us, and up to where it may forget.
//!
//! Invariant: a slot is only ever created here, never moved: its position follows what is confirmed. Start at [`Slot::find`].

use super::lsn::Lsn;
use super::server::{Server, lsn, since};
use super::wire::query::{identifier, quoted};
use super::wire::{self, Connection};
use serde::Deserialize;
use std::time::{Duration, Instant};

/// The plugin that the server itself brings.
const PLUGIN: &str = "pgoutput";

/// How long a process that served us is waited for, and how often it is looked for.
const LEFT_MAX: Duration = Duration::from_secs(5);
const LEFT_LOOK: Duration = Duration::from_millis(20);

/// A row of `pg_replication_slots`; what a version does not have is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Slot {
    /// Its name.
    pub slot_name: String,
    /// The plugin that writes its stream.
    pub plugin: Option<String>,
    /// `logical` or `physical`.
    pub slot_type: String,
    /// The database that it reads.
    pub database: Option<String>,
    /// Whether somebody reads it.
    pub active: bool,
    /// Who.
    pub active_pid: Option<u32>,
    /// From where on the log is kept for it.
    pub restart_lsn: Option<String>,
    /// Up to where it was confirmed.
    pub confirmed_flush_lsn: Option<String>,
    /// `reserved`, `extended`, `unreserved` or `lost` (13 and later).
    pub wal_status: Option<String>,
    /// Why it cannot be read any more (17 and later).
    pub invalidation_reason: Option<String>,
    /// Whether it was invalidated by a conflict with recovery (16 and later).
    pub conflicting: Option<bool>,
    /// Whether prepared transactions are sent at their prepare (14 and later).
    pub two_phase: bool,
    /// Whether it is kept on standbys (17 and later).
    pub failover: bool,
}

/// A slot that was just created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// From where on it streams; what was committed before is in the snapshot.
    pub consistent: Lsn,
    /// The name of the exported snapshot, which lasts until the connection is used for something else.
    pub snapshot: String,
}

/// Why a slot that is there cannot be read by us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It is physical, of another plugin, or of another database: what it is.
    Other(String),
    /// The server has thrown away log that it needed; why.
    Lost(String),
    /// Another process reads it.
    Active(u32),
}

impl Slot {
    /// Looks for the slot `name`.
    pub fn find(connection: &mut Connection, name: &str) -> wire::Result<Option<Slot>> {
        let sql = format!(
            "SELECT pg_catalog.to_jsonb(s) FROM pg_catalog.pg_replication_slots s WHERE s.slot_name = {}",
            quoted(name)
        );
        let result = connection.query(&sql)?;
        let Some(text) = result.first_text() else { return Ok(None) };
        serde_json::from_str(text)
            .map(Some)
            .map_err(|error| wire::Error::Invalid(format!("the row of pg_replication_slots cannot be read: {error}")))
    }

    /// Up to where it was confirmed.
    pub fn confirmed(&self) -> wire::Result<Lsn> {
        lsn(self.confirmed_flush_lsn.as_deref(), "up to where the slot was confirmed")
    }

    /// Whether it can be read in `database`.
    pub fn usable(&self, database: &str) -> Result<(), Unusable> {
        if self.slot_type != "logical" {
            return Err(Unusable::Other(format!("it is a {} slot", self.slot_type)));
        }
        if let Some(plugin) = self.plugin.as_deref().filter(|plugin| *plugin != PLUGIN) {
            return Err(Unusable::Other(format!("it is written by the plugin {plugin}, not by {PLUGIN}")));
        }
        if let Some(other) = self.database.as_deref().filter(|other| *other != database) {
            return Err(Unusable::Other(format!("it reads the database {other:?}, not {database:?}")));
        }
        if self.two_phase {
            return Err(Unusable::Other("it sends transactions when they are prepared (two_phase)".to_owned()));
        }
        if let Some(reason) = &self.invalidation_reason {
            return Err(Unusable::Lost(format!("the server invalidated it ({reason})")));
        }
        if self.wal_status.as_deref() == Some("lost") || self.restart_lsn.is_none() {
            return Err(Unusable::Lost("the log that it needs was removed".to_owned()));
        }
        if self.conflicting == Some(true) {
            return Err(Unusable::Lost("it conflicted with recovery".to_owned()));
        }
        match self.active {
            true => Err(Unusable::Active(self.active_pid.unwrap_or(0))),
            false => Ok(()),
        }
    }
}

/// Creates a slot over a connection for replication, and exports the snapshot at which it begins. A temporary one is gone
/// with the connection. It waits until every transaction that runs now has ended.
pub fn create(
    connection: &mut Connection,
    server: &Server,
    name: &str,
    temporary: bool,
    failover: bool,
) -> wire::Result<Created> {
    if failover && server.version < since::FAILOVER {
        tracing::warn!(
            slot = name,
            server = server.title(),
            "slots are kept on standbys from PostgreSQL 17 on; this one is not"
        );
    }
    let lasting = if temporary { " TEMPORARY" } else { "" };
    let options = match failover && server.version >= since::FAILOVER {
        true => "(SNAPSHOT 'export', FAILOVER true)",
        false => "EXPORT_SNAPSHOT",
    };
    let sql = format!("CREATE_REPLICATION_SLOT {}{lasting} LOGICAL {PLUGIN} {options}", identifier(name));
    let result = connection.query(&sql)?;
    Ok(Created {
        consistent: lsn(result.text(0, "consistent_point"), "where the new slot begins")?,
        snapshot: result.text(0, "snapshot_name").unwrap_or_default().to_owned(),
    })
}

/// Waits a little while `process` still reads the slot: it served us before, and has not noticed that we left.
pub fn wait_until_left(connection: &mut Connection, name: &str, process: u32) -> wire::Result<()> {
    let began = Instant::now();
    while process != 0 && began.elapsed() < LEFT_MAX {
        match Slot::find(connection, name)? {
            Some(slot) if slot.active_pid == Some(process) => std::thread::sleep(LEFT_LOOK),
            _ => break,
        }
    }
    Ok(())
}

/// Drops the slot.
pub fn drop_slot(connection: &mut Connection, name: &str) -> wire::Result<()> {
    connection.execute(&format!("DROP_REPLICATION_SLOT {}", identifier(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_slot_is_decides_whether_it_can_be_read() {
        let good = json!({
            "slot_name": "s", "plugin": "pgoutput", "slot_type": "logical", "database": "shop", "active": false,
            "active_pid": null, "restart_lsn": "0/1", "confirmed_flush_lsn": "0/2", "wal_status": "reserved",
            "two_phase": false, "xmin": null, "something_new": 1,
        });
        for (change, expected) in [
            (json!({}), Ok(())),
            (json!({ "slot_type": "physical" }), Err(Unusable::Other("it is a physical slot".to_owned()))),
            (
                json!({ "plugin": "wal2json" }),
                Err(Unusable::Other("it is written by the plugin wal2json, not by pgoutput".to_owned())),
            ),
            (
                json!({ "database": "other" }),
                Err(Unusable::Other("it reads the database \"other\", not \"shop\"".to_owned())),
            ),
            (
                json!({ "two_phase": true }),
                Err(Unusable::Other("it sends transactions when they are prepared (two_phase)".to_owned())),
            ),
            (json!({ "wal_status": "lost" }), Err(Unusable::Lost("the log that it needs was removed".to_owned()))),
            (
                json!({ "invalidation_reason": "idle_timeout", "restart_lsn": null }),
                Err(Unusable::Lost("the server invalidated it (idle_timeout)".to_owned())),
            ),
            (json!({ "active": true, "active_pid": 77 }), Err(Unusable::Active(77))),
        ] {
            let mut row = good.clone();
            for (key, value) in change.as_object().expect("an object") {
                row[key] = value.clone();
            }
            let slot: Slot = serde_json::from_value(row).expect("a row");
            assert_eq!(slot.usable("shop"), expected, "{change}");
            assert_eq!(slot.confirmed().expect("a place"), Lsn(2));
        }
    }
}
