//! A blocking connection to a MySQL or MariaDB server, down to the raw packets of its log.
//!
//! Nothing here interprets a row or an event: this module moves packets, proves who we are, and runs statements. It keeps
//! one read buffer of [`packet::READ_BUFFER_BYTES`], so that a log event costs one copy from the kernel and no allocation.
//! Invariant: no declared length is ever allocated; memory follows the bytes that have arrived, up to a named limit.
//!
//! Start at [`Connection::connect`], then [`query`] for statements and [`dump`] for the log.

mod auth;
mod connection;
pub mod dump;
mod error;
mod fields;
mod handshake;
mod options;
pub mod packet;
pub mod query;
mod statement;
mod url;

pub use crate::net::{Address, Canceller, TlsMode, TlsOptions};
pub use connection::{Connection, ServerInfo};
pub use dump::{Dump, DumpRequest, DumpStart, Event};
pub use error::{Error, Result, ServerError};
pub use options::{Options, Secret};
pub use query::{Column, Done, ResultSet, Rows, text_values};
pub use statement::{Param, Statement};
