//! `${env:NAME}` and `${file:PATH}` in the texts of a parsed document; `${file:PATH:KEY}`, as Kafka Connect has it, in a
//! connector's properties.
//!
//! Invariant: what is put in replaces text inside one scalar, after YAML was parsed, so a value can never add a key; and
//! it is remembered, so that it can be kept out of every message. Start at [`substitute`].

use super::DEBEZIUM;
use super::debezium::{is_template, value_of};
use super::document::Step;
use serde_json::Value;
use std::path::Path;

/// Bytes of a file that `${file:…}` names: passwords, keys and certificates fit.
pub const SECRET_FILE_BYTES_MAX: u64 = 256 << 10;

/// Where the values come from.
pub trait Surroundings {
    /// An environment variable.
    fn env(&self, name: &str) -> Option<String>;
    /// A file's text.
    fn file(&self, path: &Path) -> std::io::Result<String>;
}

/// The process's environment and the machine's files.
pub struct Machine;

impl Surroundings for Machine {
    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn file(&self, path: &Path) -> std::io::Result<String> {
        let size = std::fs::metadata(path)?.len();
        if size > SECRET_FILE_BYTES_MAX {
            return Err(std::io::Error::other(format!(
                "it has {size} bytes; at most {SECRET_FILE_BYTES_MAX} are read"
            )));
        }
        std::fs::read_to_string(path)
    }
}

/// A reference that cannot be followed.
#[derive(Debug)]
pub struct Unresolved {
    /// The key that holds it.
    pub path: Vec<Step>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// Replaces every reference in the tree's texts (not in its keys). Relative files are taken from `folder`. Answers the
/// values that were put in.
pub fn substitute(tree: &mut Value, folder: &Path, from: &dyn Surroundings) -> Result<Vec<String>, Unresolved> {
    let mut put_in = Vec::new();
    walk(tree, &mut Vec::new(), &mut |path, text| {
        let Some(forms) = forms_at(path) else { return Ok(()) };
        let replaced = replace(text, forms, folder, from, &mut put_in)?;
        if let Some(replaced) = replaced {
            *text = replaced;
        }
        Ok(())
    })?;
    Ok(put_in)
}

type Fault = (String, String);

/// Looks at a text of the document, at its place, and may replace it.
type Each<'e> = dyn FnMut(&[Step], &mut String) -> Result<(), Fault> + 'e;

fn walk(tree: &mut Value, path: &mut Vec<Step>, each: &mut Each<'_>) -> Result<(), Unresolved> {
    match tree {
        Value::String(text) => {
            each(path, text).map_err(|(message, hint)| Unresolved { path: path.clone(), message, hint })
        }
        Value::Array(items) => items.iter_mut().enumerate().try_for_each(|(index, item)| {
            path.push(Step::Index(index));
            walk(item, path, each)?;
            path.pop();
            Ok(())
        }),
        Value::Object(entries) => entries.iter_mut().try_for_each(|(key, value)| {
            path.push(Step::Key(key.clone()));
            walk(value, path, each)?;
            path.pop();
            Ok(())
        }),
        _ => Ok(()),
    }
}

/// What may stand in `${…}`.
#[derive(Clone, Copy, PartialEq)]
enum Forms {
    /// `env:NAME` and `file:PATH`.
    Ours,
    /// What files that are posted to Kafka Connect have: a bare `NAME`, which means the environment variable, `file:PATH:KEY`
    /// and `directory:PATH:FILE` besides.
    Connect,
}

/// `None` where nothing is replaced: in the replacement of a regular expression `${name}` is a group.
fn forms_at(path: &[Step]) -> Option<Forms> {
    match path {
        [_, _, Step::Key(kind), Step::Key(property)] if kind == DEBEZIUM => {
            (!is_template(property)).then_some(Forms::Connect)
        }
        _ => Some(Forms::Ours),
    }
}

/// `text` with its references replaced; `None` when it holds none. `$${` stands for `${`.
fn replace(
    text: &str,
    forms: Forms,
    folder: &Path,
    from: &dyn Surroundings,
    put_in: &mut Vec<String>,
) -> Result<Option<String>, Fault> {
    if !text.contains("${") {
        return Ok(None);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            out.push_str(&rest[..at - 1]);
            out.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let Some((inside, after)) = rest[at + 2..].split_once('}') else {
            return Err(("a reference that begins with ${ has no closing }".into(), FORMS.into()));
        };
        let value = match inside.contains(':') {
            false if forms == Forms::Connect => variable(inside, from)?,
            _ => resolve(inside, forms, folder, from)?,
        };
        out.push_str(&value);
        put_in.push(value);
        rest = after;
    }
    out.push_str(rest);
    Ok(Some(out))
}

const FORMS: &str = "Write ${env:NAME} or ${file:PATH}; write $${ for a literal ${.";

fn variable(name: &str, from: &dyn Surroundings) -> Result<String, Fault> {
    from.env(name).ok_or_else(|| {
        (
            format!("the environment variable {name} is not set"),
            format!("Set it before starting headwater: export {name}=…"),
        )
    })
}

fn resolve(inside: &str, forms: Forms, folder: &Path, from: &dyn Surroundings) -> Result<String, Fault> {
    match inside.split_once(':') {
        Some(("env", name)) if !name.is_empty() => variable(name, from),
        Some(("file", path)) if !path.is_empty() => match path.split_once(':') {
            Some((path, key)) if forms == Forms::Connect => {
                let path = folder.join(path);
                value_of(&file(&path, from)?, key).ok_or_else(|| {
                    let hint = format!("Put a line {key}=… into it.");
                    (format!("the file {} has no property {key:?}", path.display()), hint)
                })
            }
            _ => whole_file(&folder.join(path), from),
        },
        Some(("directory", place)) if forms == Forms::Connect => match place.split_once(':') {
            Some((path, name)) if !name.is_empty() => whole_file(&folder.join(path).join(name), from),
            _ => {
                Err((format!("the reference ${{{inside}}} is not understood"), "Write ${directory:PATH:FILE}.".into()))
            }
        },
        _ => Err((format!("the reference ${{{inside}}} is not understood"), FORMS.into())),
    }
}

/// A file's text. Editors and `echo` end it with a newline that is no part of a password.
fn whole_file(path: &Path, from: &dyn Surroundings) -> Result<String, Fault> {
    let text = file(path, from)?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_string())
}

fn file(path: &Path, from: &dyn Surroundings) -> Result<String, Fault> {
    from.file(path).map_err(|error| {
        (
            format!("the file {} cannot be read: {error}", path.display()),
            "Make the file readable for the user that headwater runs as.".to_string(),
        )
    })
}

/// `text` with everything in `secrets`, and any password inside a URL, made unreadable.
pub fn redact(text: &str, secrets: &[String]) -> String {
    let mut text = text.to_string();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret.as_str(), "***");
    }
    redact_urls(&text)
}

/// Replaces the password of every `scheme://user:password@host` in `text`.
fn redact_urls(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        // The last @ before the path ends the password: people forget to encode an @ inside it.
        let end =
            after.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>')).unwrap_or(after.len());
        let authority = &after[..end];
        rest = match (authority.split_once(':'), authority.rfind('@')) {
            (Some((user, _)), Some(host)) if user.len() < host => {
                out.push_str(user);
                out.push_str(":***");
                &after[host..]
            }
            _ => after,
        };
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    struct Fake;

    impl Surroundings for Fake {
        fn env(&self, name: &str) -> Option<String> {
            match name {
                "PASSWORD" => Some("hunter2\nadmin: true".into()),
                "EMPTY" => Some(String::new()),
                _ => None,
            }
        }

        fn file(&self, path: &Path) -> std::io::Result<String> {
            match path.to_str() {
                Some("/etc/headwater/key") => Ok("s3cret\n".into()),
                Some("/etc/headwater/db.properties") => Ok("# of the shop\nuser=cdc\npassword = s3\\:cret\n".into()),
                _ => Err(std::io::ErrorKind::NotFound.into()),
            }
        }
    }

    fn run(text: &str) -> Result<(Value, Vec<String>), Unresolved> {
        let mut tree = json!({ "a": [text] });
        let put_in = substitute(&mut tree, Path::new("/etc/headwater"), &Fake)?;
        Ok((tree["a"][0].take(), put_in))
    }

    #[test]
    fn references_are_replaced_inside_one_text() {
        for (text, expected) in [
            ("plain", "plain"),
            ("x${env:PASSWORD}y", "xhunter2\nadmin: truey"),
            ("${file:key}${env:EMPTY}!", "s3cret!"),
            ("${file:/etc/headwater/key}", "s3cret"),
            ("$${env:PASSWORD}", "${env:PASSWORD}"),
            ("variant:{id}", "variant:{id}"),
        ] {
            assert_eq!(run(text).unwrap().0, json!(expected), "{text}");
        }
    }

    #[test]
    fn a_connector_s_properties_have_the_references_of_kafka_connect() {
        let run = |property: &str, text: &str| {
            let mut tree = json!({ "sources": { "shop": { "debezium": { property: text } } } });
            let put_in = substitute(&mut tree, Path::new("/etc/headwater"), &Fake);
            put_in.map(|put_in| (tree["sources"]["shop"]["debezium"][property].take(), put_in))
        };
        for (property, text, expected) in [
            ("a", "${PASSWORD}", "hunter2\nadmin: true"),
            ("a", "${file:/etc/headwater/db.properties:password}", "s3:cret"),
            ("a", "x${file:db.properties:user}y", "xcdcy"),
            ("a", "${file:key}", "s3cret"),
            ("a", "${directory:/etc/headwater:key}", "s3cret"),
            ("topic.replacement", "${name}", "${name}"),
            ("transaction.topic", "${database.server.name}.tx", "${database.server.name}.tx"),
        ] {
            let (value, put_in) = run(property, text).unwrap();
            assert_eq!(value, json!(expected), "{text}");
            assert!(put_in.iter().all(|secret| expected.contains(secret)), "{text}: {put_in:?}");
        }
        for (text, expected) in [
            ("${file:db.properties:none}", "the file /etc/headwater/db.properties has no property \"none\""),
            ("${file:none:password}", "the file /etc/headwater/none cannot be read: entity not found"),
            ("${directory:x}", "the reference ${directory:x} is not understood"),
        ] {
            assert_eq!(run("a", text).unwrap_err().message, expected);
        }
    }

    #[test]
    fn a_reference_that_cannot_be_followed_names_its_key_and_its_variable() {
        for (text, expected) in [
            ("${env:NOBODY}", "the environment variable NOBODY is not set"),
            ("${file:none}", "the file /etc/headwater/none cannot be read: entity not found"),
            ("${vault:x}", "the reference ${vault:x} is not understood"),
            ("${env:PASSWORD", "a reference that begins with ${ has no closing }"),
        ] {
            let fault = run(text).unwrap_err();
            assert_eq!(fault.message, expected);
            assert_eq!(super::super::document::print(&fault.path), "a[0]");
        }
    }

    #[test]
    fn passwords_are_taken_out_of_messages() {
        for (text, expected) in [
            ("mysql://cdc:pw@db:3306/x", "mysql://cdc:***@db:3306/x"),
            ("bad url \"redis://:p@s/s@cache\" here", "bad url \"redis://:***@cache\" here"),
            ("redis://cache:6379", "redis://cache:6379"),
            ("saw hunter2 there", "saw *** there"),
        ] {
            assert_eq!(redact(text, &["hunter2".into(), String::new()]), expected);
        }
    }
}
