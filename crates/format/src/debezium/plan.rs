//! What each kind of record of a table looks like, after naming and transforms; made once per table.
//!
//! Invariant: the number of records of a change is decided here, by its kind alone, and rendering follows it. Start at
//! [`Draft::of`], which the transforms then change.

use super::options::{Connector, Options};
use super::source::{self, SourceField};
use super::transaction;
use crate::connect::{Field, Kind, Schema};

/// The kinds of records that changes make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordKind {
    Create,
    Read,
    Update,
    Delete,
    Tombstone,
    /// The three of an update that changes the key.
    KeyDelete,
    KeyTombstone,
    KeyCreate,
    Truncate,
}

/// All kinds, in the order of their numbers.
pub(crate) const KINDS: [RecordKind; 9] = [
    RecordKind::Create,
    RecordKind::Read,
    RecordKind::Update,
    RecordKind::Delete,
    RecordKind::Tombstone,
    RecordKind::KeyDelete,
    RecordKind::KeyTombstone,
    RecordKind::KeyCreate,
    RecordKind::Truncate,
];

/// A record on its way through the transforms.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub kind: RecordKind,
    pub topic: String,
    pub key_name: String,
    /// The name and the added fields of the key as the connector itself makes it: for headers.
    pub own_key: (String, Vec<(String, String)>),
    /// Fields added to the key, with their values.
    pub key_fields: Vec<(String, String)>,
    pub value: DraftValue,
    /// Headers of the change itself come first, then the context's, then these.
    pub headers: Vec<AddedHeader>,
}

/// The value of a draft.
#[derive(Clone, Debug)]
pub(crate) enum DraftValue {
    Tombstone,
    Envelope {
        value_name: String,
        envelope_name: String,
    },
    Flat(Flat),
    /// A null that has a schema.
    Null {
        value_name: String,
    },
}

/// A row without its envelope.
#[derive(Clone, Debug)]
pub(crate) struct Flat {
    pub value_name: String,
    /// The image that is shown is the one before.
    pub before: bool,
    /// `__deleted`.
    pub deleted: Option<bool>,
    pub added: Vec<Added>,
    /// The schema is the row's own, not a copy that is required.
    pub optional: bool,
    pub replace_null: bool,
}

/// A field of the envelope that is shown elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct Added {
    pub name: String,
    pub meta: Meta,
}

/// A header made of a field of the envelope; `None`: the letter of a delete, for a tombstone.
#[derive(Clone, Debug)]
pub(crate) struct AddedHeader {
    pub name: String,
    pub meta: Option<Meta>,
}

/// A field of the envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meta {
    Op,
    TsMs,
    TsUs,
    TsNs,
    Source(SourceField),
    TransactionId,
    TransactionTotal,
    TransactionOfTable,
}

impl RecordKind {
    /// Its number in [`KINDS`].
    pub fn index(self) -> usize {
        self as usize
    }

    pub fn is_tombstone(self) -> bool {
        matches!(self, RecordKind::Tombstone | RecordKind::KeyTombstone)
    }

    pub fn is_delete(self) -> bool {
        matches!(self, RecordKind::Delete | RecordKind::KeyDelete)
    }

    /// The letter in `op`.
    pub fn letter(self) -> &'static str {
        match self {
            RecordKind::Create | RecordKind::KeyCreate => "c",
            RecordKind::Read => "r",
            RecordKind::Update => "u",
            RecordKind::Truncate => "t",
            _ => "d",
        }
    }

    /// The header that tells the other key of a change of key.
    pub fn key_header(self) -> Option<&'static str> {
        match self {
            RecordKind::KeyDelete | RecordKind::KeyTombstone => Some("__debezium.newkey"),
            RecordKind::KeyCreate => Some("__debezium.oldkey"),
            _ => None,
        }
    }
}

impl Draft {
    /// A record as the connector itself makes it.
    pub fn of(kind: RecordKind, topic: &str, key_fields: &[(String, String)], options: &Options) -> Draft {
        let adjusted =
            |end: &str| super::names::adjust_schema(&format!("{topic}.{end}"), options.schema_name_adjustment);
        let value = match kind.is_tombstone() {
            true => DraftValue::Tombstone,
            false => DraftValue::Envelope { value_name: adjusted("Value"), envelope_name: adjusted("Envelope") },
        };
        Draft {
            kind,
            topic: topic.to_owned(),
            key_name: adjusted("Key"),
            own_key: (adjusted("Key"), key_fields.to_vec()),
            key_fields: key_fields.to_vec(),
            value,
            headers: Vec::new(),
        }
    }
}

impl Meta {
    /// The field that `struct.name` or `name` of `add.fields` means; `None` where there is none of that name.
    pub fn of(path: &str, connector: Connector) -> Option<Meta> {
        let (parent, name) = match path.split_once('.') {
            Some((parent, name)) => (Some(parent), name),
            None => (None, path),
        };
        let own = match name {
            "op" => Some(Meta::Op),
            "ts_ms" => Some(Meta::TsMs),
            "ts_us" => Some(Meta::TsUs),
            "ts_ns" => Some(Meta::TsNs),
            _ => None,
        };
        let of_transaction = match name {
            "id" => Some(Meta::TransactionId),
            "total_order" => Some(Meta::TransactionTotal),
            "data_collection_order" => Some(Meta::TransactionOfTable),
            _ => None,
        };
        let of_source =
            || source::fields(connector).iter().find(|field| field.name() == name).copied().map(Meta::Source);
        match parent {
            None => own.or(of_transaction).or_else(of_source),
            // Where the struct has no such field, the envelope is asked.
            Some("transaction") => of_transaction.or(own),
            Some("source") => of_source().or(own),
            Some(_) => own,
        }
    }

    /// Its schema, where it is shown as a field of its own: optional and without a default.
    pub fn schema(self, connector: Connector) -> Schema {
        let field = |schema: &Schema, name: &str| match &schema.kind {
            Kind::Struct(fields) => {
                fields.iter().find(|field: &&Field| field.name == name).map(|field| field.schema.clone())
            }
            _ => None,
        };
        let block = transaction::block_schema();
        let schema = match self {
            Meta::Op => None,
            Meta::TsMs | Meta::TsUs | Meta::TsNs => Some(Schema::new(Kind::Int64)),
            Meta::Source(source) => Some(source.connect(connector).schema),
            Meta::TransactionId => field(&block, "id"),
            Meta::TransactionTotal => field(&block, "total_order"),
            Meta::TransactionOfTable => field(&block, "data_collection_order"),
        };
        let mut schema = schema.unwrap_or_else(|| Schema::new(Kind::String)).optional();
        schema.default = None;
        schema
    }
}
