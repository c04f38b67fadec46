//! Arrays of PostgreSQL.
//!
//! Invariant: a field of Connect has one depth, so what has more is shown flat, or, as the original does, not at all. Start at
//! [`write`].

use super::form::{Form, Moment, Placeholder, write_uuid};
use super::postgres;
use crate::connect::java;
use crate::connect::json::{self, Alphabet};
use headwater_model::{Array, Value};

/// Writes an array; false when the original has none of it.
pub(super) fn write(
    out: &mut Vec<u8>,
    array: Array<'_>,
    element: &Form,
    null_element: bool,
    moment: &Moment<'_>,
) -> bool {
    let dimensions = array.dimensions();
    if dimensions.len() > 1 && !moment.exact {
        write_flat(out, array.elements(), element, moment);
        return true;
    }
    // Of one that is no number the original cannot read the others either.
    let is_special = |value| matches!(value, Value::Decimal(text) if postgres::is_special(text));
    if moment.exact && array.elements().any(is_special) {
        return false;
    }
    let moment = Moment { element: true, placeholder: None, ..*moment };
    out.push(b'[');
    // The original shows the arrays that are inside of the outermost one, as far as it can.
    let inner = dimensions.get(1..).filter(|inner| !inner.is_empty()).map(|inner| inner.len());
    let count = inner.map_or(usize::MAX, |_| dimensions[0].length as usize);
    for (index, value) in array.elements().take(count).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let start = out.len();
        let written = match inner {
            Some(depth) => write_identity(out, element, depth),
            None => element.write(out, value, &moment),
        };
        if !written {
            out.truncate(start);
            if !null_element {
                return false;
            }
            out.extend_from_slice(b"null");
        }
    }
    out.push(b']');
    true
}

/// What Java prints for an array that it takes for a text, without the number that tells it from others.
fn write_identity(out: &mut Vec<u8>, element: &Form, depth: usize) -> bool {
    let class = match element {
        Form::Text | Form::Json => "java.lang.String",
        Form::Uuid => "java.util.UUID",
        _ => return false,
    };
    json::string(out, &format!("{}L{class};@0", "[".repeat(depth)));
    true
}

/// What the original puts into arrays of which it has no value: its placeholder as far as an element can be one.
pub(super) fn write_placeholder(out: &mut Vec<u8>, placeholder: Placeholder, text: &str) {
    out.push(b'[');
    match placeholder {
        Placeholder::Text => json::string(out, text),
        Placeholder::Bytes => json::base64(out, text.as_bytes(), Alphabet::Standard),
        Placeholder::Uuid => write_uuid(out, java::name_uuid(text.as_bytes())),
        Placeholder::Numbers => {
            for (index, byte) in text.bytes().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                json::integer(out, i64::from(byte as i8));
            }
        }
    }
    out.push(b']');
}

/// Arrays inside of one another are one flat list: a field of Connect has one depth.
fn write_flat<'a>(out: &mut Vec<u8>, elements: impl Iterator<Item = Value<'a>>, element: &Form, moment: &Moment<'_>) {
    out.push(b'[');
    for (index, value) in elements.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let start = out.len();
        if !element.write(out, value, &Moment { element: true, placeholder: None, ..*moment }) {
            out.truncate(start);
            out.extend_from_slice(b"null");
        }
    }
    out.push(b']');
}
