//! Every message of pgoutput, protocol versions 1 to 4, borrowed from its bytes.
//!
//! Layouts: "Logical Replication Message Formats" in PostgreSQL's documentation. Invariant: a message is read to its last
//! byte or refused, so that a lost boundary never passes for a change. Start at [`Reader::read`].

use super::bytes::{Bad, Bytes, Read};
use super::tuple::Tuple;
use headwater_model::limits::COLUMNS_MAX;

/// A place in the write-ahead log.
pub type Lsn = u64;

/// One message. Times are microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A transaction begins.
    Begin {
        /// Where its commit record begins.
        final_lsn: Lsn,
        /// When it was committed.
        commit_us: i64,
        /// Its number.
        xid: u32,
    },
    /// The transaction that was begun is committed.
    Commit(Commit),
    /// The transaction was written under a replication origin.
    Origin {
        /// Where its commit stands at the origin.
        lsn: Lsn,
        /// The origin's name.
        name: &'a str,
    },
    /// A table's shape; every change of it up to the next one has this shape.
    Relation(Relation<'a>),
    /// A type that is not built in, before the first relation that uses it.
    Type {
        /// Its transaction, in a streamed block.
        xid: Option<u32>,
        /// Its number.
        oid: u32,
        /// Its schema; empty for `pg_catalog`.
        namespace: &'a str,
        /// Its name.
        name: &'a str,
    },
    /// A row was inserted.
    Insert {
        /// Its (sub)transaction, in a streamed block.
        xid: Option<u32>,
        /// The table's number.
        relation: u32,
        /// The row.
        new: Tuple<'a>,
    },
    /// A row was updated.
    Update {
        /// Its (sub)transaction, in a streamed block.
        xid: Option<u32>,
        /// The table's number.
        relation: u32,
        /// What is known of the row as it was: nothing when its identity did not change.
        old: Option<Old<'a>>,
        /// The row as it is.
        new: Tuple<'a>,
    },
    /// A row was deleted.
    Delete {
        /// Its (sub)transaction, in a streamed block.
        xid: Option<u32>,
        /// The table's number.
        relation: u32,
        /// What is known of it.
        old: Old<'a>,
    },
    /// Tables were truncated.
    Truncate(Truncate<'a>),
    /// What a client wrote into the log with `pg_logical_emit_message`.
    Logical(Logical<'a>),
    /// A block of a transaction that is still in progress begins.
    StreamStart {
        /// The transaction.
        xid: u32,
        /// Whether it is its first block.
        first: bool,
    },
    /// The block ends.
    StreamStop,
    /// A streamed transaction is committed.
    StreamCommit {
        /// The transaction.
        xid: u32,
        /// Where and when.
        commit: Commit,
    },
    /// A streamed transaction, or one of its subtransactions, is rolled back.
    StreamAbort {
        /// The transaction.
        xid: u32,
        /// What is rolled back: the transaction itself, or a subtransaction of it.
        subxid: u32,
        /// Where and when; only with `streaming = parallel`.
        abort: Option<(Lsn, i64)>,
    },
    /// A transaction that will be prepared begins.
    BeginPrepare(Prepared<'a>),
    /// The transaction that was begun is prepared.
    Prepare(Prepared<'a>),
    /// A prepared transaction is committed.
    CommitPrepared {
        /// Where and when it was committed.
        commit: Commit,
        /// Its number.
        xid: u32,
        /// Its global name.
        gid: &'a str,
    },
    /// A prepared transaction is rolled back.
    RollbackPrepared {
        /// Where its prepare record ends.
        prepare_end_lsn: Lsn,
        /// Where the record of the rollback ends.
        end_lsn: Lsn,
        /// When it was prepared.
        prepare_us: i64,
        /// When it was rolled back.
        rollback_us: i64,
        /// Its number.
        xid: u32,
        /// Its global name.
        gid: &'a str,
    },
    /// A streamed transaction is prepared.
    StreamPrepare(Prepared<'a>),
}

/// Where and when a transaction was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Where its commit record begins.
    pub lsn: Lsn,
    /// Where it ends.
    pub end_lsn: Lsn,
    /// When.
    pub commit_us: i64,
}

/// Where and when a transaction was prepared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prepared<'a> {
    /// Where its prepare record begins.
    pub lsn: Lsn,
    /// Where it ends.
    pub end_lsn: Lsn,
    /// When.
    pub prepare_us: i64,
    /// Its number.
    pub xid: u32,
    /// Its global name.
    pub gid: &'a str,
}

/// A table's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relation<'a> {
    /// Its transaction, in a streamed block.
    pub xid: Option<u32>,
    /// The table's number.
    pub oid: u32,
    /// Its schema; `pg_catalog` is sent as an empty text.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// What updates and deletes carry of the row as it was.
    pub identity: Identity,
    columns: u16,
    bytes: &'a [u8],
}

/// One column of a [`Relation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelationColumn<'a> {
    /// Whether it is part of the replica identity; with [`Identity::Full`] every column is.
    pub is_identity: bool,
    /// Its name.
    pub name: &'a str,
    /// The number of its type.
    pub type_oid: u32,
    /// The type's modifier; -1 for none.
    pub type_modifier: i32,
}

/// REPLICA IDENTITY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The primary key.
    Default,
    /// None.
    Nothing,
    /// The whole row.
    Full,
    /// The columns of an index.
    Index,
}

/// What is known of a row as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Old<'a> {
    /// Its replica identity alone; the other columns are sent as null.
    Key(Tuple<'a>),
    /// All of it.
    Row(Tuple<'a>),
}

/// Tables that were truncated by one statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncate<'a> {
    /// Its (sub)transaction, in a streamed block.
    pub xid: Option<u32>,
    /// CASCADE.
    pub cascade: bool,
    /// RESTART IDENTITY.
    pub restart_identity: bool,
    relations: &'a [u8],
}

/// A message of the log itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logical<'a> {
    /// Its (sub)transaction, in a streamed block.
    pub xid: Option<u32>,
    /// Whether it is part of a transaction; otherwise it stands for itself, before and between transactions.
    pub transactional: bool,
    /// Where it stands.
    pub lsn: Lsn,
    /// Whose message it is.
    pub prefix: &'a str,
    /// What it says.
    pub content: &'a [u8],
}

/// A message that does not follow its format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a message of the replication stream of type {kind:?} cannot be read at: {what}. The connection or a pooler in between damages the stream, or the server is of a later version than 18; connect to the server itself, and start again"
)]
pub struct Malformed {
    /// The first byte.
    pub kind: char,
    /// The field.
    pub what: &'static str,
}

/// Reads messages in the order in which they arrive; it knows whether a streamed block is open, in which changes carry the
/// number of their transaction.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reader {
    in_stream: bool,
}

impl Reader {
    /// Reads one message: what stands in one XLogData, after its header.
    ///
    /// # Errors
    /// Unknown types and bytes that are missing or left over.
    pub fn read<'a>(&mut self, message: &'a [u8]) -> Result<Message<'a>, Malformed> {
        let Some((&kind, body)) = message.split_first() else {
            return Err(Malformed { kind: '?', what: "it is empty" });
        };
        let mut body = Bytes(body);
        let read = self.body(kind, &mut body).and_then(|read| {
            body.end("bytes after its end")?;
            Ok(read)
        });
        let read = read.map_err(|Bad(what)| Malformed { kind: char::from(kind), what })?;
        match read {
            Message::StreamStart { .. } => self.in_stream = true,
            Message::StreamStop => self.in_stream = false,
            _ => {}
        }
        Ok(read)
    }

    fn body<'a>(&self, kind: u8, body: &mut Bytes<'a>) -> Read<Message<'a>> {
        Ok(match kind {
            b'B' => Message::Begin {
                final_lsn: body.u64("LSN")?,
                commit_us: time(body)?,
                xid: body.u32("transaction number")?,
            },
            b'C' => Message::Commit(commit(body)?),
            b'O' => Message::Origin { lsn: body.u64("LSN")?, name: body.string("name of the origin")? },
            b'R' => Message::Relation(relation(self.xid(body)?, body)?),
            b'Y' => Message::Type {
                xid: self.xid(body)?,
                oid: body.u32("number of the type")?,
                namespace: body.string("schema of the type")?,
                name: body.string("name of the type")?,
            },
            b'I' => {
                let (xid, relation) = (self.xid(body)?, body.u32("number of the table")?);
                Message::Insert { xid, relation, new: new_row(body)? }
            }
            b'U' => {
                let (xid, relation) = (self.xid(body)?, body.u32("number of the table")?);
                let old = if body.0.first() == Some(&b'N') { None } else { Some(old_row(body)?) };
                Message::Update { xid, relation, old, new: new_row(body)? }
            }
            b'D' => Message::Delete {
                xid: self.xid(body)?,
                relation: body.u32("number of the table")?,
                old: old_row(body)?,
            },
            b'T' => Message::Truncate(truncate(self.xid(body)?, body)?),
            b'M' => Message::Logical(logical(self.xid(body)?, body)?),
            b'S' if self.in_stream => return Err(Bad("a block begins inside another")),
            b'S' => Message::StreamStart { xid: body.u32("transaction number")?, first: flag(body)? },
            b'E' if !self.in_stream => return Err(Bad("a block ends that has not begun")),
            b'E' => Message::StreamStop,
            b'c' => Message::StreamCommit { xid: body.u32("transaction number")?, commit: commit(body)? },
            b'A' => stream_abort(body)?,
            b'b' => Message::BeginPrepare(prepared(body)?),
            b'P' => Message::Prepare(flagged_prepared(body)?),
            b'p' => Message::StreamPrepare(flagged_prepared(body)?),
            b'K' => Message::CommitPrepared {
                commit: commit(body)?,
                xid: body.u32("transaction number")?,
                gid: body.string("name of the prepared transaction")?,
            },
            b'r' => {
                no_flags(body)?;
                Message::RollbackPrepared {
                    prepare_end_lsn: body.u64("LSN")?,
                    end_lsn: body.u64("LSN")?,
                    prepare_us: time(body)?,
                    rollback_us: time(body)?,
                    xid: body.u32("transaction number")?,
                    gid: body.string("name of the prepared transaction")?,
                }
            }
            _ => return Err(Bad("its type, which is unknown")),
        })
    }

    /// The transaction's number, which stands only in streamed blocks.
    #[inline]
    fn xid(&self, body: &mut Bytes<'_>) -> Read<Option<u32>> {
        if self.in_stream { body.u32("transaction number").map(Some) } else { Ok(None) }
    }
}

/// Microseconds between the Unix epoch and PostgreSQL's, 2000-01-01.
pub(super) const EPOCH_US: i64 = 946_684_800_000_000;

#[inline]
fn time(body: &mut Bytes<'_>) -> Read<i64> {
    body.i64("time")?.checked_add(EPOCH_US).ok_or(Bad("time: out of range"))
}

fn flag(body: &mut Bytes<'_>) -> Read<bool> {
    match body.u8("flag")? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Bad("flag: neither 0 nor 1")),
    }
}

/// A byte of flags of which none has a meaning yet.
fn no_flags(body: &mut Bytes<'_>) -> Read<()> {
    if body.u8("flags")? == 0 { Ok(()) } else { Err(Bad("flags: none is known")) }
}

fn commit(body: &mut Bytes<'_>) -> Read<Commit> {
    no_flags(body)?;
    Ok(Commit { lsn: body.u64("LSN")?, end_lsn: body.u64("LSN")?, commit_us: time(body)? })
}

fn flagged_prepared<'a>(body: &mut Bytes<'a>) -> Read<Prepared<'a>> {
    no_flags(body)?;
    prepared(body)
}

fn prepared<'a>(body: &mut Bytes<'a>) -> Read<Prepared<'a>> {
    Ok(Prepared {
        lsn: body.u64("LSN")?,
        end_lsn: body.u64("LSN")?,
        prepare_us: time(body)?,
        xid: body.u32("transaction number")?,
        gid: body.string("name of the prepared transaction")?,
    })
}

fn stream_abort<'a>(body: &mut Bytes<'_>) -> Read<Message<'a>> {
    let (xid, subxid) = (body.u32("transaction number")?, body.u32("number of the subtransaction")?);
    // Whether they are sent depends on an option of the stream, which shows by nothing else.
    let abort = if body.0.is_empty() { None } else { Some((body.u64("LSN")?, time(body)?)) };
    Ok(Message::StreamAbort { xid, subxid, abort })
}

fn relation<'a>(xid: Option<u32>, body: &mut Bytes<'a>) -> Read<Relation<'a>> {
    let oid = body.u32("number of the table")?;
    let namespace = body.string("schema of the table")?;
    let name = body.string("name of the table")?;
    let identity = match body.u8("replica identity")? {
        b'd' => Identity::Default,
        b'n' => Identity::Nothing,
        b'f' => Identity::Full,
        b'i' => Identity::Index,
        _ => return Err(Bad("replica identity: none of d, n, f, i")),
    };
    let columns = body.u16("number of columns")?;
    if usize::from(columns) > COLUMNS_MAX {
        return Err(Bad("number of columns: more than a table can have"));
    }
    let start = body.0;
    for _ in 0..columns {
        relation_column(body)?;
    }
    let namespace = if namespace.is_empty() { "pg_catalog" } else { namespace };
    Ok(Relation { xid, oid, namespace, name, identity, columns, bytes: &start[..start.len() - body.0.len()] })
}

fn relation_column<'a>(body: &mut Bytes<'a>) -> Read<RelationColumn<'a>> {
    Ok(RelationColumn {
        is_identity: body.u8("flags of a column")? & 1 == 1,
        name: body.string("name of a column")?,
        type_oid: body.u32("type of a column")?,
        type_modifier: body.i32("type modifier of a column")?,
    })
}

fn truncate<'a>(xid: Option<u32>, body: &mut Bytes<'a>) -> Read<Truncate<'a>> {
    let count = body.u32("number of tables")?;
    let options = body.u8("options of TRUNCATE")?;
    let length = (count as usize).checked_mul(4).ok_or(Bad("number of tables"))?;
    let relations = body.take(length, "numbers of tables")?;
    Ok(Truncate { xid, cascade: options & 1 != 0, restart_identity: options & 2 != 0, relations })
}

fn logical<'a>(xid: Option<u32>, body: &mut Bytes<'a>) -> Read<Logical<'a>> {
    let transactional = flag(body)?;
    let lsn = body.u64("LSN")?;
    let prefix = body.string("prefix of a message")?;
    let length = body.u32("length of a message")?;
    Ok(Logical { xid, transactional, lsn, prefix, content: body.take(length as usize, "content of a message")? })
}

fn new_row<'a>(body: &mut Bytes<'a>) -> Read<Tuple<'a>> {
    match body.u8("kind of row")? {
        b'N' => Tuple::read(body),
        _ => Err(Bad("kind of row: not N")),
    }
}

fn old_row<'a>(body: &mut Bytes<'a>) -> Read<Old<'a>> {
    match body.u8("kind of old row")? {
        b'K' => Tuple::read(body).map(Old::Key),
        b'O' => Tuple::read(body).map(Old::Row),
        _ => Err(Bad("kind of old row: neither K nor O")),
    }
}

impl<'a> Relation<'a> {
    /// How many columns there are.
    pub fn len(&self) -> usize {
        usize::from(self.columns)
    }

    /// Whether it has no column, which PostgreSQL allows.
    pub fn is_empty(&self) -> bool {
        self.columns == 0
    }

    /// The columns, in the order of its rows.
    pub fn columns(&self) -> impl Iterator<Item = RelationColumn<'a>> + use<'a> {
        let mut rest = Bytes(self.bytes);
        // `relation` has read all of them once, so this ends only after the last.
        std::iter::from_fn(move || relation_column(&mut rest).ok())
    }
}

impl Truncate<'_> {
    /// The numbers of the tables.
    pub fn relations(&self) -> impl Iterator<Item = u32> + '_ {
        self.relations.chunks_exact(4).map(|oid| u32::from_be_bytes([oid[0], oid[1], oid[2], oid[3]]))
    }
}
