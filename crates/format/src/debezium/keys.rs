//! Which columns make the key of a table's records: those that a configuration names, else those of its schema.
//!
//! Invariant: a column that is named and does not exist is left out, as the original leaves it, and where none is left the
//! schema's own key stays. Start at [`Keys::columns`].

use super::names::pattern;
use super::options::{Options, OptionsError};
use crate::pattern::Pattern;
use headwater_model::Schema;

/// The keys that a configuration names: a pattern of full names for each column of each entry, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys(Vec<Pattern>);

impl Keys {
    pub fn new(options: &Options) -> Result<Keys, OptionsError> {
        // The original joins the two with a point, and takes the whole for a pattern: the name of a column is one, too.
        let names = options.message_keys.iter().flat_map(|key| {
            key.columns.iter().map(|column| pattern(&format!("{}.{column}", key.tables), true, "message.key.columns"))
        });
        names.collect::<Result<_, _>>().map(Keys)
    }

    /// The places of the columns that make the key of `schema`'s records, in the key's order.
    pub fn columns(&self, schema: &Schema) -> Vec<usize> {
        let table = schema.full_name();
        let mut places: Vec<usize> = Vec::new();
        for named in &self.0 {
            let fits = |place: &usize| named.is_match(&format!("{table}.{}", schema.columns[*place].name));
            let found: Vec<usize> = (0..schema.columns.len()).filter(fits).collect();
            places.extend(found.into_iter().filter(|place| !places.contains(place)).collect::<Vec<_>>());
        }
        if places.is_empty() {
            places.extend(schema.record_key().iter().map(|column| usize::from(*column)));
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debezium::options::MessageKey;
    use headwater_model::{Column, Type};

    #[test]
    fn every_entry_that_fits_a_column_adds_it_to_the_key() {
        let key = |tables: &str, columns: &[&str]| MessageKey {
            tables: tables.into(),
            columns: columns.iter().map(|column| (*column).into()).collect(),
        };
        let message_keys =
            vec![key("shop.lines", &["b", "a"]), key("(.*).lines", &["a"]), key("(?!x).*.parts", &["[AB]", "none"])];
        let keys = Keys::new(&Options { message_keys, ..Options::default() }).unwrap();
        let column = |name: &str| Column::new(name, Type::Int { bits: 32, unsigned: false }, "int");
        let schema = |database: &str, table: &str| {
            Schema::new(1, database, table, vec![column("a"), column("b"), column("c")], vec![2])
        };
        for (database, table, expected) in [
            ("shop", "lines", &[1, 0][..]),
            ("Shop", "LINES", &[1, 0]),
            ("x", "lines", &[0]),
            ("shop", "orders", &[2]),
            ("shop", "parts", &[0, 1]),
            ("x", "parts", &[2]),
        ] {
            assert_eq!(keys.columns(&schema(database, table)), expected, "{database}.{table}");
        }
        assert!(Keys::new(&Options { message_keys: vec![key("(", &["a"])], ..Options::default() }).is_err());
    }
}
