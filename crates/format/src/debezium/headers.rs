//! Headers of records: the other key of a change of key, the task's context, what transforms add.
//!
//! Invariant: they come in this order, as in the original. Start at [`Headers::write`].

use super::columns::{Field, Moment};
use super::options::{Converter, HeaderConverter, Options};
use super::plan::{Draft, Meta};
use super::record::{Context, Records};
use super::table::write_fields;
use super::transaction::with_schema;
use crate::connect::{self, Kind, Schema, json};
use headwater_model::Row;
use std::sync::Arc;

/// The headers that all records of a source have, and how headers are written.
#[derive(Clone, Debug)]
pub(crate) struct Headers {
    context: Arc<Context>,
    converter: HeaderConverter,
}

/// The headers of one kind of record.
#[derive(Debug)]
pub(crate) struct Planned {
    key: Option<PlannedKey>,
    added: Vec<PlannedHeader>,
}

/// The header that tells the other key.
#[derive(Debug)]
struct PlannedKey {
    name: Arc<str>,
    /// What stands before and behind the key's fields.
    prefix: Vec<u8>,
    suffix: Vec<u8>,
}

#[derive(Debug)]
struct PlannedHeader {
    name: Arc<str>,
    /// `None`: the letter of a delete.
    meta: Option<Meta>,
    schema: Schema,
}

/// The converter with which the key in a header is compiled.
pub(crate) fn key_converter(options: &Options) -> Converter {
    match options.header {
        HeaderConverter::Json(converter) => converter,
        // It prints numbers as they are, and asks for the default of a null.
        HeaderConverter::Simple => Converter { schemas: false, decimal_numeric: true, replace_null: true },
    }
}

impl Headers {
    /// The headers of a source.
    pub fn new(options: &Options) -> Headers {
        let mut headers = Headers { context: Arc::default(), converter: options.header };
        let mut all = Vec::new();
        if let Some(context) = &options.context_headers {
            let texts = [
                ("__debezium.context.connectorLogicalName", &context.logical_name),
                ("__debezium.context.taskId", &context.task),
                ("__debezium.context.connectorName", &context.connector),
                ("__debezium.context.runId", &context.run),
            ];
            for (name, text) in texts {
                let mut value = Vec::new();
                headers.write_text(&mut value, text, &Schema::new(Kind::String));
                all.push((name.to_owned(), value));
            }
        }
        headers.context = Arc::new(Context(all));
        headers
    }

    /// The headers of one kind of record.
    pub fn plan(&self, draft: &Draft, key: &[Field], options: &Options) -> Planned {
        let (name, extra) = &draft.own_key;
        let key = draft.kind.key_header().map(|header| {
            let (mut prefix, mut suffix) = (Vec::new(), Vec::new());
            let schemas = matches!(self.converter, HeaderConverter::Json(Converter { schemas: true, .. }));
            if schemas {
                let mut fields: Vec<connect::Field> = key.iter().map(|field| field.connect.clone()).collect();
                fields.extend(extra.iter().map(|(name, _)| Schema::new(Kind::String).field(name)));
                prefix.extend_from_slice(b"{\"schema\":");
                prefix.extend_from_slice(&Schema::structure(name, None, fields).text());
                prefix.extend_from_slice(b",\"payload\":");
            }
            prefix.push(b'{');
            for (index, (name, value)) in extra.iter().enumerate() {
                if index > 0 || !key.is_empty() {
                    suffix.push(b',');
                }
                json::string(&mut suffix, name);
                suffix.push(b':');
                json::string(&mut suffix, value);
            }
            suffix.extend_from_slice(if schemas { b"}}" } else { b"}" });
            PlannedKey { name: header.into(), prefix, suffix }
        });
        let added = draft.headers.iter().map(|header| PlannedHeader {
            name: header.name.as_str().into(),
            meta: header.meta,
            schema: match header.meta {
                Some(meta) => meta.schema(options.connector),
                None => Schema::new(Kind::String),
            },
        });
        Planned { key, added: added.collect() }
    }

    /// Appends the headers to the record that `out` has begun. `meta` writes a field of the envelope as JSON.
    pub fn write(
        &self,
        planned: &Planned,
        key: &[Field],
        other_key: Option<Row<'_>>,
        moment: &Moment<'_>,
        meta: impl Fn(&mut Vec<u8>, Meta),
        out: &mut Records,
    ) {
        if let (Some(header), Some(row)) = (&planned.key, other_key) {
            let write = |out: &mut Vec<u8>| {
                let start = out.len();
                out.extend_from_slice(&header.prefix);
                write_fields(out, key, row, None, moment);
                out.extend_from_slice(&header.suffix);
                if self.converter == HeaderConverter::Simple {
                    unescape_controls(out, start);
                }
            };
            out.header(&header.name, Some(write));
        }
        out.context(&self.context);
        for header in &planned.added {
            let mut value = Vec::new();
            match header.meta {
                Some(field) => meta(&mut value, field),
                None => json::string(&mut value, "d"),
            }
            let is_null = value == b"null";
            let write = |out: &mut Vec<u8>| self.write_json(out, &value, &header.schema);
            out.header(&header.name, (!is_null || self.converter != HeaderConverter::Simple).then_some(write));
        }
    }

    fn write_text(&self, out: &mut Vec<u8>, text: &str, schema: &Schema) {
        let mut value = Vec::new();
        json::string(&mut value, text);
        self.write_json(out, &value, schema);
    }

    /// Appends a value that is there as JSON.
    fn write_json(&self, out: &mut Vec<u8>, value: &[u8], schema: &Schema) {
        match self.converter {
            HeaderConverter::Json(converter) => {
                with_schema(out, converter.schemas, schema, |out| out.extend_from_slice(value));
            }
            HeaderConverter::Simple => match serde_json::from_slice::<String>(value) {
                Ok(text) => out.extend_from_slice(text.as_bytes()),
                Err(_) => out.extend_from_slice(value),
            },
        }
    }
}

/// SimpleHeaderConverter escapes quotes and backslashes alone.
fn unescape_controls(out: &mut Vec<u8>, start: usize) {
    if !out[start..].contains(&b'\\') {
        return;
    }
    let text = String::from_utf8_lossy(&out[start..]).into_owned();
    out.truncate(start);
    let mut rest = text.as_str();
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let length = match rest.as_bytes().get(at + 1) {
            // The second half of a pair of surrogates belongs to the first.
            Some(b'u') if rest[at..].starts_with("\\uD") => 12,
            Some(b'u') => 6,
            _ => 2,
        };
        let escape = rest.get(at..at + length).unwrap_or(&rest[at..]);
        match serde_json::from_str::<String>(&format!("\"{escape}\"")) {
            Ok(plain) if !matches!(plain.as_str(), "\"" | "\\") => out.extend_from_slice(plain.as_bytes()),
            _ => out.extend_from_slice(escape.as_bytes()),
        }
        rest = &rest[at + escape.len()..];
    }
    out.extend_from_slice(rest.as_bytes());
}
