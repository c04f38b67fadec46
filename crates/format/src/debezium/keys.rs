//! Which columns make the key of a table's records: those that a configuration names, else those of its schema.
//!
//! Invariant: a column that is named and does not exist is left out, as the original leaves it. Start at
//! [`Keys::columns`].

use super::options::{Options, OptionsError};
use headwater_model::Schema;
use regex::{Regex, RegexBuilder};

/// The keys that a configuration names, compiled.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys(Vec<(Regex, Vec<String>)>);

impl Keys {
    pub fn new(options: &Options) -> Result<Keys, OptionsError> {
        let compiled = options.message_keys.iter().map(|key| {
            let whole = RegexBuilder::new(&format!("^(?:{})$", key.tables)).case_insensitive(true).build();
            let refused =
                |_| OptionsError(format!("the pattern {:?} of message.key.columns cannot be used", key.tables));
            Ok((whole.map_err(refused)?, key.columns.clone()))
        });
        compiled.collect::<Result<_, _>>().map(Keys)
    }

    /// The places of the columns that make the key of `schema`'s records, in the key's order.
    pub fn columns(&self, schema: &Schema) -> Vec<usize> {
        let name = schema.full_name();
        let of_schema = || schema.record_key().iter().map(|column| usize::from(*column)).collect();
        let Some((_, columns)) = self.0.iter().find(|(tables, _)| tables.is_match(&name)) else { return of_schema() };
        columns.iter().filter_map(|column| Some(schema.column(column)?.0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debezium::options::MessageKey;
    use headwater_model::{Column, Type};

    #[test]
    fn the_first_pattern_that_fits_the_table_names_its_key() {
        let key = |tables: &str, columns: &[&str]| MessageKey {
            tables: tables.into(),
            columns: columns.iter().map(|column| (*column).into()).collect(),
        };
        let message_keys = vec![key("shop.lines", &["b", "a"]), key("(.*).lines", &["a"])];
        let keys = Keys::new(&Options { message_keys, ..Options::default() }).unwrap();
        let column = |name: &str| Column::new(name, Type::Int { bits: 32, unsigned: false }, "int");
        let schema = |database: &str, table: &str| {
            Schema::new(1, database, table, vec![column("a"), column("b"), column("c")], vec![2])
        };
        for (database, table, expected) in
            [("shop", "lines", &[1, 0][..]), ("Shop", "LINES", &[1, 0]), ("x", "lines", &[0]), ("shop", "orders", &[2])]
        {
            assert_eq!(keys.columns(&schema(database, table)), expected, "{database}.{table}");
        }
        assert!(Keys::new(&Options { message_keys: vec![key("(", &[])], ..Options::default() }).is_err());
    }
}
