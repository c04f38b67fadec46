//! A table's writes, bound to one version of its schema: places and types in place of names.
//!
//! Invariant: a column that a write names and the table has not is found here, once per schema, and stops the follower;
//! nothing is ever written as if the column were NULL.

use super::follow::{Columns, Ttl, Write, WriteKind};
use super::template::BoundTemplate;
use headwater_format::render;
use headwater_model::{Column, Error, Result, Row, Schema, Type, Value};

/// The values of one row, by the places of the schema's columns.
#[derive(Default)]
pub(super) struct Image<'a> {
    values: Vec<Value<'a>>,
}

impl<'a> Image<'a> {
    /// Takes the place of the last row.
    #[inline]
    pub fn load(&mut self, row: &Row<'a>, bound: &Bound) -> Result<()> {
        self.values.clear();
        let mut absent = false;
        self.values.extend(row.values().inspect(|value| absent |= matches!(value, Value::Absent)));
        if self.values.len() == bound.columns && !absent {
            return Ok(());
        }
        bound.explain(&mut self.values)
    }

    /// The value at a column's place in the schema.
    #[inline]
    pub fn value(&self, place: usize) -> Value<'a> {
        self.values.get(place).copied().unwrap_or(Value::Absent)
    }
}

/// One version of one table, ready to be written.
pub(super) struct Bound {
    /// `database.table`.
    pub table: String,
    pub key: Vec<u16>,
    pub writes: Vec<BoundWrite>,
    /// Whether some write can refuse a row for its values.
    pub picky: bool,
    columns: usize,
    excluded: Vec<usize>,
    names: Vec<String>,
}

/// A write over places.
pub(super) struct BoundWrite {
    pub key: BoundTemplate,
    pub ttl: Option<Ttl>,
    /// The key's template, for messages.
    pub template: String,
    /// The key's text before its first column: all keys begin so.
    pub prefix: Box<[u8]>,
    pub kind: BoundKind,
}

pub(super) enum BoundKind {
    Json {
        fields: Vec<Field>,
    },
    /// `whole`: the hash is this write's alone, so that a delete removes the key.
    Hash {
        fields: Vec<Field>,
        whole: bool,
    },
    Set {
        member: BoundTemplate,
    },
    Zset {
        member: BoundTemplate,
        score: Field,
        lossy: bool,
    },
    Counter {
        by: Option<Field>,
    },
    List {
        value: BoundTemplate,
    },
    Stream {
        fields: Vec<Field>,
    },
    Invalidate {
        prefix: bool,
    },
}

/// A column as a field.
pub(super) struct Field {
    pub place: usize,
    pub kind: Type,
    pub name: Box<[u8]>,
    /// `"name":`, escaped.
    pub json_name: Box<[u8]>,
}

impl Field {
    fn new(place: usize, column: &Column) -> Field {
        let mut json_name = Vec::new();
        render::json_string(&mut json_name, &column.name);
        json_name.push(b':');
        Field { place, kind: column.kind.clone(), name: column.name.as_bytes().into(), json_name: json_name.into() }
    }

    #[cfg(test)]
    pub fn test(place: usize, column: &Column) -> Field {
        Field::new(place, column)
    }
}

impl Bound {
    /// Binds `writes` to `schema`; stops, naming table, column and template, when a column is missing.
    pub fn new(schema: &Schema, writes: &[Write]) -> Result<Bound> {
        let binder = Binder { schema };
        let writes = writes.iter().map(|write| binder.write(write)).collect::<Result<Vec<_>>>()?;
        let picky = |write: &BoundWrite| matches!(write.kind, BoundKind::Zset { .. } | BoundKind::Counter { .. });
        let excluded = schema.columns.iter().enumerate().filter(|(_, column)| column.excluded);
        Ok(Bound {
            table: schema.full_name(),
            key: schema.key.clone(),
            picky: writes.iter().any(picky),
            writes,
            columns: schema.columns.len(),
            excluded: excluded.map(|(place, _)| place).collect(),
            names: schema.columns.iter().map(|column| column.name.clone()).collect(),
        })
    }

    /// For each sum, which one it is and how many digits after the point its unit stands for.
    pub fn scales(&self) -> impl Iterator<Item = (String, String)> {
        self.writes.iter().filter_map(|write| {
            let BoundKind::Counter { by: Some(field) } = &write.kind else { return None };
            let scale = if let Type::Decimal { scale, .. } = field.kind { scale } else { 0 };
            let name = String::from_utf8_lossy(&field.name);
            Some((format!("column {name} of {} in `{}`", self.table, write.template), scale.to_string()))
        })
    }

    /// A row that is not simply all columns: the ones left out by a filter may be missing or absent, others may not.
    #[cold]
    fn explain(&self, values: &mut Vec<Value<'_>>) -> Result<()> {
        if values.len() + self.excluded.len() == self.columns && !self.excluded.is_empty() {
            for &place in &self.excluded {
                values.insert(place, Value::Absent);
            }
        }
        if values.len() != self.columns {
            return Err(Error::stop(format!(
                "a row of {} has {} columns where its schema has {}",
                self.table,
                values.len(),
                self.columns
            ))
            .hint("Run `headwater journal verify`."));
        }
        let absent = |place: &usize| values[*place] == Value::Absent && !self.excluded.contains(place);
        match (0..self.columns).find(absent) {
            None => Ok(()),
            Some(place) => Err(Error::stop(format!(
                "the log does not carry column {} of a row of {}, so it cannot be written",
                self.names[place], self.table
            ))
            .hint(
                "Have whole rows logged from now on (MySQL: binlog_row_image=FULL; PostgreSQL: ALTER TABLE … REPLICA IDENTITY \
                 FULL), and rebuild this sink after a new snapshot of the table.",
            )),
        }
    }
}

struct Binder<'a> {
    schema: &'a Schema,
}

impl Binder<'_> {
    fn write(&self, write: &Write) -> Result<BoundWrite> {
        let missing = |column: &str| self.missing(column, &write.key.to_string());
        let template =
            |template: &super::template::Template| template.bind(self.schema).map_err(|column| missing(&column));
        let field = |name: &str| match self.schema.column(name) {
            Some((place, column)) if !column.excluded => Ok(Field::new(place, column)),
            _ => Err(missing(name)),
        };
        let fields = |columns: &Columns| -> Result<Vec<Field>> {
            match columns {
                Columns::Named(names) => names.iter().map(|name| field(name)).collect(),
                Columns::AllBut(excluded) => {
                    for name in excluded {
                        field(name)?;
                    }
                    let shown =
                        |column: &Column| !column.hidden && !column.excluded && !excluded.contains(&column.name);
                    let columns = self.schema.columns.iter().enumerate();
                    Ok(columns
                        .filter(|(_, column)| shown(column))
                        .map(|(place, column)| Field::new(place, column))
                        .collect())
                }
            }
        };
        let kind = match &write.kind {
            WriteKind::Json { columns } => BoundKind::Json { fields: fields(columns)? },
            WriteKind::Hash { columns } => {
                BoundKind::Hash { fields: fields(columns)?, whole: matches!(columns, Columns::AllBut(_)) }
            }
            WriteKind::Set { member } => BoundKind::Set { member: template(member)? },
            WriteKind::Zset { member, score, lossy } => {
                let score = self.numeric(field(score)?, &write.key.to_string(), true)?;
                BoundKind::Zset { member: template(member)?, score, lossy: *lossy }
            }
            WriteKind::Counter { by } => {
                let by = by.as_deref().map(|by| self.numeric(field(by)?, &write.key.to_string(), false)).transpose()?;
                BoundKind::Counter { by }
            }
            WriteKind::List { value } => BoundKind::List { value: template(value)? },
            WriteKind::Stream { columns } => BoundKind::Stream { fields: fields(columns)? },
            WriteKind::Invalidate { prefix } => BoundKind::Invalidate { prefix: *prefix },
        };
        Ok(BoundWrite {
            key: template(&write.key)?,
            ttl: write.ttl,
            template: write.key.to_string(),
            prefix: write.key.prefix().as_bytes().into(),
            kind,
        })
    }

    fn missing(&self, column: &str, template: &str) -> Error {
        Error::stop(format!(
            "table {} has no column {column}, which the write to `{template}` uses",
            self.schema.full_name()
        ))
        .detail("It was dropped, renamed or left out by a column filter, or the name is misspelt.")
        .hint("Change the write in the configuration; the sink is then rebuilt.")
    }

    /// A score may be of any type that is a number or a moment; a sum has to be exact, so floats are out.
    fn numeric(&self, field: Field, template: &str, score: bool) -> Result<Field> {
        let exact = matches!(field.kind, Type::Int { .. } | Type::Decimal { .. } | Type::Year | Type::Bit { .. });
        let moment = matches!(field.kind, Type::Date | Type::DateTime { .. } | Type::Timestamp { .. });
        if exact || score && (moment || matches!(field.kind, Type::Float | Type::Double)) {
            return Ok(field);
        }
        let (what, wanted) = match score {
            true => ("a score", "a number, a date or a time"),
            false => ("summed exactly", "an integer or a DECIMAL"),
        };
        let name = String::from_utf8_lossy(&field.name).into_owned();
        let table = self.schema.full_name();
        Err(Error::stop(format!("column {name} of {table} cannot be {what} for `{template}`: {wanted} is needed"))
            .hint("Change the write in the configuration; the sink is then rebuilt."))
    }
}
