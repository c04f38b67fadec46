//! Reads a source's journal from the data folder, whether an instance runs or not.
//!
//! Invariant: takes no lock and changes nothing. Start at [`Folder::of`] and [`Folder::walk`].

use super::Global;
use super::output::failure;
use crate::config::load_settings;
use headwater_engine::{RENDERING_HEAD, SCHEMA_PREFIX};
use headwater_journal::{From, Item, OffsetRange, Reader, Topic, TopicId, read_folder};
use headwater_model::change::Changes;
use headwater_model::{Schema, TransactionHeader, TransactionView};
use miette::{Result, miette};
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a reader that has caught up waits before it looks again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// One source's journal on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// The source's name.
    pub source: String,
    /// Where its journal lies.
    pub path: PathBuf,
}

impl Folder {
    /// The journal of `source`, or of every source when none is named.
    pub fn of(global: &Global, source: Option<&str>) -> Result<Vec<Folder>> {
        let root = load_settings(&global.config)?.data_dir.join("journal");
        let folder = |name: String| Folder { path: root.join(&name), source: name };
        let mut names: Vec<String> = std::fs::read_dir(&root)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.path().is_dir())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        if names.is_empty() {
            let message = format!("there is no journal in {}", root.display());
            return Err(failure(message, "`headwater run` makes it at its first start; is -c FILE the right one?"));
        }
        match source {
            None => Ok(names.into_iter().map(folder).collect()),
            Some(name) if names.iter().any(|known| known == name) => Ok(vec![folder(name.into())]),
            Some(name) => {
                let message = format!("there is no journal of a source `{name}` in {}", root.display());
                Err(failure(message, format!("There are: {}.", names.join(", "))))
            }
        }
    }

    /// The only journal; an error when a source has to be named.
    pub fn only(global: &Global, source: Option<&str>) -> Result<Folder> {
        let mut folders = Folder::of(global, source)?;
        match (folders.pop(), folders.is_empty()) {
            (Some(folder), true) => Ok(folder),
            _ => Err(failure("there is more than one source", "Name the one you mean with --source.")),
        }
    }

    /// Calls `visit` with every transaction from `from` on, a large one in parts, until it answers `false` or, without
    /// `follow`, the end is reached.
    pub fn walk(&self, from: From, follow: bool, visit: &mut dyn FnMut(&Seen<'_>) -> Result<bool>) -> Result<()> {
        let explain = |error| self.explain(error);
        let mut reader = read_folder(&self.path, from).map_err(explain)?;
        let mut known = Known::of(&reader)?;
        loop {
            match reader.next().map_err(explain)? {
                Some(item) => {
                    if !known.visit(item, visit)? {
                        return Ok(());
                    }
                }
                None if follow => drop(reader.wait(Instant::now() + LOOK_AGAIN).map_err(explain)?),
                None => return Ok(()),
            }
        }
    }

    /// An error of the journal, for a person.
    pub fn explain(&self, error: headwater_journal::Error) -> miette::Report {
        failure(format!("the journal of {}: {error}", self.source), "`headwater journal verify` looks at all of it.")
    }
}

/// A transaction, or a part of one that is too large for one frame.
pub struct Seen<'a> {
    /// Sequence of its first change.
    pub first_sequence: u64,
    /// How many changes.
    pub count: u32,
    /// When it was written, microseconds since the epoch.
    pub time_us: u64,
    /// Whether it is only a part, and which one, from 0.
    pub part: Option<u32>,
    /// Who, when, where.
    pub header: TransactionHeader<'a>,
    /// The changes.
    pub changes: Changes<'a>,
    /// The offsets that its records take.
    pub offsets: Vec<OffsetRange>,
    /// Tables and topics as they are at this point.
    pub known: &'a Known,
}

impl Seen<'_> {
    /// Whether it has records in the topic of this name.
    pub fn has_records_in(&self, topic: &str) -> bool {
        let id = self.known.topic(topic).map(|topic| topic.id);
        self.offsets.iter().any(|range| Some(range.topic) == id)
    }
}

/// Tables and topics, as far as the journal has been read.
#[derive(Default)]
pub struct Known {
    schemas: HashMap<u32, Schema>,
    topics: Vec<Topic>,
    rendering: Option<Vec<u8>>,
}

impl Known {
    fn of(reader: &Reader) -> Result<Known> {
        let mut known = Known { topics: reader.topics().to_vec(), ..Known::default() };
        for (key, value) in reader.heads().range(SCHEMA_PREFIX.as_bytes()) {
            known.learn(key, Some(value))?;
        }
        known.learn(RENDERING_HEAD.as_bytes(), reader.heads().get(RENDERING_HEAD.as_bytes()))?;
        Ok(known)
    }

    fn learn(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        if let (true, Some(value)) = (key.starts_with(SCHEMA_PREFIX.as_bytes()), value) {
            let schema: Schema = serde_json::from_slice(value)
                .map_err(|_| miette!("the record {} cannot be read", String::from_utf8_lossy(key)))?;
            self.schemas.insert(schema.id, schema);
        }
        if key == RENDERING_HEAD.as_bytes() {
            self.rendering = value.map(<[u8]>::to_vec);
        }
        Ok(())
    }

    /// How changes are rendered from here on, as the engine wrote it.
    pub fn rendering(&self) -> Option<&[u8]> {
        self.rendering.as_deref()
    }

    /// The topic with this number.
    pub fn topic_of(&self, id: TopicId) -> Option<&Topic> {
        self.topics.iter().find(|topic| topic.id == id)
    }

    /// The shape of a change's rows.
    pub fn schema(&self, id: u32) -> Result<&Schema> {
        self.schemas.get(&id).ok_or_else(|| miette!("the shape {id} of a table is not in the journal"))
    }

    /// The topic of this name.
    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.iter().find(|topic| topic.name == name)
    }

    fn visit(&mut self, item: Item<'_>, visit: &mut dyn FnMut(&Seen<'_>) -> Result<bool>) -> Result<bool> {
        let frame = match &item {
            Item::Frame(frame) => frame,
            Item::Part(part) => &part.frame,
        };
        for head in frame.heads() {
            self.learn(head.key, head.value)?;
        }
        for topic in frame.new_topics() {
            match self.topics.iter_mut().find(|known| known.id == topic.id) {
                Some(known) => *known = topic,
                None => self.topics.push(topic),
            }
        }
        let damaged = |error: headwater_model::change::Damaged| miette!("{error}");
        match item {
            Item::Frame(frame) => {
                for transaction in frame.transactions() {
                    let view = TransactionView::decode(transaction.body).map_err(damaged)?;
                    let seen = Seen {
                        first_sequence: transaction.first_sequence,
                        count: transaction.changes,
                        time_us: frame.time_us,
                        part: None,
                        changes: view.changes(),
                        header: view.header,
                        offsets: transaction.offsets().collect(),
                        known: self,
                    };
                    if !visit(&seen)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Item::Part(part) => visit(&Seen {
                first_sequence: part.first_sequence,
                count: part.changes,
                time_us: part.frame.time_us,
                part: Some(part.index),
                header: TransactionView::decode(part.header).map_err(damaged)?.header,
                changes: Changes::new(part.body),
                offsets: part.offsets().collect(),
                known: self,
            }),
        }
    }
}
