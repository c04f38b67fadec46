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
    /// Made by Headwater itself (heartbeats, generation marks).
    Headwater,
}

const BINLOG: u64 = 1;
const BINLOG_SNAPSHOT: u64 = 2;
const HEADWATER: u64 = 3;

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
            HEADWATER => Origin::Headwater,
            _ => return None,
        };
        Some(TransactionHeader { commit_us, receive_us, origin })
    }
}
