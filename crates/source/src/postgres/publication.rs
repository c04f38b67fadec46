//! The publication: which tables' changes the server sends.
//!
//! Invariant: what is there is never narrowed; it is created, or tables are added to it, only as the configuration allows.
//! Start at [`ensure`].

use super::config::{Options, PublicationMode};
use super::decode::Table;
use super::failure;
use super::server::{Server, since};
use super::wire::Connection;
use super::wire::query::{identifier, quoted};
use headwater_model::{Error, Result};
use std::collections::BTreeSet;

/// A row of `pg_publication`.
struct Publication {
    is_for_all: bool,
    via_root: bool,
}

/// Makes sure that the publication is there. `tables` are those that are captured.
pub fn ensure(options: &Options, connection: &mut Connection, server: &Server, tables: &[Table]) -> Result<()> {
    let found = find(options, connection, server)?;
    if let Some(publication) = &found {
        if publication.via_root != options.publish_via_partition_root && options.publish_via_partition_root {
            tracing::warn!(
                source = options.name,
                publication = options.publication,
                "the publication shows partitions by themselves, and is left as it is"
            );
        }
        if publication.is_for_all || options.publication_create != PublicationMode::Filtered {
            return Ok(());
        }
    }
    match (options.publication_create, found) {
        (PublicationMode::Disabled, _) => Err(missing(options)),
        (PublicationMode::Filtered, Some(_)) => {
            let listed = listed(options, connection)?;
            let absent: Vec<&Table> = publishable(tables)
                .filter(|table| !listed.contains(&(table.schema.clone(), table.name.clone())))
                .collect();
            match absent.is_empty() {
                true => Ok(()),
                false => {
                    let sql =
                        format!("ALTER PUBLICATION {} ADD TABLE {}", identifier(&options.publication), names(absent));
                    run(options, connection, &sql)
                }
            }
        }
        (mode, _) => {
            let mut sql = format!("CREATE PUBLICATION {}", identifier(&options.publication));
            let listed: Vec<&Table> = publishable(tables).collect();
            match mode {
                PublicationMode::AllTables => sql.push_str(" FOR ALL TABLES"),
                PublicationMode::Filtered if !listed.is_empty() => {
                    sql.push_str(&format!(" FOR TABLE {}", names(listed)));
                }
                _ => {}
            }
            if options.publish_via_partition_root && server.version >= since::VIA_ROOT {
                sql.push_str(" WITH (publish_via_partition_root = true)");
            }
            run(options, connection, &sql)
        }
    }
}

/// Whether it is there at all.
pub fn exists(options: &Options, connection: &mut Connection, server: &Server) -> Result<bool> {
    Ok(find(options, connection, server)?.is_some())
}

fn find(options: &Options, connection: &mut Connection, server: &Server) -> Result<Option<Publication>> {
    let via_root = if server.version >= since::VIA_ROOT { "pubviaroot" } else { "false" };
    let sql = format!(
        "SELECT puballtables AS is_for_all, {via_root} AS via_root FROM pg_catalog.pg_publication WHERE pubname = {}",
        quoted(&options.publication)
    );
    let result = connection.query(&sql).map_err(|error| failure::of_connection(&options.name, error))?;
    let flag = |name: &str| result.text(0, name) == Some("t");
    Ok((!result.rows.is_empty()).then(|| Publication { is_for_all: flag("is_for_all"), via_root: flag("via_root") }))
}

/// The tables that were put into it by name.
fn listed(options: &Options, connection: &mut Connection) -> Result<BTreeSet<(String, String)>> {
    let sql = format!(
        "SELECT n.nspname AS schema, c.relname AS name FROM pg_catalog.pg_publication p \
         JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid JOIN pg_catalog.pg_class c ON c.oid = r.prrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE p.pubname = {}",
        quoted(&options.publication)
    );
    let result = connection.query(&sql).map_err(|error| failure::of_connection(&options.name, error))?;
    let pair = |row| Some((result.text(row, "schema")?.to_owned(), result.text(row, "name")?.to_owned()));
    Ok((0..result.rows.len()).filter_map(pair).collect())
}

/// Tables that a publication takes: an unlogged one has no changes to publish.
fn publishable(tables: &[Table]) -> impl Iterator<Item = &Table> {
    tables.iter().filter(|table| !table.is_unlogged)
}

fn names<'t>(tables: impl IntoIterator<Item = &'t Table>) -> String {
    let name = |table: &Table| format!("{}.{}", identifier(&table.schema), identifier(&table.name));
    let names: Vec<String> = tables.into_iter().map(name).collect();
    names.join(", ")
}

fn run(options: &Options, connection: &mut Connection, sql: &str) -> Result<()> {
    // SQLSTATEs: insufficient privilege; read-only transaction, as on a standby; duplicate object, made by somebody else in
    // this moment.
    match connection.execute(sql) {
        Ok(()) => Ok(()),
        Err(error) if error.is_sqlstate("42710") => Ok(()),
        Err(error) if error.is_sqlstate("42501") => Err(Error::retry_after(
            failure::REFUSED_RETRY,
            format!("source {}: the role may not set up the publication {}", options.name, options.publication),
        )
        .source(error)
        .hint(format!(
            "Let a superuser, or the owner of the tables, run: {sql}; or choose the tables by `publication_create: filtered`."
        ))),
        Err(error) if error.is_sqlstate("25006") => Err(Error::stop(format!(
            "source {}: the publication {} cannot be created on a standby",
            options.name, options.publication
        ))
        .hint(format!("Run on the primary: {sql}"))),
        Err(error) => Err(failure::of_connection(&options.name, error)),
    }
}

/// The publication is not there, and may not be created.
pub fn missing(options: &Options) -> Error {
    Error::stop(format!("source {}: the publication {} does not exist", options.name, options.publication)).hint(format!(
        "Run: CREATE PUBLICATION {} FOR ALL TABLES; or let it be created by `publication_create`. What was written while it \
         was away was not published: take a new snapshot then (`headwater snapshot`).",
        identifier(&options.publication)
    ))
}
