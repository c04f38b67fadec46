//! Prepared statements: parameters by value, rows in the binary protocol.
//!
//! Invariant: a value is never spliced into SQL. Protocol: "COM_STMT_PREPARE", "COM_STMT_EXECUTE".
//! Start at [`Connection::prepare`].

use super::connection::{Connection, Turn};
use super::error::{Error, Result};
use super::fields::{Fields, Truncated, put_lenenc_bytes};
use super::query::{Column, Rows};

const COM_STMT_PREPARE: u8 = 0x16;
const COM_STMT_EXECUTE: u8 = 0x17;
const COM_STMT_CLOSE: u8 = 0x19;
const PREPARING: &str = "preparing a statement";
const EXECUTING: &str = "executing a prepared statement";

/// A statement the server has prepared on this connection.
#[derive(Debug, Clone)]
pub struct Statement {
    id: u32,
    param_count: u16,
    columns: Vec<Column>,
}

impl Statement {
    /// The columns of its result; none where it has none.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// How many parameters it takes.
    pub fn param_count(&self) -> u16 {
        self.param_count
    }
}

/// The value of a parameter. The names are those of the types it is sent as.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Param<'a> {
    /// NULL.
    Null,
    /// BIGINT.
    Int(i64),
    /// BIGINT UNSIGNED.
    UInt(u64),
    /// DOUBLE.
    Double(f64),
    /// A text, compared by the collation of what it meets. Decimals, dates and times go as texts too.
    Text(&'a str),
    /// Bytes, compared as such.
    Bytes(&'a [u8]),
}

impl Param<'_> {
    /// `MYSQL_TYPE_…` and the flag byte that marks unsigned.
    fn type_and_flag(&self) -> [u8; 2] {
        match self {
            Param::Null => [0x06, 0],
            Param::Int(_) => [0x08, 0],
            Param::UInt(_) => [0x08, 0x80],
            Param::Double(_) => [0x05, 0],
            Param::Text(_) => [0xfd, 0],
            Param::Bytes(_) => [0xfc, 0],
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        match *self {
            Param::Null => {}
            Param::Int(value) => out.extend_from_slice(&value.to_le_bytes()),
            Param::UInt(value) => out.extend_from_slice(&value.to_le_bytes()),
            Param::Double(value) => out.extend_from_slice(&value.to_le_bytes()),
            Param::Text(value) => put_lenenc_bytes(out, value.as_bytes()),
            Param::Bytes(value) => put_lenenc_bytes(out, value),
        }
    }
}

impl Connection {
    /// Prepares `sql`, with `?` for each parameter.
    pub fn prepare(&mut self, sql: &str) -> Result<Statement> {
        let mut command = Vec::with_capacity(1 + sql.len());
        command.push(COM_STMT_PREPARE);
        command.extend_from_slice(sql.as_bytes());
        self.command(PREPARING, &command)?;
        let packet = self.answer(PREPARING)?;
        let (id, column_count, param_count) =
            parse_prepared(packet).map_err(|error| self.link.truncated(PREPARING, error))?;
        self.read_columns(param_count.into())?;
        let columns = self.read_columns(column_count.into())?;
        self.turn = Turn::Ours;
        Ok(Statement { id, param_count, columns })
    }

    /// Executes `statement` and streams its rows in the binary protocol.
    ///
    /// The columns of [`Rows::columns`] are those of this execution, which tells more than preparing did on some servers.
    pub fn execute_prepared(&mut self, statement: &Statement, params: &[Param<'_>]) -> Result<Rows<'_>> {
        if params.len() != usize::from(statement.param_count) {
            return Err(Error::Invalid(format!(
                "{EXECUTING}: {} parameters were given to a statement that takes {}",
                params.len(),
                statement.param_count
            )));
        }
        self.command(EXECUTING, &execution(statement.id, params))?;
        self.open_result(true)
    }

    /// Frees `statement` on the server.
    pub fn close_prepared(&mut self, statement: Statement) -> Result<()> {
        let mut command = vec![COM_STMT_CLOSE];
        command.extend_from_slice(&statement.id.to_le_bytes());
        self.command("closing a prepared statement", &command)?;
        // This command has no answer.
        self.turn = Turn::Ours;
        Ok(())
    }
}

fn parse_prepared(packet: &[u8]) -> std::result::Result<(u32, u16, u16), Truncated> {
    let mut fields = Fields(packet);
    fields.u8()?;
    Ok((fields.u32()?, fields.u16()?, fields.u16()?))
}

fn execution(id: u32, params: &[Param<'_>]) -> Vec<u8> {
    let mut command = vec![COM_STMT_EXECUTE];
    command.extend_from_slice(&id.to_le_bytes());
    // No cursor, and the iteration count is always 1.
    command.push(0);
    command.extend_from_slice(&1u32.to_le_bytes());
    if !params.is_empty() {
        let mut null_bitmap = vec![0u8; params.len().div_ceil(8)];
        for (index, _) in params.iter().enumerate().filter(|(_, param)| **param == Param::Null) {
            null_bitmap[index / 8] |= 1 << (index % 8);
        }
        command.extend_from_slice(&null_bitmap);
        // The types are sent each time: they may differ from one execution to the next.
        command.push(1);
        command.extend(params.iter().flat_map(Param::type_and_flag));
        params.iter().for_each(|param| param.put(&mut command));
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_encoded_as_the_protocol_says() {
        let cases: [(&[Param<'_>], &[u8]); 3] = [
            (&[], b"\x17\x07\0\0\0\0\x01\0\0\0"),
            (
                &[Param::Int(-2), Param::Null, Param::Text("ab")],
                b"\x17\x07\0\0\0\0\x01\0\0\0\x02\x01\x08\0\x06\0\xfd\0\xfe\xff\xff\xff\xff\xff\xff\xff\x02ab",
            ),
            (
                &[Param::UInt(1), Param::Bytes(b"\0"), Param::Double(1.0)],
                b"\x17\x07\0\0\0\0\x01\0\0\0\0\x01\x08\x80\xfc\0\x05\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\xf0\x3f",
            ),
        ];
        for (params, expected) in cases {
            assert_eq!(execution(7, params), expected, "{params:?}");
        }
    }
}
