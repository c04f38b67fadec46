//! `check`: what a server lacks before its log can be followed safely, each with the exact statement that mends it.
//!
//! Invariant: it only asks; nothing is changed on the server. Start at [`check`].

use super::config::{Options, PublicationMode, SnapshotMode};
use super::publication;
use super::server::Server;
use super::slot::Slot;
use super::start;
use super::wire::query::{identifier, quoted};
use super::wire::{self, Connection, ResultSet};
use crate::{Finding, Severity};
use std::collections::BTreeSet;

/// Log that a slot nobody reads may hold before it is worth a word.
const IDLE_WAL_BYTES: u64 = 1 << 30;

/// The least log that a server should keep for a slot: below this a short pause of ours may lose it.
const KEPT_WAL_MB_MIN: i64 = 1_024;

/// Tables that are named in one finding; the rest is counted.
const NAMED_MAX: usize = 20;

/// Connects to every server of the configuration and lists what was found.
pub fn check(options: &Options) -> Vec<Finding> {
    let mut findings = Vec::new();
    for host in 0..options.connection.hosts.len() {
        let mut only = options.clone();
        only.connection.hosts = vec![options.connection.hosts[host].clone()];
        let before = findings.len();
        check_server(&only, &mut findings);
        if options.connection.hosts.len() > 1 {
            for finding in &mut findings[before..] {
                finding.what = format!("{}: {}", only.connection.hosts[0], finding.what);
            }
        }
    }
    findings
}

fn check_server(options: &Options, findings: &mut Vec<Finding>) {
    let found = start::connect(options, &mut 0);
    let (mut connection, server) = match found {
        Ok(found) => found,
        Err(error) => return fault(findings, error.to_string(), admission(options)),
    };
    if let Err(error) = start::require(options, &server) {
        let mend = error.hint_text().unwrap_or_default().to_owned();
        findings.push(Finding { severity: Severity::Error, what: error.message().to_owned(), mend });
    }
    for look in [slots, senders, kept, idle, role, tables, published] {
        if let Err(error) = look(options, &mut connection, &server, findings) {
            warn(findings, format!("something could not be asked: {error}"), "");
        }
    }
    connection.close();
}

/// What lets the role in that a server refuses.
fn admission(options: &Options) -> String {
    let wire = wire::Options { role: wire::Role::Replication, ..options.connection.clone() };
    let Err(refused) = Connection::connect(&wire, 0) else { return String::new() };
    let role = identifier(&wire.user);
    let database = identifier(wire.database.as_deref().unwrap_or(&wire.user));
    let Some(said) = refused.server() else { return String::new() };
    match &*said.sqlstate {
        "42501" if said.message.contains("for database") => format!("GRANT CONNECT ON DATABASE {database} TO {role};"),
        "42501" => format!("ALTER ROLE {role} REPLICATION;"),
        "28P01" => format!("ALTER ROLE {role} PASSWORD '…'; -- or give the right one in `url`"),
        "3D000" => format!("CREATE DATABASE {database}; -- or name another one in `url`"),
        _ => String::new(),
    }
}

fn warn(findings: &mut Vec<Finding>, what: impl Into<String>, mend: impl Into<String>) {
    findings.push(Finding { severity: Severity::Warning, what: what.into(), mend: mend.into() });
}

fn fault(findings: &mut Vec<Finding>, what: impl Into<String>, mend: impl Into<String>) {
    findings.push(Finding { severity: Severity::Error, what: what.into(), mend: mend.into() });
}

fn number(result: &ResultSet) -> i64 {
    result.first_text().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// A setting that is a number.
fn setting(server: &Server, name: &str) -> i64 {
    server.setting(name).parse().unwrap_or(-1)
}

/// The slot itself, and whether there is room for one.
fn slots(
    options: &Options,
    connection: &mut Connection,
    server: &Server,
    findings: &mut Vec<Finding>,
) -> wire::Result<()> {
    if let Some(slot) = Slot::find(connection, &options.slot)? {
        match slot.usable(&server.database) {
            Ok(()) | Err(super::slot::Unusable::Active(_)) => {}
            Err(super::slot::Unusable::Lost(why)) => fault(
                findings,
                format!("the replication slot {} cannot be read any more: {why}", options.slot),
                format!("SELECT pg_drop_replication_slot({}); -- and set snapshot: when_needed", quoted(&options.slot)),
            ),
            Err(super::slot::Unusable::Other(why)) => {
                fault(
                    findings,
                    format!("the replication slot {} is not ours: {why}", options.slot),
                    format!(
                        "SELECT pg_drop_replication_slot({}); -- if nobody needs it; or choose another `slot`",
                        quoted(&options.slot)
                    ),
                );
            }
        }
        return Ok(());
    }
    let used = number(&connection.query("SELECT count(*) FROM pg_catalog.pg_replication_slots")?);
    let most = setting(server, "max_replication_slots");
    if used >= most {
        fault(
            findings,
            format!("all {most} replication slots are in use"),
            format!("ALTER SYSTEM SET max_replication_slots = {}; -- and restart the server", most + 5),
        );
    } else if used + 1 == most && options.snapshot != SnapshotMode::Never {
        warn(
            findings,
            "one replication slot is left, which the source takes; a later snapshot needs another for a while",
            format!("ALTER SYSTEM SET max_replication_slots = {}; -- and restart the server", most + 5),
        );
    }
    Ok(())
}

fn senders(_: &Options, connection: &mut Connection, server: &Server, findings: &mut Vec<Finding>) -> wire::Result<()> {
    // One of them is the connection that asks.
    let used = number(&connection.query("SELECT count(*) FROM pg_catalog.pg_stat_replication")?);
    let most = setting(server, "max_wal_senders");
    if used + 1 >= most {
        warn(
            findings,
            format!("{used} of {most} replication connections are in use; a snapshot takes one more for a while"),
            format!("ALTER SYSTEM SET max_wal_senders = {}; -- and restart the server", most + 5),
        );
    }
    Ok(())
}

/// How much log the server keeps for a slot that is not read.
fn kept(_: &Options, _: &mut Connection, server: &Server, findings: &mut Vec<Finding>) -> wire::Result<()> {
    match setting(server, "max_slot_wal_keep_size") {
        // Before version 13 there is no such setting, which means the same.
        -1 => warn(
            findings,
            "max_slot_wal_keep_size is unlimited: a source that stays away fills the server's disk",
            "ALTER SYSTEM SET max_slot_wal_keep_size = '50GB'; SELECT pg_reload_conf();",
        ),
        mb if mb < KEPT_WAL_MB_MIN => warn(
            findings,
            format!("max_slot_wal_keep_size is {mb} MB: a short pause of this source could not be made up for"),
            "ALTER SYSTEM SET max_slot_wal_keep_size = '50GB'; SELECT pg_reload_conf();",
        ),
        _ => {}
    }
    Ok(())
}

/// Slots that nobody reads, and that hold much log.
fn idle(options: &Options, connection: &mut Connection, _: &Server, findings: &mut Vec<Finding>) -> wire::Result<()> {
    let result = connection.query(&format!(
        "SELECT slot_name AS name, pg_catalog.pg_wal_lsn_diff(CASE WHEN pg_catalog.pg_is_in_recovery() THEN \
         pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_lsn() END, restart_lsn)::bigint AS held FROM \
         pg_catalog.pg_replication_slots WHERE NOT active AND restart_lsn IS NOT NULL AND slot_name <> {}",
        quoted(&options.slot)
    ))?;
    for row in 0..result.rows.len() {
        let (Some(name), Some(held)) = (result.text(row, "name"), result.text(row, "held")) else { continue };
        let held = held.parse::<u64>().unwrap_or(0);
        if held >= IDLE_WAL_BYTES {
            warn(
                findings,
                format!("the replication slot {name}, which nobody reads, holds {} MB of log", held >> 20),
                format!("SELECT pg_drop_replication_slot({}); -- if nobody needs it", quoted(name)),
            );
        }
    }
    Ok(())
}

/// What the role may do.
fn role(
    options: &Options,
    connection: &mut Connection,
    server: &Server,
    findings: &mut Vec<Finding>,
) -> wire::Result<()> {
    let result = connection.query(
        "SELECT rolsuper, rolreplication, pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE') AS creates \
         FROM pg_catalog.pg_roles WHERE rolname = current_user",
    )?;
    let flag = |name: &str| result.text(0, name) == Some("t");
    let role = identifier(&server.role);
    // Some managed services let members of a role of theirs do it: that we are connected for replication is proof enough.
    if !flag("rolsuper") && !flag("rolreplication") {
        warn(
            findings,
            format!("the role {role} has not the attribute REPLICATION; some managed services do without"),
            format!("ALTER ROLE {role} REPLICATION;"),
        );
    }
    let host_is_writable = !server.in_recovery;
    let exists =
        publication::exists(options, connection, server).map_err(|error| wire::Error::Invalid(error.to_string()))?;
    let name = identifier(&options.publication);
    match options.publication_create {
        _ if exists => {}
        PublicationMode::Disabled => {
            fault(
                findings,
                format!("the publication {name} does not exist"),
                format!("CREATE PUBLICATION {name} FOR ALL TABLES;"),
            );
        }
        _ if !host_is_writable => fault(
            findings,
            format!("the publication {name} does not exist, and cannot be created on a standby"),
            format!("CREATE PUBLICATION {name} FOR ALL TABLES; -- on the primary"),
        ),
        PublicationMode::AllTables if !flag("rolsuper") => fault(
            findings,
            format!("the publication {name} does not exist, and only a superuser may create it for all tables"),
            format!("CREATE PUBLICATION {name} FOR ALL TABLES; -- as a superuser; or set publication_create: filtered"),
        ),
        _ if !flag("rolsuper") && !flag("creates") => fault(
            findings,
            format!("the publication {name} does not exist, and the role may not create it"),
            format!("GRANT CREATE ON DATABASE {} TO {role};", identifier(&server.database)),
        ),
        _ => {}
    }
    Ok(())
}

/// Captured tables with which something is wrong, by what it is.
#[derive(Default)]
struct Tables {
    captured: usize,
    /// Schemas that may not be used.
    closed: BTreeSet<String>,
    /// May not be read.
    denied: Vec<String>,
    /// Row level security may hide rows.
    hidden: Vec<String>,
    /// Have neither a key nor a replica identity.
    nameless: Vec<String>,
    /// Have an identity by which a row's key is not known.
    keyless: Vec<String>,
    /// Belong to another role.
    foreign: Vec<String>,
}

impl Tables {
    fn find(options: &Options, connection: &mut Connection) -> wire::Result<Tables> {
        let result = connection.query(
            "SELECT n.nspname AS schema, c.relname AS name, c.relreplident AS identity, \
             pg_catalog.has_schema_privilege(n.oid, 'USAGE') AS usable, \
             pg_catalog.has_table_privilege(c.oid, 'SELECT') AS readable, pg_catalog.pg_has_role(c.relowner, 'USAGE') AS owned, \
             c.relrowsecurity AND NOT (SELECT rolsuper OR rolbypassrls FROM pg_catalog.pg_roles WHERE rolname = current_user) \
             AND (c.relforcerowsecurity OR NOT pg_catalog.pg_has_role(c.relowner, 'USAGE')) AS hides, \
             EXISTS (SELECT 1 FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisprimary) AS keyed, \
             EXISTS (SELECT 1 FROM pg_catalog.pg_index p JOIN pg_catalog.pg_index i ON i.indrelid = p.indrelid \
             WHERE p.indrelid = c.oid AND p.indisprimary AND i.indisreplident \
             AND NOT p.indkey::int2[] <@ i.indkey::int2[]) AS keyless \
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' ORDER BY 1, 2",
        )?;
        let mut tables = Tables::default();
        for row in 0..result.rows.len() {
            let (Some(schema), Some(name)) = (result.text(row, "schema"), result.text(row, "name")) else { continue };
            if !options.filter.captures(schema, name) {
                continue;
            }
            tables.captured += 1;
            let table = format!("{}.{}", identifier(schema), identifier(name));
            let flag = |column: &str| result.text(row, column) == Some("t");
            let is_nameless = match result.text(row, "identity") {
                Some("n") => true,
                Some("d") => !flag("keyed"),
                _ => false,
            };
            if !flag("usable") {
                tables.closed.insert(identifier(schema));
            }
            for (is_so, list) in [
                (!flag("usable") || !flag("readable"), &mut tables.denied),
                (flag("hides"), &mut tables.hidden),
                (is_nameless, &mut tables.nameless),
                (flag("keyless"), &mut tables.keyless),
                (!flag("owned"), &mut tables.foreign),
            ] {
                if is_so {
                    list.push(table.clone());
                }
            }
        }
        Ok(tables)
    }
}

/// What may not be read or published, and what the log does not tell enough of.
fn tables(
    options: &Options,
    connection: &mut Connection,
    server: &Server,
    findings: &mut Vec<Finding>,
) -> wire::Result<()> {
    let Tables { captured, closed, denied, hidden, nameless, keyless, foreign } = Tables::find(options, connection)?;
    let role = identifier(&server.role);
    if captured == 0 {
        warn(
            findings,
            format!("no table that is captured exists in the database {} yet", identifier(&server.database)),
            "compare the names under `tables:` with \\dt *.*",
        );
    }
    if !denied.is_empty() && options.snapshot != SnapshotMode::Never {
        let what = format!("the role may not read {}: rows that exist already would be missed", some(&denied));
        let usage: String = closed.iter().map(|schema| format!("GRANT USAGE ON SCHEMA {schema} TO {role}; ")).collect();
        fault(findings, what, format!("{usage}GRANT SELECT ON {} TO {role};", denied.join(", ")));
    }
    if !hidden.is_empty() && options.snapshot != SnapshotMode::Never {
        let what = format!("row level security may hide rows of {}", some(&hidden));
        fault(findings, what, format!("ALTER ROLE {role} BYPASSRLS;"));
    }
    if !foreign.is_empty() && options.publication_create == PublicationMode::Filtered {
        let is_there = publication::exists(options, connection, server)
            .map_err(|error| wire::Error::Invalid(error.to_string()))?;
        if !is_there {
            let name = identifier(&options.publication);
            let what = format!("the publication {name} does not exist, and the role does not own {}", some(&foreign));
            let mend = format!("CREATE PUBLICATION {name} FOR TABLE {}; -- as their owner", foreign.join(", "));
            fault(findings, what, mend);
        }
    }
    let identity = |tables: &[String], identity: &str| -> String {
        tables.iter().map(|table| format!("ALTER TABLE {table} REPLICA IDENTITY {identity}; ")).collect()
    };
    if !nameless.is_empty() {
        let what = "no primary key and no replica identity, so the server refuses updates and deletes";
        let mend = format!("{}-- or add primary keys", identity(&nameless, "FULL"));
        warn(findings, format!("{}: {what}", some(&nameless)), mend);
    }
    if !keyless.is_empty() {
        let what =
            "the replica identity is an index without the primary key, so changed and deleted rows cannot be found";
        warn(findings, format!("{}: {what}", some(&keyless)), identity(&keyless, "DEFAULT").trim_end());
    }
    Ok(())
}

/// Captured tables that the publication does not show.
fn published(
    options: &Options,
    connection: &mut Connection,
    _: &Server,
    findings: &mut Vec<Finding>,
) -> wire::Result<()> {
    let result = connection.query(&format!(
        "SELECT n.nspname AS schema, c.relname AS name FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND c.relpersistence = 'p' \
         AND NOT c.relispartition AND EXISTS (SELECT 1 FROM pg_catalog.pg_publication WHERE pubname = {0}) \
         AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_publication_tables t WHERE t.pubname = {0} \
         AND t.schemaname = n.nspname AND t.tablename = c.relname) ORDER BY 1, 2",
        quoted(&options.publication)
    ))?;
    let name = |row| Some((result.text(row, "schema")?, result.text(row, "name")?));
    let absent: Vec<String> = (0..result.rows.len())
        .filter_map(name)
        .filter(|(schema, name)| options.filter.captures(schema, name))
        .map(|(schema, name)| format!("{}.{}", identifier(schema), identifier(name)))
        .collect();
    // At the next start they are added.
    if !absent.is_empty() && options.publication_create != PublicationMode::Filtered {
        let publication = identifier(&options.publication);
        let what = format!("the publication {publication} does not show {}: their changes never come", some(&absent));
        warn(findings, what, format!("ALTER PUBLICATION {publication} ADD TABLE {};", absent.join(", ")));
    }
    Ok(())
}

/// The first of many names, and how many more there are.
fn some(names: &[String]) -> String {
    match names.len().checked_sub(NAMED_MAX) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..NAMED_MAX].join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<String> = (0..25).map(|number| format!("t{number}")).collect();
        assert!(some(&names).ends_with("t19 and 5 more"));
        assert_eq!(some(&names[..2]), "t0, t1");
    }
}
