//! What is asked of the catalogue, in SQL that PostgreSQL 12 to 18 understand, and how the answers are read.
//!
//! Every function of SQL has a sibling that reads one row of its answer, each field as text. Invariant: the numbers of
//! tables and types are the only thing that is put into a statement. Start at [`tables_sql`]; [`super::table`] puts the
//! answers together.

use super::message::Identity;
use super::table::{CatalogColumn, Index, Table};
use super::types::PgType;
use std::fmt::Write as _;

/// One row of an answer, each field as text.
pub type Fields<'a> = [Option<&'a str>];

/// An answer of the catalogue that is not of the form that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the catalogue's answer about {what} cannot be read at: {field}. The server is older than PostgreSQL 12 or changed what it answers; please report its version with this message"
)]
pub struct CatalogError {
    /// tables, columns, indexes or types.
    pub what: &'static str,
    /// The field.
    pub field: &'static str,
}

/// One unit of money, in which the server shows how many fraction digits `lc_monetary` has.
pub const MONEY_SQL: &str = "SELECT 1::pg_catalog.int4::pg_catalog.money::pg_catalog.text";

/// Every table that a publication can hold: ordinary and partitioned ones, temporary and system ones left out; by number,
/// schema, name, kind, persistence, replica identity, whether it is a partition, and comment.
pub fn tables_sql() -> &'static str {
    "SELECT c.oid, n.nspname, c.relname, c.relkind, c.relpersistence, c.relreplident, c.relispartition, \
     pg_catalog.obj_description(c.oid, 'pg_class') \
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' \
     AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_toast' \
     ORDER BY n.nspname, c.relname"
}

/// The columns of `tables`, in order.
pub fn columns_sql(tables: &[u32]) -> String {
    format!(
        "SELECT a.attrelid, a.attnum, a.attname, a.atttypid, a.atttypmod, \
         a.attnotnull OR (t.typtype = 'd' AND t.typnotnull), pg_catalog.pg_get_expr(d.adbin, d.adrelid), \
         a.attgenerated, a.attidentity, pg_catalog.col_description(a.attrelid, a.attnum) \
         FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
         LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
         WHERE a.attrelid IN ({}) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum",
        list(tables)
    )
}

/// The unique indexes of `tables`, in the order in which Debezium looks at them: that of the JDBC driver, clustered ones
/// first, then by name.
pub fn indexes_sql(tables: &[u32]) -> String {
    format!(
        "SELECT i.indrelid, c.relname, i.indisprimary, i.indisreplident, i.indimmediate, i.indpred IS NOT NULL, \
         i.indnkeyatts, i.indkey \
         FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
         WHERE i.indrelid IN ({}) AND i.indisunique AND i.indisvalid \
         ORDER BY i.indrelid, i.indisclustered DESC, c.relname",
        list(tables)
    )
}

/// The types `oids`, and those that they are made of.
pub fn types_sql(oids: &[u32]) -> String {
    format!(
        "WITH RECURSIVE wanted(oid) AS (\
         SELECT oid FROM pg_catalog.pg_type WHERE oid IN ({}) \
         UNION SELECT part.oid FROM wanted w JOIN pg_catalog.pg_type t ON t.oid = w.oid \
         CROSS JOIN LATERAL (VALUES (t.typelem), (t.typbasetype)) AS part(oid) WHERE part.oid <> 0) \
         SELECT t.oid, n.nspname, t.typname, t.typtype, \
         CASE WHEN t.typinput = 'pg_catalog.array_in'::pg_catalog.regproc THEN t.typelem ELSE 0 END, \
         t.typbasetype, t.typtypmod, t.typdelim, pg_catalog.format_type(t.oid, -1), \
         (SELECT pg_catalog.json_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_catalog.pg_enum e \
         WHERE e.enumtypid = t.oid), \
         (SELECT x.extname FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension x ON x.oid = d.refobjid \
         WHERE d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.objid = t.oid AND d.deptype = 'e' \
         AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass LIMIT 1) \
         FROM wanted w JOIN pg_catalog.pg_type t ON t.oid = w.oid \
         JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace ORDER BY t.oid",
        list(oids)
    )
}

/// Numbers between commas; the number 0, which nothing has, for none.
fn list(numbers: &[u32]) -> String {
    let mut text = String::from("0");
    for number in numbers {
        // Writing to a String cannot fail.
        let _ = write!(text, ",{number}");
    }
    text
}

/// Walks over the fields of a row.
struct Walk<'a, 'f> {
    what: &'static str,
    fields: std::slice::Iter<'f, Option<&'a str>>,
}

impl<'a, 'f> Walk<'a, 'f> {
    fn new(what: &'static str, fields: &'f Fields<'a>) -> Self {
        Walk { what, fields: fields.iter() }
    }

    fn error(&self, field: &'static str) -> CatalogError {
        CatalogError { what: self.what, field }
    }

    fn optional(&mut self, field: &'static str) -> Result<Option<&'a str>, CatalogError> {
        self.fields.next().copied().ok_or(self.error(field))
    }

    fn text(&mut self, field: &'static str) -> Result<&'a str, CatalogError> {
        self.optional(field)?.ok_or(self.error(field))
    }

    fn number<T: std::str::FromStr>(&mut self, field: &'static str) -> Result<T, CatalogError> {
        self.text(field)?.parse().map_err(|_| self.error(field))
    }

    fn flag(&mut self, field: &'static str) -> Result<bool, CatalogError> {
        match self.text(field)? {
            "t" => Ok(true),
            "f" => Ok(false),
            _ => Err(self.error(field)),
        }
    }

    /// A letter; a blank for the empty one that stands for none.
    fn letter(&mut self, field: &'static str) -> Result<char, CatalogError> {
        Ok(self.text(field)?.chars().next().unwrap_or(' '))
    }
}

/// A row of [`tables_sql`]: a table without its columns and indexes.
pub fn table(fields: &Fields<'_>) -> Result<Table, CatalogError> {
    let mut walk = Walk::new("tables", fields);
    Ok(Table {
        oid: walk.number("number")?,
        schema: walk.text("schema")?.into(),
        name: walk.text("name")?.into(),
        is_partitioned: walk.letter("kind")? == 'p',
        is_unlogged: walk.letter("persistence")? == 'u',
        identity: match walk.letter("replica identity")? {
            'd' => Identity::Default,
            'n' => Identity::Nothing,
            'f' => Identity::Full,
            'i' => Identity::Index,
            _ => return Err(walk.error("replica identity")),
        },
        is_partition: walk.flag("whether it is a partition")?,
        comment: walk.optional("comment")?.map(str::to_owned),
        columns: Vec::new(),
        indexes: Vec::new(),
    })
}

/// A row of [`columns_sql`]: the table's number, and a column of it.
pub fn column(fields: &Fields<'_>) -> Result<(u32, CatalogColumn), CatalogError> {
    let mut walk = Walk::new("columns", fields);
    let table = walk.number("table")?;
    let column = CatalogColumn {
        number: walk.number("number")?,
        name: walk.text("name")?.into(),
        type_oid: walk.number("type")?,
        type_modifier: walk.number("type modifier")?,
        nullable: !walk.flag("whether it may be null")?,
        default: walk.optional("default")?.map(str::to_owned),
        is_generated: walk.letter("whether it is generated")? != ' ',
        is_identity: walk.letter("whether it is an identity column")? != ' ',
        comment: walk.optional("comment")?.map(str::to_owned),
    };
    Ok((table, column))
}

/// A row of [`indexes_sql`]: the table's number, and a unique index of it.
pub fn index(fields: &Fields<'_>) -> Result<(u32, Index), CatalogError> {
    let mut walk = Walk::new("indexes", fields);
    let table = walk.number("table")?;
    let name = walk.text("name")?.into();
    let is_primary = walk.flag("whether it is the primary key")?;
    let is_replica_identity = walk.flag("whether it is the replica identity")?;
    let is_immediate = walk.flag("whether it is deferrable")?;
    let is_partial = walk.flag("whether it is partial")?;
    let key_columns = walk.number("number of key columns")?;
    let columns = walk.text("columns")?.split_ascii_whitespace();
    let columns = columns.map(|number| number.parse().map_err(|_| walk.error("columns"))).collect::<Result<_, _>>()?;
    let index = Index { name, is_primary, is_replica_identity, is_immediate, is_partial, key_columns, columns };
    Ok((table, index))
}

/// A row of [`types_sql`].
pub fn pg_type(fields: &Fields<'_>) -> Result<PgType, CatalogError> {
    let mut walk = Walk::new("types", fields);
    Ok(PgType {
        oid: walk.number("number")?,
        namespace: walk.text("schema")?.into(),
        name: walk.text("name")?.into(),
        class: walk.letter("class")?,
        element: walk.number("element").map(not_zero)?,
        base: walk.number("base type").map(not_zero)?,
        base_modifier: walk.number("modifier of the base type")?,
        delimiter: walk.text("delimiter")?.bytes().next().unwrap_or(b','),
        formatted: walk.text("printed name")?.into(),
        labels: match walk.optional("labels")? {
            Some(labels) => serde_json::from_str(labels).map_err(|_| walk.error("labels"))?,
            None => Vec::new(),
        },
        extension: walk.optional("extension")?.map(str::to_owned),
    })
}

fn not_zero(oid: u32) -> Option<u32> {
    (oid != 0).then_some(oid)
}
