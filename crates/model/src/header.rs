//! What is known of a transaction as a whole: when, where and by whom it was committed.
//!
//! Invariant: everything a later rendering may need is here, so that no later feature changes the journal's format.

use crate::varint::{put_bytes, put_i64, put_u64, take_i64, take_str, take_u64};

/// A transaction's origin and times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionHeader<'a> {
    /// Commit time, microseconds since the epoch; as exact as the server tells.
    pub commit_us: i64,
    /// When the last byte of it reached us, microseconds since the epoch.
    pub receive_us: i64,
    /// Where it stands in the source's own log.
    pub origin: Origin<'a>,
}

/// Where a transaction comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin<'a> {
    /// A MySQL or MariaDB binary log.
    Binlog {
        /// `server_id` of the server that executed it.
        server_id: u32,
        /// The log's file.
        file: &'a str,
        /// Byte position of its first event in the file.
        position: u64,
        /// `uuid[:tag]:n` or `domain-server-sequence`; empty where GTIDs are off.
        gtid: &'a str,
        /// The session that ran it; 0 if unknown.
        thread: u64,
        /// The storage engine's transaction number; 0 if there was none.
        xid: u64,
    },
    /// Rows read by a snapshot, as of a position in the binary log.
    BinlogSnapshot {
        /// The log's file at the low watermark.
        file: &'a str,
        /// Its byte position.
        position: u64,
        /// Executed GTIDs at the low watermark; empty where GTIDs are off.
        gtid: &'a str,
    },
    /// A PostgreSQL write-ahead log.
    Wal {
        /// Transaction number.
        xid: u32,
        /// LSN of its commit record.
        commit_lsn: u64,
        /// LSN after its commit record: where the next transaction may end.
        end_lsn: u64,
        /// `end_lsn` of the transaction that was committed before it; 0 for the first since the source started.
        previous_lsn: u64,
        /// The replication origin that wrote it, empty for none.
        origin: &'a str,
        /// Where it stands at that origin; 0 for none.
        origin_lsn: u64,
    },
    /// Rows read by a snapshot, as of a position in the write-ahead log.
    WalSnapshot {
        /// The transaction number from which on nothing is seen.
        xid: u32,
        /// LSN at the snapshot.
        lsn: u64,
    },
    /// Made by Headwater itself (heartbeats, generation marks).
    Headwater,
}

const BINLOG: u64 = 1;
const BINLOG_SNAPSHOT: u64 = 2;
const HEADWATER: u64 = 3;
const WAL: u64 = 4;
const WAL_SNAPSHOT: u64 = 5;

impl<'a> TransactionHeader<'a> {
    /// Appends the encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_i64(out, self.commit_us);
        put_i64(out, self.receive_us);
        match &self.origin {
            Origin::Binlog { server_id, file, position, gtid, thread, xid } => {
                put_u64(out, BINLOG);
                put_u64(out, u64::from(*server_id));
                put_bytes(out, file.as_bytes());
                put_u64(out, *position);
                put_bytes(out, gtid.as_bytes());
                put_u64(out, *thread);
                put_u64(out, *xid);
            }
            Origin::BinlogSnapshot { file, position, gtid } => {
                put_u64(out, BINLOG_SNAPSHOT);
                put_bytes(out, file.as_bytes());
                put_u64(out, *position);
                put_bytes(out, gtid.as_bytes());
            }
            Origin::Wal { xid, commit_lsn, end_lsn, previous_lsn, origin, origin_lsn } => {
                put_u64(out, WAL);
                put_u64(out, u64::from(*xid));
                put_u64(out, *commit_lsn);
                put_u64(out, *end_lsn);
                put_u64(out, *previous_lsn);
                put_bytes(out, origin.as_bytes());
                put_u64(out, *origin_lsn);
            }
            Origin::WalSnapshot { xid, lsn } => {
                put_u64(out, WAL_SNAPSHOT);
                put_u64(out, u64::from(*xid));
                put_u64(out, *lsn);
            }
            Origin::Headwater => put_u64(out, HEADWATER),
        }
    }

    /// Takes a header off the front of `input`; `None` when it is cut off or damaged.
    pub fn decode(input: &mut &'a [u8]) -> Option<Self> {
        let commit_us = take_i64(input)?;
        let receive_us = take_i64(input)?;
        let origin = match take_u64(input)? {
            BINLOG => Origin::Binlog {
                server_id: u32::try_from(take_u64(input)?).ok()?,
                file: take_str(input)?,
                position: take_u64(input)?,
                gtid: take_str(input)?,
                thread: take_u64(input)?,
                xid: take_u64(input)?,
            },
            BINLOG_SNAPSHOT => {
                Origin::BinlogSnapshot { file: take_str(input)?, position: take_u64(input)?, gtid: take_str(input)? }
            }
            WAL => Origin::Wal {
                xid: u32::try_from(take_u64(input)?).ok()?,
                commit_lsn: take_u64(input)?,
                end_lsn: take_u64(input)?,
                previous_lsn: take_u64(input)?,
                origin: take_str(input)?,
                origin_lsn: take_u64(input)?,
            },
            WAL_SNAPSHOT => Origin::WalSnapshot { xid: u32::try_from(take_u64(input)?).ok()?, lsn: take_u64(input)? },
            HEADWATER => Origin::Headwater,
            _ => return None,
        };
        Some(TransactionHeader { commit_us, receive_us, origin })
    }
}
