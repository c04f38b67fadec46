//! Removes from the server what a source keeps there: its replication slot, and its publication where that is asked for.
//!
//! Invariant: a slot that somebody reads is left alone. Doing it twice does nothing more. Start at [`detach`].

use super::config::Options;
use super::failure;
use super::slot::{Slot, Unusable};
use super::start;
use super::wire::query::{identifier, quoted};
use headwater_model::{Error, Result};

/// Drops the slot, and the publication where `all` says so; answers what was there.
pub fn detach(options: &Options, all: bool) -> Result<Vec<String>> {
    let failed = |error| failure::of_connection(&options.name, error);
    let mut connection = start::connect_session(options, 0)?;
    let mut removed = Vec::new();
    if let Some(slot) = Slot::find(&mut connection, &options.slot).map_err(failed)? {
        if let Some(process) = slot.active_pid {
            return Err(Error::stop(format!("the replication slot {} is in use by process {process}", options.slot))
                .hint("Stop the Headwater that reads it, or take the source out of its configuration, first."));
        }
        let database = slot.database.clone().unwrap_or_default();
        if let Err(Unusable::Other(what)) = slot.usable(&database)
            && !slot.two_phase
        {
            return Err(Error::stop(format!("the replication slot {} is not ours: {what}", options.slot))
                .hint("Whoever made it knows what it is for; name our own with `slot`."));
        }
        connection
            .execute(&format!("SELECT pg_catalog.pg_drop_replication_slot({})", quoted(&options.slot)))
            .map_err(failed)?;
        removed.push(format!("replication slot {}", options.slot));
    }
    if all {
        let sql = format!("SELECT 1 FROM pg_catalog.pg_publication WHERE pubname = {}", quoted(&options.publication));
        if connection.query(&sql).map_err(failed)?.first_text().is_some() {
            connection.execute(&format!("DROP PUBLICATION {}", identifier(&options.publication))).map_err(failed)?;
            removed.push(format!("publication {}", options.publication));
        }
    }
    connection.close();
    Ok(removed)
}
