//! XA transactions that were prepared before the place where reading begins: their rows are fetched by a look back.
//!
//! XA COMMIT carries no rows; they stand before XA PREPARE, which may lie weeks back. Invariant: an XA transaction that is
//! undecided at the first position either waits in a side segment when streaming begins, or streaming does not begin, and
//! the reason is named. Start at [`look_back`].

use super::commit::{Open, Txid, XA_STATE};
use super::config::Options;
use super::decode::{Decoder, Event, EventHeader};
use super::failure;
use super::position::{Gtids, Position};
use super::server::Server;
use super::start;
use super::statement::Statement;
use super::transaction::{Transactions, side_of_xa};
use super::wire::{Connection, Dump};
use headwater_model::source::{Intake, StateUpdate};
use headwater_model::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long to wait before a start is tried again while XA transactions that cannot be read are undecided.
const UNDECIDED_RETRY: Duration = Duration::from_secs(2);

/// What a look back is after.
pub struct LookBack {
    /// Transactions that were undecided when it began.
    undecided: BTreeSet<String>,
    /// Those of them whose prepare has not been read.
    unseen: BTreeSet<String>,
    /// From here on every prepared transaction is of interest.
    everything_from: Position,
}

/// The XA transactions that are prepared now.
pub fn undecided(options: &Options, connection: &mut Connection) -> Result<BTreeSet<String>> {
    let is_mariadb = connection.server().is_mariadb;
    // MySQL's plain form passes ids through a character set.
    let sql = if is_mariadb { "XA RECOVER" } else { "XA RECOVER CONVERT XID" };
    let result = match connection.query(sql) {
        Ok(result) => result,
        Err(error) if error.server().is_some() => {
            tracing::warn!(
                source = options.name,
                %error,
                "prepared XA transactions cannot be seen; if there are any, GRANT XA_RECOVER_ADMIN ON *.* to the user first"
            );
            return Ok(BTreeSet::new());
        }
        Err(error) => return Err(failure::of_connection(&options.name, error)),
    };
    let ids = (0..result.rows.len()).map(|row| {
        let number = |name: &str| result.text(row, name)?.parse::<usize>().ok();
        let data = result.rows[row].get(result.column("data")?)?.as_deref()?;
        let hex = match data.strip_prefix(b"0x") {
            Some(digits) if !is_mariadb => String::from_utf8_lossy(digits).to_ascii_lowercase(),
            _ => data.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        let (gtrid, bqual) = hex.split_at_checked(2 * number("gtrid_length")?)?;
        Some(format!("x'{gtrid}',x'{bqual}',{}", number("formatID")?))
    });
    ids.collect::<Option<_>>().ok_or_else(|| {
        Error::stop(format!("source {}: the server's answer to XA RECOVER is not understood", options.name))
    })
}

/// Reads again what was prepared before the position of `transactions`, so that it waits for its outcome.
///
/// `undecided` was asked for first, then `before`, the end of the log then; the position came after both. So what is
/// undecided there is in `undecided`, or was prepared between `before` and the position.
pub fn look_back(
    options: &Options,
    server: &Server,
    before: &Position,
    undecided: BTreeSet<String>,
    transactions: &mut Transactions,
    intake: &mut dyn Intake,
) -> Result<()> {
    let low = transactions.position().clone();
    if undecided.is_empty() && (&low.file, low.offset) == (&before.file, before.offset) {
        return Ok(());
    }
    let (file, offset) = oldest_prepare(options, server, before, &undecided)?;
    transactions.turn_back(
        &file,
        offset,
        LookBack { unseen: undecided.clone(), undecided, everything_from: before.clone() },
    );
    let mut dump = backlog(options, &file, offset)?;
    let mut decoder = Decoder::new(server.flavor());
    while let Some(raw) = next(options, &mut dump)? {
        let (header, event) = decoder.event(raw).map_err(|error| transactions.next_undecodable(error))?;
        transactions.event(&header, event, intake)?;
    }
    match transactions.turn_forward(intake)?.is_empty() {
        true => Ok(()),
        false => Err(Error::stop(format!(
            "source {}: prepared XA transactions were not found where they were logged",
            options.name
        ))
        .hint("End them with XA COMMIT or XA ROLLBACK before the first start, and please report the server's version")),
    }
}

fn backlog(options: &Options, file: &str, offset: u64) -> Result<Dump> {
    let (connection, _) = start::connect(options, &mut 0)?;
    start::dump_backlog(options, connection, file, offset)
}

fn next<'d>(options: &Options, dump: &'d mut Dump) -> Result<Option<&'d [u8]>> {
    dump.next_event().map_err(|error| failure::of_connection(&options.name, error))
}

/// The file and offset at which the oldest of the undecided transactions begins; `before` when there is none. Goes
/// through the log files from the newest to the oldest, as far as it must.
fn oldest_prepare(
    options: &Options,
    server: &Server,
    before: &Position,
    undecided: &BTreeSet<String>,
) -> Result<(String, u64)> {
    let mut missing = undecided.clone();
    let mut oldest = (before.file.clone(), before.offset);
    if missing.is_empty() {
        return Ok(oldest);
    }
    let (mut connection, _) = start::connect(options, &mut 0)?;
    let mut files = server.log_files(&mut connection).map_err(|error| failure::of_connection(&options.name, error))?;
    connection.close();
    while let Some((file, _)) = files.pop()
        && !missing.is_empty()
    {
        let found = prepares_in(options, server, &file)?;
        let here = missing.iter().filter_map(|id| found.get(id)).min().copied();
        missing.retain(|id| !found.contains_key(id));
        if let Some(offset) = here {
            oldest = (file, offset);
        }
    }
    if missing.is_empty() {
        return Ok(oldest);
    }
    let count = missing.len();
    let names: Vec<String> = missing.into_iter().take(10).collect();
    Err(Error::retry_after(
        UNDECIDED_RETRY,
        format!("source {}: waiting for {count} prepared XA transactions to end", options.name),
    )
    .detail(format!("The log no longer has their rows: {}", names.join("; ")))
    .hint("List them with XA RECOVER, and end each with XA COMMIT or XA ROLLBACK"))
}

/// Where in `file` each transaction begins that was prepared there; the last one of each name.
fn prepares_in(options: &Options, server: &Server, file: &str) -> Result<BTreeMap<String, u64>> {
    let mut found = BTreeMap::new();
    let mut dump = backlog(options, file, 4)?;
    let mut decoder = Decoder::new(server.flavor());
    let mut begin = 4;
    while let Some(raw) = next(options, &mut dump)? {
        let (header, event) = decoder
            .event(raw)
            .map_err(|error| failure::of_event(&options.name, &format!("{file}, after offset {begin}"), error))?;
        match event {
            Event::Gtid(_) | Event::AnonymousGtid(_) | Event::MariaGtid(_) => {
                begin = u64::from(header.end_position.saturating_sub(header.length));
            }
            Event::Rotate { file: next, .. } if !header.artificial() && next != file => break,
            Event::XaPrepare { one_phase: false, xid } => {
                found.insert(xid.literal().to_ascii_lowercase(), begin);
            }
            Event::Payload(mut payload) => {
                while let Some((_, event)) =
                    payload.next_event().map_err(|error| failure::of_event(&options.name, file, error))?
                {
                    if let Event::XaPrepare { one_phase: false, xid } = event {
                        found.insert(xid.literal().to_ascii_lowercase(), begin);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

impl Transactions {
    fn turn_back(&mut self, file: &str, offset: u64, what: LookBack) {
        self.file = file.to_owned();
        (self.start, self.end) = (offset, offset);
        self.looking_back = Some(what);
    }

    /// Goes on from the first position, which looking back has not moved. Answers what was looked for in vain.
    fn turn_forward(&mut self, intake: &mut dyn Intake) -> Result<BTreeSet<String>> {
        self.discard(intake)?;
        let unseen = self.looking_back.take().map(|what| what.unseen).unwrap_or_default();
        self.tables.forget_numbers();
        self.file.clone_from(&self.position.file);
        (self.start, self.end) = (self.position.offset, self.position.offset);
        self.moved = true;
        Ok(unseen)
    }

    /// Whether the transaction at hand is prepared before the first position and may be undecided there.
    fn is_wanted(&self, open: &Open) -> bool {
        let (Some(id), Some(what)) = (&open.xa, &self.looking_back) else { return false };
        let recent = self.here().order_in_log(&what.everything_from).is_gt();
        (recent || what.undecided.contains(id)) && self.is_before_first(open)
    }

    pub(super) fn here(&self) -> Position {
        let gtids = Gtids::None;
        Position { gtids, server_uuid: None, server_id: 0, file: self.file.clone(), offset: self.end }
    }

    /// Whether the transaction at hand lies before the first position.
    fn is_before_first(&self, open: &Open) -> bool {
        match (&self.position.gtids, &open.txid) {
            (Gtids::MySql(set), Txid::MySql { uuid, tag, number }) => set.contains(*uuid, tag, *number),
            (Gtids::MariaDb(position), Txid::MariaDb(gtid)) => {
                position.gtids().any(|last| last.domain == gtid.domain && last.sequence >= gtid.sequence)
            }
            _ => self.here().order_in_log(&self.position).is_le(),
        }
    }

    pub(super) fn look_back_at(
        &mut self,
        header: &EventHeader,
        event: Event<'_>,
        intake: &mut dyn Intake,
    ) -> Result<()> {
        match event {
            Event::Gtid(gtid) | Event::AnonymousGtid(gtid) => self.open = Some(self.opened(header, &gtid)),
            Event::MariaGtid(gtid) => self.open = Some(self.opened_mariadb(header, &gtid)),
            Event::TableMap(_) | Event::Rows(_) if self.open.as_ref().is_some_and(|open| self.is_wanted(open)) => {
                return self.follow(header, event, intake);
            }
            Event::XaPrepare { one_phase: false, .. } => {
                if let Some(open) = self.open.take().filter(|open| self.is_wanted(open)) {
                    self.prepare_again(header, &open, intake)?;
                }
            }
            Event::Query(query) => {
                let Some(text) = query.text(&self.charsets) else { return Ok(()) };
                match Statement::read(&text) {
                    Statement::XaStart(id) => {
                        if let Some(open) = &mut self.open {
                            open.xa = Some(id);
                        }
                    }
                    Statement::XaCommit(id) | Statement::XaRollback(id) => self.decided(&id, intake)?,
                    _ => {}
                }
            }
            Event::FormatDescription(_) => {
                self.tables.forget_numbers();
            }
            Event::Xid(_) | Event::XaPrepare { .. } => {
                self.open = None;
                self.discard_changes(intake)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn prepare_again(&mut self, header: &EventHeader, open: &Open, intake: &mut dyn Intake) -> Result<()> {
        let Some(id) = open.xa.clone() else { return Ok(()) };
        if let Some(what) = &mut self.looking_back {
            what.unseen.remove(&id);
        }
        if self.changes.is_empty() && self.side.is_none() {
            return Ok(());
        }
        self.encode(open, header, 0);
        // Empty: there is no position yet, so that a start that fails here begins from nothing again.
        self.encoded.clear();
        self.keep_prepared(&id, intake)
    }

    /// Decided before the first position, unless this belongs to what is streamed later.
    fn decided(&mut self, id: &str, intake: &mut dyn Intake) -> Result<()> {
        let before_first = self.open.as_ref().is_none_or(|open| self.is_before_first(open));
        if before_first && self.prepared.remove(id).is_some() {
            self.kept.remove(id);
            self.tables.push_state(StateUpdate { key: format!("{XA_STATE}{id}"), value: None });
            intake.abort_side(&side_of_xa(id))?;
        }
        Ok(())
    }
}
