//! The server's catalogue, asked over a connection of its own while the stream runs on another.
//!
//! Invariant: an answer is read whole or refused by name. A connection that was cut while nobody asked is made anew, once.
//! Start at [`Catalogue::tables`].

use super::config::Options;
use super::decode::catalog::{self, CatalogError};
use super::decode::{Table, Types};
use super::failure;
use super::start;
use super::wire::{self, Connection, ResultSet};
use headwater_model::{Error, Result};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// A way to ask one server's catalogue.
pub struct Catalogue {
    options: Arc<Options>,
    host: usize,
    connection: Option<Connection>,
}

impl Catalogue {
    /// Of the server number `host`; it connects when it is asked first.
    pub fn new(options: Arc<Options>, host: usize) -> Self {
        Catalogue { options, host, connection: None }
    }

    /// Of the server at the other end of `connection`, seen by its transaction.
    pub fn over(options: Arc<Options>, host: usize, connection: Connection) -> Self {
        Catalogue { options, host, connection: Some(connection) }
    }

    /// The connection, once no more is asked.
    pub fn into_connection(self) -> Option<Connection> {
        self.connection
    }

    /// Every table that is captured, with its columns and indexes.
    pub fn tables(&mut self) -> Result<Vec<Table>> {
        let rows = self.ask(catalog::tables_sql())?;
        let mut tables = self.read(&rows, catalog::table)?;
        let filter = &self.options.filter;
        tables.retain(|table| filter.captures(&table.schema, &table.name));
        self.describe(&mut tables)?;
        Ok(tables)
    }

    /// One table; `None` when it is gone.
    pub fn table(&mut self, oid: u32) -> Result<Option<Table>> {
        let sql = format!("SELECT * FROM ({}) t WHERE t.oid = {oid}", catalog::tables_sql());
        let rows = self.ask(&sql)?;
        let mut tables = self.read(&rows, catalog::table)?;
        self.describe(&mut tables)?;
        Ok(tables.pop())
    }

    /// The tables that the publication shows, each as schema and name.
    pub fn published(&mut self) -> Result<BTreeSet<(String, String)>> {
        let sql = format!(
            "SELECT schemaname, tablename FROM pg_catalog.pg_publication_tables WHERE pubname = {}",
            wire::query::quoted(&self.options.publication)
        );
        let rows = self.ask(&sql)?.rows.into_iter();
        let pair = |row: Vec<Option<String>>| match <[Option<String>; 2]>::try_from(row) {
            Ok([Some(schema), Some(name)]) => Some((schema, name)),
            _ => None,
        };
        Ok(rows.filter_map(pair).collect())
    }

    /// Learns the types that `oids` name: those that are not known yet, and anew all that are not built in, whose labels
    /// and names may have changed; Debezium asks for none twice.
    pub fn learn(&mut self, types: &mut Types, oids: impl IntoIterator<Item = u32>) -> Result<()> {
        /// Numbers below this are given out by PostgreSQL itself.
        const FIRST_NORMAL_OID: u32 = 16_384;
        let oids: Vec<u32> = oids.into_iter().collect();
        let mut asked = types.missing(oids.iter().copied());
        if !self.options.as_debezium {
            asked.extend(oids.into_iter().filter(|oid| *oid >= FIRST_NORMAL_OID));
        }
        asked.sort_unstable();
        asked.dedup();
        if asked.is_empty() {
            return Ok(());
        }
        let rows = self.ask(&catalog::types_sql(&asked))?;
        types.extend(self.read(&rows, catalog::pg_type)?);
        Ok(())
    }

    /// What is known before the first table: how the server prints money; and where the labels of enumerations stay as they
    /// are now, those.
    pub fn types(&mut self) -> Result<Types> {
        let mut types = Types::default();
        let result = self.ask(catalog::MONEY_SQL)?;
        types.learn_money(result.first_text().unwrap_or_default());
        if self.options.as_debezium {
            let result = self.ask("SELECT oid FROM pg_catalog.pg_type WHERE typtype = 'e'")?;
            let number = |row: &Vec<Option<String>>| row.first()?.as_deref()?.parse().ok();
            let enums: Vec<u32> = result.rows.iter().filter_map(number).collect();
            self.learn(&mut types, enums)?;
        }
        Ok(types)
    }

    fn describe(&mut self, tables: &mut [Table]) -> Result<()> {
        let places: HashMap<u32, usize> = tables.iter().enumerate().map(|(place, table)| (table.oid, place)).collect();
        let oids: Vec<u32> = tables.iter().map(|table| table.oid).collect();
        if oids.is_empty() {
            return Ok(());
        }
        let columns = self.ask(&catalog::columns_sql(&oids))?;
        for (oid, column) in self.read(&columns, catalog::column)? {
            if let Some(&place) = places.get(&oid) {
                tables[place].columns.push(column);
            }
        }
        let indexes = self.ask(&catalog::indexes_sql(&oids))?;
        for (oid, index) in self.read(&indexes, catalog::index)? {
            if let Some(&place) = places.get(&oid) {
                tables[place].indexes.push(index);
            }
        }
        Ok(())
    }

    fn read<T>(
        &self,
        rows: &ResultSet,
        one: impl Fn(&catalog::Fields<'_>) -> Result<T, CatalogError>,
    ) -> Result<Vec<T>> {
        let rows = rows.rows.iter().map(|row| {
            let fields: Vec<Option<&str>> = row.iter().map(Option::as_deref).collect();
            one(&fields)
        });
        rows.collect::<Result<_, _>>()
            .map_err(|error| Error::stop(format!("source {}", self.options.name)).source(error))
    }

    fn ask(&mut self, sql: &str) -> Result<ResultSet> {
        let failed = |error| failure::of_connection(&self.options.name, error);
        if let Some(connection) = &mut self.connection {
            match connection.query(sql) {
                Err(wire::Error::Io { .. } | wire::Error::Closed { .. }) => self.connection = None,
                answer => return answer.map_err(failed),
            }
        }
        let connection = start::connect_session(&self.options, self.host)?;
        self.connection.insert(connection).query(sql).map_err(failed)
    }
}
