//! Rows that a target refused, and the rows that wait behind them.
//!
//! A follower's dead letters are a journal of their own: each letter is a record, and so is its end. Invariant: a letter
//! is on disk before the follower's progress passes the row, and later changes of the same row join it, so that a
//! replay applies them in order.

use crate::intake::journal_error;
use headwater_journal::{Entry, From, Item, Journal, Options, Writer};
use headwater_model::calendar::now_us;
use headwater_model::change::{Change, Changes, Op};
use headwater_model::limits;
use headwater_model::sink::Event;
use headwater_model::{Error, Result, Schema, TransactionBuilder, TransactionHeader};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

/// Letters of one follower that may wait at once; more, and the follower stops.
pub const LETTERS_MAX: usize = 100_000;

/// A row that was refused.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Letter {
    /// Its place in the source's journal; names it.
    pub sequence: u64,
    /// `database.table`.
    pub table: String,
    /// c, u, d, r or t.
    pub op: String,
    /// Why it was refused.
    pub reason: String,
    /// When, microseconds since the epoch.
    pub at_us: i64,
    /// The shape of its row.
    pub schema: Schema,
    /// The change and its transaction's header, as journals hold them.
    #[serde(with = "hex")]
    change: Vec<u8>,
    #[serde(with = "hex")]
    header: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Record {
    Letter(Box<Letter>),
    Ended(Vec<u64>),
}

/// A follower's dead letters.
pub struct DeadLetters {
    /// `None` once it was closed.
    writer: Option<Writer>,
    journal: Journal,
    open: BTreeMap<u64, Waiting>,
    /// Rows that have letters, and which.
    parked: HashMap<(String, Vec<u8>), BTreeSet<u64>>,
}

/// A letter that waits.
struct Waiting {
    /// Its place in the letters' own journal.
    place: u64,
    table: String,
    keys: [Vec<u8>; 2],
}

impl DeadLetters {
    /// Opens the letters below `folder`.
    pub fn open(folder: &Path) -> Result<Self> {
        let options = Options { segment_bytes: LETTERS_SEGMENT_BYTES, ..Options::default() };
        let opened = headwater_journal::open(folder, options).map_err(journal_error)?;
        let mut letters = DeadLetters {
            writer: Some(opened.writer),
            journal: opened.journal,
            open: BTreeMap::new(),
            parked: HashMap::new(),
        };
        letters.read_from(0, |letters, place, record| {
            match record {
                Record::Letter(letter) => letters.remember(place, &letter)?,
                Record::Ended(sequences) => sequences.iter().for_each(|sequence| letters.forget(*sequence)),
            }
            Ok(true)
        })?;
        Ok(letters)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether the row with this sequence is kept already.
    pub fn holds(&self, sequence: u64) -> bool {
        self.open.contains_key(&sequence)
    }

    /// Whether an earlier change of the same row waits here.
    pub fn is_parked(&self, event: &Event<'_>) -> bool {
        if self.parked.is_empty() {
            return false;
        }
        let table = event.schema.full_name();
        let mut keys = row_keys(&event.change, event.schema).into_iter().filter(|key| !key.is_empty());
        let is_earlier = |letters: &BTreeSet<u64>| letters.first().is_some_and(|first| *first < event.sequence);
        keys.any(|key| self.parked.get(&(table.clone(), key)).is_some_and(is_earlier))
    }

    /// Whether the event is to be left out of what the target is given: because it waits here already, or because it has
    /// to wait behind an earlier change of its row, and is kept now. A truncate ends what waits of its table, which it
    /// would have removed.
    pub fn park(&mut self, event: &Event<'_>) -> Result<bool> {
        if self.holds(event.sequence) {
            return Ok(true);
        }
        if event.change.op == Op::Truncate {
            self.end_truncated(event)?;
            return Ok(false);
        }
        let is_parked = self.is_parked(event);
        if is_parked {
            self.keep(event, "an earlier change of this row waits here")?;
        }
        Ok(is_parked)
    }

    fn end_truncated(&mut self, event: &Event<'_>) -> Result<()> {
        let table = event.schema.full_name();
        let of_table = self.open.range(..event.sequence).filter(|(_, waiting)| waiting.table == table);
        let ended: Vec<u64> = of_table.map(|(sequence, _)| *sequence).collect();
        if !ended.is_empty() {
            tracing::warn!(%table, count = ended.len(), "the table was truncated; its dead letters are ended");
            self.end(&ended)?;
        }
        Ok(())
    }

    /// Keeps a row; durable when this returns. Keeping one twice does nothing.
    pub fn keep(&mut self, event: &Event<'_>, reason: &str) -> Result<()> {
        if self.holds(event.sequence) {
            return Ok(());
        }
        if self.open.len() >= LETTERS_MAX {
            return Err(Error::stop(format!("{LETTERS_MAX} rows wait in the dead-letter topic, which is its limit"))
                .hint("Mend what refuses them, then run `headwater dead-letters replay` or `drop`."));
        }
        let mut header = Vec::new();
        event.header.encode(&mut header);
        let letter = Letter {
            sequence: event.sequence,
            table: event.schema.full_name(),
            op: event.change.op.letter().to_owned(),
            reason: reason.to_owned(),
            at_us: now_us(),
            schema: Schema::clone(event.schema),
            change: encode(&event.change),
            header,
        };
        let place = self.write(&Record::Letter(Box::new(letter.clone())))?;
        self.remember(place, &letter)
    }

    /// Ends letters: they were replayed, or a person dropped them. Unknown ones are passed over.
    pub fn end(&mut self, sequences: &[u64]) -> Result<usize> {
        let held: Vec<u64> = sequences.iter().copied().filter(|sequence| self.holds(*sequence)).collect();
        if !held.is_empty() {
            self.write(&Record::Ended(held.clone()))?;
        }
        held.iter().for_each(|sequence| self.forget(*sequence));
        Ok(held.len())
    }

    /// Lets the folder go. Nothing can be kept or ended afterwards.
    pub fn close(&mut self) -> Result<()> {
        self.writer.take().map_or(Ok(()), |writer| writer.close().map_err(journal_error))
    }

    /// The sequences that wait, in order.
    pub fn sequences(&self) -> Vec<u64> {
        self.open.keys().copied().collect()
    }

    /// Reads one letter.
    pub fn read(&self, sequence: u64) -> Result<Option<Letter>> {
        let Some(waiting) = self.open.get(&sequence) else { return Ok(None) };
        let mut reader = self.journal.reader(From::Sequence(waiting.place)).map_err(journal_error)?;
        while let Some(item) = reader.next().map_err(journal_error)? {
            let Item::Frame(frame) = item else { continue };
            for transaction in frame.transactions() {
                if transaction.first_sequence == waiting.place
                    && let Record::Letter(letter) = parse(transaction.body)?
                {
                    return Ok(Some(*letter));
                }
            }
        }
        Ok(None)
    }

    fn write(&mut self, record: &Record) -> Result<u64> {
        let body = serde_json::to_vec(record).map_err(|error| Error::stop("a dead letter").source(error))?;
        let entry = Entry { changes: 1, body: &[&body], ..Entry::default() };
        let writer = self.writer.as_mut().ok_or_else(|| Error::reconnect("the sink was stopped"))?;
        let place = writer.append(&entry).map_err(journal_error)?;
        writer.sync().map_err(journal_error)?;
        Ok(place)
    }

    fn read_from(&mut self, from: u64, mut each: impl FnMut(&mut Self, u64, Record) -> Result<bool>) -> Result<()> {
        let mut reader = self.journal.reader(From::Sequence(from)).map_err(journal_error)?;
        while let Some(item) = reader.next().map_err(journal_error)? {
            let Item::Frame(frame) = item else { continue };
            for transaction in frame.transactions() {
                if !each(self, transaction.first_sequence, parse(transaction.body)?)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn remember(&mut self, place: u64, letter: &Letter) -> Result<()> {
        let keys = row_keys(&letter.change()?, &letter.schema);
        for key in keys.iter().filter(|key| !key.is_empty()) {
            self.parked.entry((letter.table.clone(), key.clone())).or_default().insert(letter.sequence);
        }
        self.open.insert(letter.sequence, Waiting { place, table: letter.table.clone(), keys });
        Ok(())
    }

    fn forget(&mut self, sequence: u64) {
        let Some(waiting) = self.open.remove(&sequence) else { return };
        for key in waiting.keys.into_iter().filter(|key| !key.is_empty()) {
            let row = (waiting.table.clone(), key);
            if let Some(letters) = self.parked.get_mut(&row) {
                letters.remove(&sequence);
                if letters.is_empty() {
                    self.parked.remove(&row);
                }
            }
        }
    }
}

/// Letters are few and small.
const LETTERS_SEGMENT_BYTES: u32 = 4 << 20;

impl Letter {
    /// The change itself.
    pub fn change(&self) -> Result<Change<'_>> {
        let change = Changes::new(&self.change).next().transpose().map_err(crate::intake::damaged)?;
        change.ok_or_else(|| Error::stop(format!("dead letter {} holds no change", self.sequence)))
    }

    /// Calls `apply` with this letter as an event.
    pub fn with_event<T>(&self, apply: impl FnOnce(Event<'_>) -> Result<T>) -> Result<T> {
        let header = TransactionHeader::decode(&mut &self.header[..])
            .ok_or_else(|| Error::stop(format!("dead letter {} has no readable header", self.sequence)))?;
        let schema = Arc::new(self.schema.clone());
        apply(Event { sequence: self.sequence, change: self.change()?, schema: &schema, header: &header })
    }
}

fn parse(body: &[u8]) -> Result<Record> {
    serde_json::from_slice(body).map_err(|error| {
        Error::stop("a record of the dead-letter topic cannot be read")
            .hint("It was written by a later version, or is damaged: run `headwater journal verify`.")
            .source(error)
    })
}

/// What identifies the row, as it was and as it is: the key's values, or the whole row where there is no key.
fn row_keys(change: &Change<'_>, schema: &Schema) -> [Vec<u8>; 2] {
    let all: Vec<u16> = match schema.key.is_empty() {
        true => (0..schema.columns.len().min(limits::COLUMNS_MAX) as u16).collect(),
        false => schema.key.clone(),
    };
    [change.before, change.after].map(|row| {
        let mut key = Vec::new();
        row.inspect(|row| row.encode_key(&all, &mut key));
        key
    })
}

fn encode(change: &Change<'_>) -> Vec<u8> {
    let mut builder = TransactionBuilder::default();
    builder.copy(change, [change.before, change.after], false);
    builder.items().to_vec()
}

/// Bytes as hexadecimal text inside JSON.
mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let pairs = text.as_bytes().chunks(2);
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        pairs.map(|pair| byte(pair).ok_or_else(|| D::Error::custom("not hexadecimal"))).collect()
    }
}
