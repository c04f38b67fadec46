//! hstore: texts by text keys, as a JSON object in the server's order.
//!
//! Invariant: a NULL value is JSON's null, everything else a string; text and binary form give the same object.

use super::bytes::{Bad, Bytes, Read, utf8};

const HSTORE: Bad = Bad("is not an hstore");

/// `"a"=>"1", "b"=>NULL`.
pub fn hstore<'a>(text: &[u8], scratch: &'a mut Vec<u8>) -> Read<&'a str> {
    let mut text = text;
    let mut unescaped = Vec::new();
    scratch.clear();
    scratch.push(b'{');
    while !text.is_empty() {
        if scratch.len() > 1 {
            take(&mut text, b", ")?;
            scratch.push(b',');
        }
        quoted(&mut text, &mut unescaped)?;
        string(&unescaped, scratch)?;
        take(&mut text, b"=>")?;
        scratch.push(b':');
        if text.starts_with(b"NULL") {
            take(&mut text, b"NULL")?;
            scratch.extend_from_slice(b"null");
        } else {
            quoted(&mut text, &mut unescaped)?;
            string(&unescaped, scratch)?;
        }
    }
    scratch.push(b'}');
    utf8(scratch)
}

/// The number of pairs, then each key and value after its length; -1 for NULL.
pub fn binary_hstore<'a>(bytes: &[u8], scratch: &'a mut Vec<u8>) -> Read<&'a str> {
    let mut bytes = Bytes(bytes);
    let count = bytes.u32(HSTORE.0)?;
    scratch.clear();
    scratch.push(b'{');
    for pair in 0..count {
        if pair > 0 {
            scratch.push(b',');
        }
        let length = bytes.u32(HSTORE.0)?;
        string(bytes.take(length as usize, HSTORE.0)?, scratch)?;
        scratch.push(b':');
        match bytes.i32(HSTORE.0)? {
            -1 => scratch.extend_from_slice(b"null"),
            length => {
                let length = usize::try_from(length).map_err(|_| HSTORE)?;
                string(bytes.take(length, HSTORE.0)?, scratch)?;
            }
        }
    }
    bytes.end(HSTORE.0)?;
    scratch.push(b'}');
    utf8(scratch)
}

fn take(text: &mut &[u8], expected: &[u8]) -> Read<()> {
    *text = text.strip_prefix(expected).ok_or(HSTORE)?;
    Ok(())
}

/// A text between quotes, in which a backslash stands before quotes and backslashes.
fn quoted(text: &mut &[u8], out: &mut Vec<u8>) -> Read<()> {
    take(text, b"\"")?;
    out.clear();
    loop {
        match text.split_off_first().ok_or(HSTORE)? {
            b'"' => return Ok(()),
            b'\\' => out.push(*text.split_off_first().ok_or(HSTORE)?),
            byte => out.push(*byte),
        }
    }
}

fn string(text: &[u8], out: &mut Vec<u8>) -> Read<()> {
    serde_json::to_writer(out, utf8(text)?).map_err(|_| HSTORE)
}
