//! The statements that read a table in chunks, in the order of its key.
//!
//! Invariant: the expression that orders the rows is the one that bounds them, so that no row falls between two chunks.

use super::super::server::identifier;
use super::super::wire::Param;
use headwater_model::calendar;
use headwater_model::value::ZERO_TIMESTAMP;
use headwater_model::{Date, DateTime, Schema, Type, Value};

/// A bound of a key, ready to be sent: one value for each of its columns.
pub enum KeyParam {
    /// Signed.
    Int(i64),
    /// Unsigned, also the number of an ENUM's member, a SET's bits, or a bit string.
    UInt(u64),
    /// A float.
    Double(f64),
    /// Anything that compares as text or is converted from it.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// The statement that reads a chunk: `lower` and `upper` say whether the range is bounded there.
pub fn chunk(schema: &Schema, lower: bool, upper: bool, rows: u64) -> String {
    let columns: Vec<String> =
        schema.columns.iter().filter(|column| !column.excluded).map(|column| identifier(&column.name)).collect();
    let key: Vec<String> = schema.key.iter().map(|&column| order_term(schema, column)).collect();
    let mut conditions = Vec::new();
    if lower {
        conditions.push(after(&key));
    }
    if upper {
        conditions.push(format!("{} <= ?", key[0]));
    }
    let mut sql =
        format!("SELECT {} FROM {}.{}", columns.join(", "), identifier(&schema.database), identifier(&schema.table));
    if !conditions.is_empty() {
        sql.push_str(&format!(" WHERE {}", conditions.join(" AND ")));
    }
    if !key.is_empty() {
        sql.push_str(&format!(" ORDER BY {} LIMIT {rows}", key.join(", ")));
    }
    sql
}

/// `(a, b) > (?, ?)` in the form that every version reads by the index: the parameters come in the order a, a, a, b.
fn after(key: &[String]) -> String {
    let mut alternatives = Vec::new();
    for last in 0..key.len() {
        let mut terms: Vec<String> = key[..last].iter().map(|column| format!("{column} = ?")).collect();
        terms.push(format!("{} > ?", key[last]));
        alternatives.push(terms.join(" AND "));
    }
    match alternatives.len() {
        1 => alternatives.remove(0),
        _ => format!("({} >= ? AND (({})))", key[0], alternatives.join(") OR (")),
    }
}

/// The parameters of a lower bound, in the order that [`chunk`] wants them.
pub fn after_params(key: &[KeyParam]) -> Vec<Param<'_>> {
    let values: Vec<Param<'_>> = key.iter().map(KeyParam::as_param).collect();
    if values.len() == 1 {
        return values;
    }
    let mut params = vec![values[0]];
    for last in 0..values.len() {
        params.extend_from_slice(&values[..=last]);
    }
    params
}

/// Reads an encoded key back into parameters.
pub fn key_params(schema: &Schema, mut key: &[u8]) -> Option<Vec<KeyParam>> {
    let param = |&column: &u16| {
        let kind = &schema.columns[usize::from(column)].kind;
        KeyParam::of(Value::decode(&mut key)?, kind)
    };
    schema.key.iter().map(param).collect()
}

/// What a key's column is ordered by. An ENUM orders by number but compares by text, so it is made a number for both.
fn order_term(schema: &Schema, column: u16) -> String {
    let column = &schema.columns[usize::from(column)];
    match column.kind {
        Type::Enum { .. } | Type::Set { .. } | Type::Bit { .. } => format!("({} + 0)", identifier(&column.name)),
        _ => identifier(&column.name),
    }
}

impl KeyParam {
    fn of(value: Value<'_>, kind: &Type) -> Option<KeyParam> {
        Some(match (value, kind) {
            (Value::Int(v), _) => KeyParam::Int(v),
            (Value::UInt(v) | Value::Bit(v), _) => KeyParam::UInt(v),
            (Value::Float(v), _) => KeyParam::Double(v.into()),
            (Value::Double(v), _) => KeyParam::Double(v),
            (Value::Decimal(v) | Value::Text(v) | Value::Json(v), _) => KeyParam::Text(v.to_owned()),
            (Value::Bytes(v), _) => KeyParam::Bytes(v.to_owned()),
            (Value::Year(v), _) => KeyParam::UInt(v.into()),
            (Value::Date(v), _) => KeyParam::Text(date(v)),
            (Value::DateTime(v), _) => KeyParam::Text(date_time(v)),
            (Value::Timestamp(v), _) => KeyParam::Text(timestamp(v)),
            (Value::Time(v), _) => KeyParam::Text(time(v)),
            (Value::Enum(v), Type::Enum { members }) => {
                KeyParam::UInt(members.iter().position(|member| member == v).map_or(0, |place| place as u64 + 1))
            }
            (Value::Set(v), Type::Set { members }) => KeyParam::UInt(bits(v, members)),
            (Value::Uuid(v), _) => KeyParam::Text(uuid(v)),
            (Value::Inet4(v), _) => KeyParam::Text(std::net::Ipv4Addr::from(v).to_string()),
            (Value::Inet6(v), _) => KeyParam::Text(std::net::Ipv6Addr::from(v).to_string()),
            _ => return None,
        })
    }

    /// As the connection sends it.
    pub fn as_param(&self) -> Param<'_> {
        match self {
            KeyParam::Int(v) => Param::Int(*v),
            KeyParam::UInt(v) => Param::UInt(*v),
            KeyParam::Double(v) => Param::Double(*v),
            KeyParam::Text(v) => Param::Text(v),
            KeyParam::Bytes(v) => Param::Bytes(v),
        }
    }
}

fn bits(text: &str, members: &[String]) -> u64 {
    let bit = |name: &str| members.iter().position(|member| member == name).map_or(0, |place| 1 << place);
    text.split(',').filter(|name| !name.is_empty()).map(bit).sum()
}

fn date(v: Date) -> String {
    format!("{:04}-{:02}-{:02}", v.year, v.month, v.day)
}

fn date_time(v: DateTime) -> String {
    format!("{} {:02}:{:02}:{:02}.{:06}", date(v.date), v.hour, v.minute, v.second, v.micros)
}

fn timestamp(micros: i64) -> String {
    if micros == ZERO_TIMESTAMP {
        return "0000-00-00 00:00:00".to_owned();
    }
    date_time(calendar::date_time(micros))
}

fn time(micros: i64) -> String {
    let (sign, size) = (if micros < 0 { "-" } else { "" }, micros.unsigned_abs());
    let seconds = size / 1_000_000;
    format!("{sign}{:02}:{:02}:{:02}.{:06}", seconds / 3600, seconds / 60 % 60, seconds % 60, size % 1_000_000)
}

fn uuid(bytes: [u8; 16]) -> String {
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_model::Column;

    fn column(name: &str, kind: Type) -> Column {
        Column { nullable: false, ..Column::new(name, kind, "") }
    }

    #[test]
    fn chunks_are_bounded_by_what_orders_them() {
        let int = || Type::Int { bits: 64, unsigned: false };
        let mut schema = Schema::new(
            1,
            "d`b",
            "t",
            vec![column("a", int()), column("e", Type::Enum { members: vec!["x".into()] })],
            vec![0],
        );
        assert_eq!(chunk(&schema, false, false, 5), "SELECT `a`, `e` FROM `d``b`.`t` ORDER BY `a` LIMIT 5");
        assert_eq!(
            chunk(&schema, true, true, 5),
            "SELECT `a`, `e` FROM `d``b`.`t` WHERE `a` > ? AND `a` <= ? ORDER BY `a` LIMIT 5"
        );
        schema.key = vec![0, 1];
        assert_eq!(
            chunk(&schema, true, false, 5),
            "SELECT `a`, `e` FROM `d``b`.`t` WHERE (`a` >= ? AND ((`a` > ?) OR (`a` = ? AND (`e` + 0) > ?))) \
             ORDER BY `a`, (`e` + 0) LIMIT 5"
        );
    }

    #[test]
    fn bounds_are_sent_as_the_server_reads_them() {
        for (got, expected) in [
            (timestamp(0), "1970-01-01 00:00:00.000000"),
            (timestamp(951_782_400_000_001), "2000-02-29 00:00:00.000001"),
            (timestamp(-1), "1969-12-31 23:59:59.999999"),
            (time(-3_020_399_000_001), "-838:59:59.000001"),
            (uuid([0x12; 16]), "12121212-1212-1212-1212-121212121212"),
        ] {
            assert_eq!(got, expected);
        }
    }
}
