//! Defaults of columns as they stand in schemas: from the server's text to the text of a JSON value.
//!
//! Invariant: a default that the original does not understand is none, never an error. Start at [`default`].

mod mysql;
mod postgres;

pub(crate) use mysql::unescape;

use super::columns::Shape;
use super::options::Options;
use headwater_model::Column;

/// The default of `column` in the form of its values; `None` where the original shows none.
pub(crate) fn default(column: &Column, text: &str, shape: &Shape, options: &Options) -> Option<Vec<u8>> {
    match options.is_postgres() {
        true => postgres::default(column, text, shape),
        false => mysql::default(column, text, shape, options),
    }
}
