//! A table as the catalogue has it now, and the model's columns and keys of it.
//!
//! A relation message gives names and types in the order of its rows, as they were then; what it does not say (may it be
//! null, default, comment, key) comes from the catalogue as it is now, by the column's name, as Debezium has it, too.
//! Invariant: a key is made only of columns that the rows have. Start at [`Table::relation_columns`] and [`Table::keys`].

use super::message::{Identity, Relation};
use super::plan::PlannedColumn;
use super::types::Types;
use headwater_model::Column;

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its number.
    pub oid: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Whether its rows are in its partitions.
    pub is_partitioned: bool,
    /// Whether it is a partition of another table.
    pub is_partition: bool,
    /// Whether it is left out of the log.
    pub is_unlogged: bool,
    /// REPLICA IDENTITY.
    pub identity: Identity,
    /// Its comment.
    pub comment: Option<String>,
    /// In their order, dropped ones left out.
    pub columns: Vec<CatalogColumn>,
    /// The unique ones that are valid, in the order in which Debezium looks at them.
    pub indexes: Vec<Index>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogColumn {
    /// Its number in the table, from 1; dropped columns leave holes.
    pub number: i16,
    /// Its name.
    pub name: String,
    /// The number of its type.
    pub type_oid: u32,
    /// The type's modifier; -1 for none.
    pub type_modifier: i32,
    /// Whether it may be NULL, by itself or by the domain that it is of.
    pub nullable: bool,
    /// Its default, or what it is generated from, as the server prints it.
    pub default: Option<String>,
    /// Whether it is computed from others; then it is not in the log before PostgreSQL 18.
    pub is_generated: bool,
    /// Whether it is an identity column.
    pub is_identity: bool,
    /// Its comment.
    pub comment: Option<String>,
}

/// A unique index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// Whether it is the primary key.
    pub is_primary: bool,
    /// Whether it was chosen by REPLICA IDENTITY USING INDEX.
    pub is_replica_identity: bool,
    /// Whether it holds at the end of each statement, not only at the end of the transaction.
    pub is_immediate: bool,
    /// Whether it has a condition.
    pub is_partial: bool,
    /// How many of `columns` make it unique; the others are included.
    pub key_columns: u16,
    /// Numbers of columns; 0 stands for an expression.
    pub columns: Vec<i16>,
}

/// What identifies rows, as places in a list of columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// What identifies a row in every image that the log has of it, in key order; empty when nothing does.
    pub row: Vec<u16>,
    /// What Debezium makes the key of a record: the primary key, else the first unique index over plain columns, even
    /// where they may be null or only some rows are unique by it.
    pub record: Vec<u16>,
}

impl Table {
    /// `schema.name`.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// Its columns as they are now, generated ones too: what `SELECT *` gives.
    pub fn columns(&self, types: &Types) -> Vec<Column> {
        self.columns.iter().map(|column| column.model(column.type_oid, column.type_modifier, types)).collect()
    }

    /// The columns that [`super::RowPlan::new`] reads from an answer to `SELECT *`.
    pub fn planned_columns(&self) -> impl Iterator<Item = PlannedColumn<'_>> {
        let identity = self.identity_columns();
        self.columns.iter().map(move |column| PlannedColumn {
            name: &column.name,
            type_oid: column.type_oid,
            type_modifier: column.type_modifier,
            excluded: false,
            is_identity: identity.as_ref().is_none_or(|numbers| numbers.contains(&column.number)),
        })
    }

    /// The columns of `relation`; `table` is what the catalogue has of it now, if it is still there.
    pub fn relation_columns(relation: &Relation<'_>, table: Option<&Table>, types: &Types) -> Vec<Column> {
        relation
            .columns()
            .map(|sent| {
                let known = table.and_then(|table| table.columns.iter().find(|column| column.name == sent.name));
                match known {
                    Some(column) => column.model(sent.type_oid, sent.type_modifier, types),
                    None => {
                        let kind = types.kind(sent.type_oid, sent.type_modifier);
                        Column::new(sent.name, kind, &types.native(sent.type_oid, sent.type_modifier))
                    }
                }
            })
            .collect()
    }

    /// The keys of rows that have the columns `names`.
    pub fn keys(&self, names: &[&str]) -> Keys {
        let row = self.row_index().map(|index| &index.columns[..index.key_count()]);
        let row = row.and_then(|numbers| numbers.iter().map(|number| self.place(*number, names)).collect());
        let record = self.record_columns().iter().filter_map(|number| self.place(*number, names)).collect();
        Keys { row: row.unwrap_or_default(), record }
    }

    /// The index by which updates and deletes name their rows: what the log has of the row as it was is its replica
    /// identity, so that a primary key beside USING INDEX is not in a delete. Under FULL and NOTHING every unique index
    /// that cannot be null serves, the primary key first.
    fn row_index(&self) -> Option<&Index> {
        if self.identity == Identity::Index {
            return self.indexes.iter().find(|index| index.is_replica_identity);
        }
        let primary = self.indexes.iter().find(|index| index.is_primary);
        primary.or_else(|| self.indexes.iter().find(|index| self.identifies(index)))
    }

    /// Whether every row has its own values in it, at every moment.
    fn identifies(&self, index: &Index) -> bool {
        let is_given = |number: &i16| self.numbered(*number).is_some_and(|column| !column.nullable);
        index.is_immediate && !index.is_partial && index.columns[..index.key_count()].iter().all(is_given)
    }

    fn record_columns(&self) -> &[i16] {
        if let Some(primary) = self.indexes.iter().find(|index| index.is_primary) {
            return &primary.columns[..primary.key_count()];
        }
        let plain = self.indexes.iter().find(|index| !index.columns.contains(&0));
        plain.map_or(&[], |index| &index.columns)
    }

    /// The numbers of the columns that old rows have; `None` for all.
    fn identity_columns(&self) -> Option<Vec<i16>> {
        let index = match self.identity {
            Identity::Full => return None,
            Identity::Nothing => None,
            Identity::Default => self.indexes.iter().find(|index| index.is_primary),
            Identity::Index => self.indexes.iter().find(|index| index.is_replica_identity),
        };
        Some(index.map_or_else(Vec::new, |index| index.columns[..index.key_count()].to_vec()))
    }

    fn numbered(&self, number: i16) -> Option<&CatalogColumn> {
        self.columns.iter().find(|column| column.number == number)
    }

    fn place(&self, number: i16, names: &[&str]) -> Option<u16> {
        let name = &self.numbered(number)?.name;
        names.iter().position(|seen| seen == name).and_then(|place| u16::try_from(place).ok())
    }
}

impl CatalogColumn {
    /// The model's column, of the type that its rows have.
    fn model(&self, type_oid: u32, type_modifier: i32, types: &Types) -> Column {
        Column {
            nullable: self.nullable,
            default: self.default.clone(),
            comment: self.comment.clone(),
            ..Column::new(&self.name, types.kind(type_oid, type_modifier), &types.native(type_oid, type_modifier))
        }
    }
}

impl Index {
    fn key_count(&self) -> usize {
        usize::from(self.key_columns).min(self.columns.len())
    }
}
