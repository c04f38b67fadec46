//! Differences of JSON documents (`binlog_row_value_options=PARTIAL_JSON`), applied to the document before.
//!
//! Invariant: a difference that does not fit the document is an error; nothing is guessed. The result is text, printed
//! as in [`super::json_text`]. Format: `Json_diff` of MySQL's sql/json_diff.h.

use super::bytes::{Bad, Bytes, Read};
use super::json::{Budget, DEPTH_MAX, Node, root};
use super::json_text::{write_scalar, write_string};
use std::borrow::Cow;
use std::cmp::Ordering;

const UNFIT: Bad = Bad("a JSON difference that does not fit the document before it");

/// Appends the text of the document `before` (binary) after all of `differences`.
pub fn apply(before: &[u8], differences: &[u8], out: &mut Vec<u8>) -> Read<()> {
    let mut document = Tree::read(before)?;
    let mut rest = Bytes(differences);
    while !rest.is_empty() {
        let operation = rest.u8("a JSON difference's operation")?;
        let path = Path::parse(rest.packed_bytes("a JSON difference's path")?)?;
        match operation {
            REPLACE | INSERT => {
                let value = Tree::read(rest.packed_bytes("a JSON difference's value")?)?;
                document.change(&path.0, operation, Some(value))?;
            }
            REMOVE => document.change(&path.0, operation, None)?,
            _ => return Err(Bad("a JSON difference's operation")),
        }
    }
    document.write(DEPTH_MAX, out)
}

const REPLACE: u8 = 0;
const INSERT: u8 = 1;
const REMOVE: u8 = 2;

/// A document that can be changed. Its strings stay where they are.
enum Tree<'a> {
    Scalar(Node<'a>),
    Array(Vec<Tree<'a>>),
    Object(Vec<(Cow<'a, [u8]>, Tree<'a>)>),
}

impl<'a> Tree<'a> {
    fn read(document: &'a [u8]) -> Read<Self> {
        let mut budget = Budget::new(document);
        let node = root(document, &mut budget)?;
        Tree::of(node, &mut budget, DEPTH_MAX)
    }

    fn of(node: Node<'a>, budget: &mut Budget, depth: usize) -> Read<Self> {
        let deeper = depth.checked_sub(1).ok_or(Bad("JSON nested too deep"));
        match node {
            Node::Array(array) => {
                let depth = deeper?;
                let mut items = Vec::new();
                for i in 0..array.len() {
                    let value = array.value(i, budget)?;
                    items.push(Tree::of(value, budget, depth)?);
                }
                Ok(Tree::Array(items))
            }
            Node::Object(object) => {
                let depth = deeper?;
                let mut members = Vec::new();
                for i in 0..object.len() {
                    let key = Cow::Borrowed(object.key(i, budget)?);
                    let value = object.value(i, budget)?;
                    members.push((key, Tree::of(value, budget, depth)?));
                }
                Ok(Tree::Object(members))
            }
            scalar => Ok(Tree::Scalar(scalar)),
        }
    }

    /// Replaces, inserts (with `value`) or removes (without) what `path` leads to.
    fn change(&mut self, path: &[Leg], operation: u8, value: Option<Tree<'a>>) -> Read<()> {
        let Some((last, parents)) = path.split_last() else {
            // The whole document can only be replaced.
            match value {
                Some(value) if operation == REPLACE => *self = value,
                _ => return Err(UNFIT),
            }
            return Ok(());
        };
        let mut at = self;
        for leg in parents {
            at = at.child(leg)?;
        }
        match (at, last, operation, value) {
            (at, leg, REPLACE, Some(value)) => *at.child(leg)? = value,
            (Tree::Array(items), Leg::Cell(index), INSERT, Some(value)) => {
                items.insert((*index).min(items.len()), value)
            }
            (Tree::Array(items), Leg::Cell(index), REMOVE, None) if *index < items.len() => drop(items.remove(*index)),
            (Tree::Object(members), Leg::Member(key), INSERT, Some(value)) => match find(members, key) {
                Ok(_) => return Err(UNFIT),
                Err(place) => members.insert(place, (Cow::Owned(key.clone()), value)),
            },
            (Tree::Object(members), Leg::Member(key), REMOVE, None) => {
                members.remove(find(members, key).map_err(|_| UNFIT)?);
            }
            _ => return Err(UNFIT),
        }
        Ok(())
    }

    fn child(&mut self, leg: &Leg) -> Read<&mut Tree<'a>> {
        match (self, leg) {
            (Tree::Array(items), Leg::Cell(index)) => items.get_mut(*index).ok_or(UNFIT),
            (Tree::Object(members), Leg::Member(key)) => {
                let place = find(members, key).map_err(|_| UNFIT)?;
                Ok(&mut members[place].1)
            }
            _ => Err(UNFIT),
        }
    }

    fn write(&self, depth: usize, out: &mut Vec<u8>) -> Read<()> {
        let deeper = depth.checked_sub(1).ok_or(Bad("JSON nested too deep"));
        match self {
            Tree::Scalar(node) => return write_scalar(*node, out),
            Tree::Array(items) => {
                let depth = deeper?;
                out.push(b'[');
                for (i, item) in items.iter().enumerate() {
                    separate(i, out);
                    item.write(depth, out)?;
                }
                out.push(b']');
            }
            Tree::Object(members) => {
                let depth = deeper?;
                out.push(b'{');
                for (i, (key, value)) in members.iter().enumerate() {
                    separate(i, out);
                    write_string(key, out);
                    out.extend_from_slice(b": ");
                    value.write(depth, out)?;
                }
                out.push(b'}');
            }
        }
        Ok(())
    }
}

fn separate(index: usize, out: &mut Vec<u8>) {
    if index > 0 {
        out.extend_from_slice(b", ");
    }
}

/// Members are sorted by the length of their keys, then by bytes. The place of `key`, or where it belongs.
fn find(members: &[(Cow<'_, [u8]>, Tree<'_>)], key: &[u8]) -> Result<usize, usize> {
    members.binary_search_by(|(other, _)| match other.len().cmp(&key.len()) {
        Ordering::Equal => other.as_ref().cmp(key),
        unequal => unequal,
    })
}

/// `$.a."b c"[3]`, without wildcards.
struct Path(Vec<Leg>);

enum Leg {
    Member(Vec<u8>),
    Cell(usize),
}

impl Path {
    fn parse(text: &[u8]) -> Read<Path> {
        const WHAT: Bad = Bad("a JSON difference's path");
        let text = std::str::from_utf8(text).map_err(|_| WHAT)?;
        // The server writes the `$` that begins every path of SQL, or leaves it out.
        let mut rest = text.strip_prefix('$').unwrap_or(text);
        let mut legs = Vec::new();
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('[') {
                let (index, after) = after.split_once(']').ok_or(WHAT)?;
                legs.push(Leg::Cell(index.trim().parse().map_err(|_| WHAT)?));
                rest = after;
            } else if let Some(after) = rest.strip_prefix('.') {
                let end = if after.starts_with('"') {
                    quoted_end(after)
                } else {
                    after.find(['.', '[']).or(Some(after.len()))
                };
                let (name, after) = after.split_at_checked(end.ok_or(WHAT)?).ok_or(WHAT)?;
                let name = if name.starts_with('"') {
                    serde_json::from_str::<String>(name).map_err(|_| WHAT)?
                } else {
                    name.to_owned()
                };
                legs.push(Leg::Member(name.into_bytes()));
                rest = after;
            } else {
                return Err(WHAT);
            }
        }
        Ok(Path(legs))
    }
}

/// Where the string that `text` begins with ends, its quote included.
fn quoted_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (i, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(i + 1),
            _ => {}
        }
    }
    None
}
