//! A blocking connection to a PostgreSQL server, down to the raw messages of its replication stream.
//!
//! Nothing here interprets a row or a change: this module moves messages, proves who we are, and runs statements. It keeps
//! one read buffer of [`frame::READ_BUFFER_BYTES`], so that a message of the stream costs one copy from the kernel and no
//! allocation. Invariant: no declared length is ever allocated; memory follows the bytes that have arrived, up to a named
//! limit.
//!
//! Start at [`Connection::connect`], then [`query`] for statements and [`replication`] for the stream.

mod auth;
mod connection;
mod error;
mod fields;
pub mod frame;
mod options;
pub mod query;
pub mod replication;
mod startup;
mod url;

pub use crate::net::{Address, Canceller, TlsMode, TlsOptions};
pub use connection::Connection;
pub use error::{Error, NOT_IN_STATE, Result, ServerError, UNDEFINED_OBJECT};
pub use options::{ChannelBinding, Options, Role, Target};
pub use query::{DataRow, ResultSet, Rows};
pub use replication::{Event, Replication};
