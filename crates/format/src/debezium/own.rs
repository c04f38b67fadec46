//! Topics of the source itself: those of heartbeats, of transactions, and of messages of the log.
//!
//! Invariant: their records go through the transforms as those of tables do. They are no envelopes, so nothing unwraps or
//! drops them: they are routed. All that stands around their fields is made once. Start at [`Own::new`].

use super::names::adjust_schema;
use super::options::Options;
use super::record::Records;
use super::transform::Transforms;
use crate::connect::{Field, Kind, Schema, json};

/// One topic of the source itself.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    pub topic: String,
    key: Around,
    value: Around,
}

/// Name and fields of a schema.
pub(crate) type Shape = (&'static str, Vec<Field>);

/// A record of such a topic on its way through the transforms.
pub(crate) struct OwnDraft {
    pub topic: String,
    pub key_name: String,
    /// Fields added to the key, with their values.
    pub key_fields: Vec<(String, String)>,
}

/// What stands around the fields of a key or a value.
#[derive(Clone, Debug)]
struct Around {
    prefix: Vec<u8>,
    suffix: Vec<u8>,
}

impl Own {
    /// The topic that is `topic` before the transforms. Its keys have a field at least.
    pub fn new(topic: String, key: Shape, value: Shape, options: &Options, transforms: &Transforms) -> Own {
        let adjusted = |name: &str| adjust_schema(name, options.schema_name_adjustment);
        let draft = OwnDraft { topic, key_name: adjusted(key.0), key_fields: Vec::new() };
        let OwnDraft { topic, key_name, key_fields } = transforms.apply_own(draft);
        let (value_name, value_fields) = (adjusted(value.0), value.1);
        Own {
            topic,
            key: Around::new(&key_name, key.1, &key_fields, options.key.schemas),
            value: Around::new(&value_name, value_fields, &[], options.value.schemas),
        }
    }

    /// Appends a record. `key` and `value` write the fields, without the braces.
    pub fn record(&self, out: &mut Records, key: impl FnOnce(&mut Vec<u8>), value: impl FnOnce(&mut Vec<u8>)) {
        out.begin();
        out.key(|out| self.key.write(out, key));
        out.value(|out| self.value.write(out, value));
    }
}

impl Around {
    fn new(name: &str, mut fields: Vec<Field>, added: &[(String, String)], schemas: bool) -> Around {
        let (mut prefix, mut suffix) = (Vec::new(), Vec::new());
        if schemas {
            fields.extend(added.iter().map(|(name, _)| Schema::new(Kind::String).field(name)));
            prefix.extend_from_slice(b"{\"schema\":");
            prefix.extend_from_slice(&Schema::structure(name, Some(1), fields).text());
            prefix.extend_from_slice(b",\"payload\":");
        }
        prefix.push(b'{');
        for (name, value) in added {
            suffix.push(b',');
            json::string(&mut suffix, name);
            suffix.push(b':');
            json::string(&mut suffix, value);
        }
        suffix.extend_from_slice(if schemas { b"}}" } else { b"}" });
        Around { prefix, suffix }
    }

    fn write(&self, out: &mut Vec<u8>, fields: impl FnOnce(&mut Vec<u8>)) {
        out.extend_from_slice(&self.prefix);
        fields(out);
        out.extend_from_slice(&self.suffix);
    }
}
