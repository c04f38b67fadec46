//! Replica identities that tables are given at the start: what of an old row the log carries.
//!
//! Invariant: a table that has the identity already is left alone, and one that two patterns choose is nobody's. Start at
//! [`ensure`].

use super::config::{ConfigError, Options, ReplicaIdentity};
use super::decode::{Identity, Table};
use super::failure;
use super::wire::Connection;
use super::wire::query::identifier;
use crate::filter::{Choice, Filter};
use headwater_model::{Error, Result};

/// An identity that some tables are to have.
#[derive(Clone, Debug)]
pub struct Wanted {
    tables: Filter,
    identity: Target,
}

/// The identity itself.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Default,
    Full,
    Nothing,
    /// That of the unique index with this name.
    Index(String),
}

impl Wanted {
    /// Reads one entry of the configuration.
    pub fn read(entry: &ReplicaIdentity) -> Result<Wanted, ConfigError> {
        const KEY: &str = "replica_identities";
        let tables = std::slice::from_ref(&entry.tables);
        let tables = Filter::new(Choice { tables, ..Choice::default() }, super::config::SYSTEM_SCHEMAS)
            .map_err(|error| error.under(KEY))?;
        let identity = Target::read(&entry.identity).ok_or_else(|| ConfigError::Value {
            key: KEY,
            seen: format!("{:?}", entry.identity),
            allowed: "an identity is default, full, nothing, or index and the name of an index",
        })?;
        Ok(Wanted { tables, identity })
    }
}

impl Target {
    fn read(text: &str) -> Option<Target> {
        let mut words = text.trim().splitn(2, char::is_whitespace);
        let (word, rest) = (words.next()?.to_ascii_lowercase(), words.next().map(str::trim));
        Some(match (&*word, rest) {
            ("default", None) => Target::Default,
            ("full", None) => Target::Full,
            ("nothing", None) => Target::Nothing,
            ("index", Some(name)) if !name.is_empty() => Target::Index(name.to_owned()),
            _ => return None,
        })
    }

    fn is_that_of(&self, table: &Table) -> bool {
        match self {
            Target::Default => table.identity == Identity::Default,
            Target::Full => table.identity == Identity::Full,
            Target::Nothing => table.identity == Identity::Nothing,
            Target::Index(name) => {
                table.identity == Identity::Index
                    && table.indexes.iter().any(|index| index.is_replica_identity && index.name == *name)
            }
        }
    }

    fn statement(&self, table: &Table) -> String {
        let identity = match self {
            Target::Default => "DEFAULT".to_owned(),
            Target::Full => "FULL".to_owned(),
            Target::Nothing => "NOTHING".to_owned(),
            Target::Index(name) => format!("USING INDEX {}", identifier(name)),
        };
        format!("ALTER TABLE {}.{} REPLICA IDENTITY {identity}", identifier(&table.schema), identifier(&table.name))
    }
}

/// Gives `tables`, which are those that are captured, the identities that the configuration wants.
pub fn ensure(options: &Options, connection: &mut Connection, tables: &[Table]) -> Result<()> {
    for table in tables {
        let mut wanted =
            options.replica_identities.iter().filter(|wanted| wanted.tables.captures(&table.schema, &table.name));
        let Some(first) = wanted.next() else { continue };
        if wanted.any(|other| other.identity != first.identity) {
            return Err(Error::stop(format!(
                "source {}: `replica_identities` gives {} two identities",
                options.name,
                table.full_name()
            ))
            .hint("Choose the tables so that each is named once."));
        }
        if first.identity.is_that_of(table) {
            continue;
        }
        let sql = first.identity.statement(table);
        tracing::info!(source = options.name, table = table.full_name(), "setting its replica identity");
        connection.execute(&sql).map_err(|error| {
            failure::of_connection(&options.name, error).hint(format!(
                "The owner of the table may run it: {sql}; then the source finds it done. Or take the table out of \
                 `replica_identities`."
            ))
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_read_as_it_is_written() {
        for (text, expected) in [
            ("FULL", Some(Target::Full)),
            (" default ", Some(Target::Default)),
            ("Nothing", Some(Target::Nothing)),
            ("INDEX Items_C", Some(Target::Index("Items_C".to_owned()))),
            ("index  a b", Some(Target::Index("a b".to_owned()))),
            ("index", None),
            ("full house", None),
            ("", None),
        ] {
            assert_eq!(Target::read(text), expected, "{text:?}");
        }
    }
}
