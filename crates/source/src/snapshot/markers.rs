//! Which rows begin and end a snapshot, and each table of it.
//!
//! Invariant: a row's marker depends on the order of the tables and on which of them have rows, never on the order in which
//! chunks arrive; and as in Debezium the *first* row is the first table's, so a snapshot whose first table is empty has
//! none, while the *last* one is of the last table that has any. Start at [`Ends::find`].

use headwater_model::{Result, Schema, SnapshotMarker};

/// The tables at both ends of a snapshot, by their schemas.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ends {
    first: Option<u32>,
    last: Option<u32>,
}

/// Where a table stands in its snapshot.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    /// It is read first.
    pub first: bool,
    /// Of the tables that have rows it is read last.
    pub last: bool,
}

/// The marker of a row that `opens` or `closes` its table.
pub fn marker(place: Place, opens: bool, closes: bool) -> SnapshotMarker {
    match (opens, closes) {
        (_, true) if place.last => SnapshotMarker::Last,
        (true, _) if place.first => SnapshotMarker::First,
        (_, true) => SnapshotMarker::LastInDataCollection,
        (true, false) => SnapshotMarker::FirstInDataCollection,
        (false, false) => SnapshotMarker::True,
    }
}

impl Ends {
    /// Of the tables that are to be read, in their order, each with whether it was begun already; `has_rows` asks the server.
    pub fn find<'s>(
        unread: &[(&'s Schema, bool)],
        mut has_rows: impl FnMut(&'s Schema) -> Result<bool>,
    ) -> Result<Ends> {
        // One that goes on has its first row, or the state of its first table says that it has to come.
        let goes_on = unread.iter().any(|(_, is_begun)| *is_begun);
        let first = unread.first().filter(|_| !goes_on).map(|(schema, _)| schema.id);
        for (schema, _) in unread.iter().rev() {
            if has_rows(schema)? {
                return Ok(Ends { first, last: Some(schema.id) });
            }
        }
        Ok(Ends { first, last: None })
    }

    /// Where the table of this schema stands.
    pub fn place(&self, schema: u32) -> Place {
        Place { first: self.first == Some(schema), last: self.last == Some(schema) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use SnapshotMarker::{First, FirstInDataCollection, Last, LastInDataCollection, True};

    #[test]
    fn the_end_of_all_comes_before_the_beginning_of_all_and_that_before_the_end_of_a_table() {
        let (inner, first, last) = (Place::default(), (true, false), (false, true));
        let at = |(first, last)| Place { first, last };
        for (place, opens, closes, expected) in [
            (inner, true, false, FirstInDataCollection),
            (inner, false, false, True),
            (inner, false, true, LastInDataCollection),
            (inner, true, true, LastInDataCollection),
            (at(first), true, false, First),
            (at(first), true, true, First),
            (at(first), false, true, LastInDataCollection),
            (at(last), true, false, FirstInDataCollection),
            (at(last), false, true, Last),
            (at(last), true, true, Last),
            (at((true, true)), true, false, First),
            (at((true, true)), true, true, Last),
            (at((true, true)), false, false, True),
        ] {
            assert_eq!(marker(place, opens, closes), expected, "{place:?} opens {opens} closes {closes}");
        }
    }
}
