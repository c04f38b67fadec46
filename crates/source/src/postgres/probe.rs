//! Asks a server where its log ends, for those who wait until all of it has arrived.
//!
//! Invariant: a connection of its own each time, so that it can be asked from any thread and never disturbs the stream.

use super::config::Options;
use super::failure;
use super::lsn::Lsn;
use super::position::Position;
use super::server::end_of_log;
use super::start;
use headwater_model::source::Probe;
use headwater_model::{Error, Result};
use std::sync::Arc;

/// A [`Probe`] of a PostgreSQL server.
pub struct ServerProbe {
    options: Arc<Options>,
}

impl ServerProbe {
    /// Connects when it is asked.
    pub fn new(options: Arc<Options>) -> Self {
        ServerProbe { options }
    }
}

impl Probe for ServerProbe {
    fn end(&self) -> Result<Vec<u8>> {
        let options = &*self.options;
        let (mut connection, server) = start::connect(options, &mut 0)?;
        let lsn = end_of_log(&mut connection).map_err(|error| failure::of_connection(&options.name, error))?;
        connection.close();
        let (system, timeline, slot) = (server.system, server.timeline, options.slot.clone());
        let mut bytes = Vec::new();
        Position { system, timeline, slot, lsn, last_commit: Lsn(0) }.encode(&mut bytes);
        Ok(bytes)
    }

    fn reached(&self, position: &[u8], end: &[u8]) -> Result<bool> {
        let read = |bytes| {
            Position::decode(bytes).map_err(|error| Error::stop(format!("source {}", self.options.name)).source(error))
        };
        let (position, end) = (read(position)?, read(end)?);
        position.reached(&end).ok_or_else(|| {
            Error::stop(format!(
                "source {}: its position and the end of the server's log cannot be compared",
                self.options.name
            ))
            .detail(format!("One is {position}, the other {end}"))
            .hint("They are of two servers; wait until the source has connected to the one that is asked.")
        })
    }
}
