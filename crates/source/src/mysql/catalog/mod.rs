//! The tables of a server as they are at one position of its log: loaded once, then kept in step by the DDL of the log.
//!
//! Pure: statements come in as text, results of queries as rows. Invariant: an entry is either what the server has at
//! this position or absent; a statement that is not understood removes the tables that it names and is an error.
//! [`TableDef::check`] holds every entry against the log's own table maps. Start at [`Catalog::apply`].

mod alter;
mod change;
mod charset;
mod check;
mod column;
mod create;
mod cursor;
mod default;
mod from_map;
mod fuzz;
mod lexer;
mod native;
mod server;
mod statement;
mod table;
mod types;

#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod statement_tests;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use fuzz::fuzz_ddl;
pub use native::{Native, Sign};
pub use server::{Server, Session, sql_mode};
pub use table::{ColumnDef, Generated, Key, KeyPart, Period, TableDef};

use cursor::WrittenName;
use statement::{Action, CreateBody, CreateTable, Statement};
use types::Context;

/// A table's full name. Ordered by database, then table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableName {
    /// The database.
    pub database: String,
    /// The table.
    pub table: String,
}

/// What a statement did to one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableEvent {
    /// It is new; if there was one of this name, its rows are gone.
    Created(TableName),
    /// Its columns, keys or defaults are others.
    Altered(TableName),
    /// Its name is another.
    Renamed {
        /// Its old name.
        from: TableName,
        /// Its new name.
        to: TableName,
    },
    /// It is gone.
    Dropped(TableName),
    /// Its rows are gone.
    Truncated(TableName),
    /// Rows came or went with a partition or a tablespace, and the log has no events for them.
    RowsMoved(TableName),
    /// It was changed, but the catalog has no such table. (A view that was renamed is reported so as well.)
    Unknown(TableName),
}

/// A statement about tables that could not be followed. The catalog has forgotten the tables that it names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot follow {statement}{}: expected {expected} at byte {position} of the statement that begins \"{start}\"",
    Listed(.tables)
)]
pub struct DdlError {
    /// Such as `ALTER TABLE`.
    pub statement: &'static str,
    /// The tables named up to the point of failure.
    pub tables: Vec<TableName>,
    /// What would have been understood.
    pub expected: &'static str,
    /// Where, in bytes.
    pub position: usize,
    /// The first characters of the statement, [`START_CHARACTERS`] at most.
    pub start: String,
}

/// Characters of a statement that an error may show: later ones may hold values.
const START_CHARACTERS: usize = 80;

struct Listed<'a>(&'a [TableName]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, table) in self.0.iter().enumerate() {
            write!(f, "{} {table}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.database, self.table)
    }
}

/// What the catalog has to know of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Family and version.
    pub server: Server,
    /// `lower_case_table_names` is not 0: names of databases and tables are kept in lower case.
    pub lower_case: bool,
    /// `character_set_server`.
    pub charset: String,
}

/// The tables of a server, and the default character sets of its databases.
#[derive(Clone, Debug)]
pub struct Catalog {
    options: Options,
    databases: BTreeMap<String, String>,
    tables: BTreeMap<TableName, TableDef>,
}

impl Catalog {
    /// A catalog without tables.
    pub fn new(options: Options) -> Self {
        Catalog { options, databases: BTreeMap::new(), tables: BTreeMap::new() }
    }

    /// Notes a database's default character set, from
    /// `SELECT SCHEMA_NAME, DEFAULT_CHARACTER_SET_NAME FROM information_schema.SCHEMATA`.
    pub fn insert_database(&mut self, database: &str, charset: &str) {
        let database = self.cased(database);
        self.databases.insert(database, charset::canonical(charset));
    }

    /// Every database whose default character set is known, with it.
    pub fn databases(&self) -> impl Iterator<Item = (&str, &str)> {
        self.databases.iter().map(|(name, charset)| (name.as_str(), charset.as_str()))
    }

    /// Adds or replaces a table, as when it is read back from storage.
    pub fn insert(&mut self, def: TableDef) {
        let name = TableName { database: self.cased(&def.database), table: self.cased(&def.table) };
        self.tables.insert(name, def);
    }

    /// Adds or replaces a table of `database` from what `SHOW CREATE TABLE` answers (its second column), read under
    /// `session`, whose `sql_mode` is that of the connection.
    ///
    /// # Errors
    /// When the text is not a CREATE TABLE that can be understood.
    pub fn insert_show_create(&mut self, session: &Session<'_>, sql: &str) -> Result<TableName, DdlError> {
        // SHOW CREATE prints NULL and NOT NULL of every TIMESTAMP.
        let session = Session { implicit_timestamps: false, ..*session };
        let events = self.apply(&session, sql)?;
        match events.into_iter().next() {
            Some(TableEvent::Created(name)) => Ok(name),
            _ => Err(self.error("SHOW CREATE TABLE", Vec::new(), "CREATE TABLE", 0, sql)),
        }
    }

    /// The table of this name.
    pub fn table(&self, database: &str, table: &str) -> Option<&TableDef> {
        self.tables.get(&TableName { database: self.cased(database), table: self.cased(table) })
    }

    /// Every table, by database and name.
    pub fn tables(&self) -> impl Iterator<Item = (&TableName, &TableDef)> {
        self.tables.iter()
    }

    /// Follows one statement of the log. A statement that is not about tables or databases gives no events.
    ///
    /// # Errors
    /// When the statement is about tables and is not understood; the tables that it names are forgotten then.
    pub fn apply(&mut self, session: &Session<'_>, sql: &str) -> Result<Vec<TableEvent>, DdlError> {
        let context = Context { server: self.options.server, session };
        let failed = match statement::parse(sql, context) {
            Ok(statement) => match self.execute(session, statement) {
                Ok(events) => return Ok(events),
                Err((tables, expected)) => {
                    let kind = statement::kind(sql, lexer::Dialect::new(self.options.server, session));
                    (kind.unwrap_or("a statement"), tables, expected, 0)
                }
            },
            Err(failure) => {
                let tables = failure.tables.into_iter().map(|table| self.full_name(session, table)).collect();
                (failure.kind, tables, failure.error.expected, failure.error.position)
            }
        };
        let (kind, tables, expected, position) = failed;
        for table in &tables {
            self.tables.remove(table);
        }
        Err(self.error(kind, tables, expected, position, sql))
    }

    fn error(
        &self,
        statement: &'static str,
        tables: Vec<TableName>,
        expected: &'static str,
        position: usize,
        sql: &str,
    ) -> DdlError {
        DdlError { statement, tables, expected, position, start: sql.chars().take(START_CHARACTERS).collect() }
    }

    fn execute(&mut self, session: &Session<'_>, statement: Statement) -> Executed {
        match statement {
            Statement::NotTables => Ok(Vec::new()),
            Statement::CreateTable(create) => self.create_table(session, create),
            Statement::AlterTable { table, actions } => self.alter_table(session, table, actions),
            Statement::RenameTables(renames) => {
                let mut events = Vec::new();
                for (from, to) in renames {
                    let (from, to) = (self.full_name(session, from), self.full_name(session, to));
                    events.push(self.rename(from, to));
                }
                Ok(events)
            }
            Statement::DropTables(tables) => {
                let names = tables.into_iter().map(|table| self.full_name(session, table));
                let names: Vec<_> = names.collect();
                Ok(names.into_iter().filter_map(|name| self.drop_table(name)).collect())
            }
            Statement::TruncateTable(table) => Ok(vec![TableEvent::Truncated(self.full_name(session, table))]),
            Statement::CreateDatabase { name, charset, if_not_exists } => {
                let name = self.cased(&name);
                let mut events = Vec::new();
                if !(if_not_exists && self.databases.contains_key(&name)) {
                    events = self.drop_database(&name);
                    let charset = charset.or(session.server_charset.map(charset::canonical));
                    self.databases.insert(name, charset.unwrap_or_else(|| self.options.charset.clone()));
                }
                Ok(events)
            }
            Statement::AlterDatabase { name, charset } => {
                let name = self.cased(name.as_deref().unwrap_or(session.database));
                if let Some(charset) = charset {
                    self.databases.insert(name, charset);
                }
                Ok(Vec::new())
            }
            Statement::DropDatabase(name) => {
                let name = self.cased(&name);
                Ok(self.drop_database(&name))
            }
        }
    }

    fn create_table(&mut self, session: &Session<'_>, create: CreateTable) -> Executed {
        let name = self.full_name(session, create.table);
        if create.if_not_exists && self.tables.contains_key(&name) {
            return Ok(Vec::new());
        }
        let charset = self.database_charset(session, &name.database);
        let parts = (name.database.clone(), name.table.clone());
        let def = match create.body {
            CreateBody::Definition(definition) => {
                change::create(parts, definition, &charset, self.options.server.mariadb)
            }
            CreateBody::Sequence => change::sequence(parts, &charset),
            CreateBody::Like(model) => {
                let model = self.full_name(session, model);
                let Some(model) = self.tables.get(&model) else {
                    return Err((vec![name], "LIKE and a table that the catalog knows"));
                };
                TableDef { database: parts.0, table: parts.1, ..model.clone() }
            }
        };
        self.tables.insert(name.clone(), def);
        Ok(vec![TableEvent::Created(name)])
    }

    fn alter_table(&mut self, session: &Session<'_>, table: WrittenName, actions: Vec<Action>) -> Executed {
        let name = self.full_name(session, table);
        let mut events = Vec::new();
        let (mut renamed, mut from_partition, mut to_partition) = (None, None, None);
        for action in &actions {
            match action {
                Action::RenameTable(to) => renamed = Some(self.full_name(session, to.clone())),
                Action::PartitionToTable(to) => from_partition = Some(self.full_name(session, to.clone())),
                Action::TableToPartition(from) => to_partition = Some(self.full_name(session, from.clone())),
                Action::MoveRows => events.push(TableEvent::RowsMoved(name.clone())),
                _ => {}
            }
        }
        let charset = self.database_charset(session, &name.database);
        if let Some(def) = self.tables.get_mut(&name) {
            let before = def.clone();
            if let Err(missing) = change::alter(def, actions, &charset) {
                return Err((vec![name], missing));
            }
            if *def != before {
                events.push(TableEvent::Altered(name.clone()));
            }
            if let Some(new) = from_partition {
                let def = TableDef { database: new.database.clone(), table: new.table.clone(), ..def.clone() };
                self.tables.insert(new.clone(), def);
                events.extend([TableEvent::RowsMoved(name.clone()), TableEvent::Created(new)]);
            }
        } else if renamed.is_none() {
            events.push(TableEvent::Unknown(name.clone()));
        }
        if let Some(gone) = to_partition {
            events.push(TableEvent::RowsMoved(name.clone()));
            events.extend(self.drop_table(gone));
        }
        if let Some(to) = renamed {
            events.push(self.rename(name, to));
        }
        Ok(events)
    }

    fn rename(&mut self, from: TableName, to: TableName) -> TableEvent {
        match self.tables.remove(&from) {
            Some(def) => {
                let def = TableDef { database: to.database.clone(), table: to.table.clone(), ..def };
                self.tables.insert(to.clone(), def);
                TableEvent::Renamed { from, to }
            }
            None => TableEvent::Unknown(from),
        }
    }

    fn drop_table(&mut self, name: TableName) -> Option<TableEvent> {
        self.tables.remove(&name).map(|_| TableEvent::Dropped(name))
    }

    fn drop_database(&mut self, database: &str) -> Vec<TableEvent> {
        self.databases.remove(database);
        let gone: Vec<_> = self.tables.keys().filter(|name| name.database == database).cloned().collect();
        gone.into_iter().filter_map(|name| self.drop_table(name)).collect()
    }

    fn database_charset(&self, session: &Session<'_>, database: &str) -> String {
        match (self.databases.get(database), session.server_charset) {
            (Some(charset), _) => charset.clone(),
            (None, Some(charset)) => charset::canonical(charset),
            (None, None) => self.options.charset.clone(),
        }
    }

    fn full_name(&self, session: &Session<'_>, name: WrittenName) -> TableName {
        let database = name.database.unwrap_or_else(|| session.database.to_owned());
        TableName { database: self.cased(&database), table: self.cased(&name.table) }
    }

    fn cased(&self, name: &str) -> String {
        if self.options.lower_case { name.to_lowercase() } else { name.to_owned() }
    }
}

/// The events, or the tables that are not known any more and what would have been.
type Executed = Result<Vec<TableEvent>, (Vec<TableName>, &'static str)>;
