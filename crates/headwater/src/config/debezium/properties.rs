//! The flat map of properties while it is read: each is taken once under its name of today, and what is left at the end is
//! looked up among the known ones.
//!
//! Invariant: a fault names its property, and a secret's value never stands in it. Start at [`Properties::take`].

use super::Fault;
use super::known::{self, Known};
use crate::config::error::nearest;
use std::collections::{BTreeMap, BTreeSet};

/// A property's name of today, and what it was called in 1.x.
pub(super) const OLD_NAMES: &[(&str, &str)] = &[
    ("topic.prefix", "database.server.name"),
    ("database.include.list", "database.whitelist"),
    ("database.exclude.list", "database.blacklist"),
    ("schema.include.list", "schema.whitelist"),
    ("schema.exclude.list", "schema.blacklist"),
    ("table.include.list", "table.whitelist"),
    ("table.exclude.list", "table.blacklist"),
    ("column.include.list", "column.whitelist"),
    ("column.exclude.list", "column.blacklist"),
    ("topic.heartbeat.prefix", "heartbeat.topics.prefix"),
    ("unavailable.value.placeholder", "toasted.value.placeholder"),
];

/// The whole name of the topic of transactions, in 1.x.
pub(super) const TRANSACTION_TOPIC: &str = "transaction.topic";

/// The properties, what was taken of them, and what is wrong so far.
pub(super) struct Properties {
    values: BTreeMap<String, String>,
    /// Every name that was asked for, whether it was there or not: what a misspelt one is compared with.
    asked: BTreeSet<String>,
    /// Those of which one value alone is honoured.
    only: BTreeMap<String, String>,
    faults: Vec<Fault>,
    notes: Vec<String>,
}

impl Properties {
    pub fn new(properties: &BTreeMap<String, String>, environment: &dyn Fn(&str) -> Option<String>) -> Self {
        let mut read = Properties {
            values: BTreeMap::new(),
            asked: BTreeSet::new(),
            only: BTreeMap::new(),
            faults: Vec::new(),
            notes: Vec::new(),
        };
        for (name, value) in properties {
            let value = match is_template(name) {
                true => Ok(value.clone()),
                false => resolve(value, environment),
            };
            match value {
                Ok(value) => drop(read.values.insert(name.clone(), value)),
                Err(message) => read.fault(name, message),
            }
        }
        read
    }

    /// The value of a property, under its name of today or its old one.
    pub fn take(&mut self, name: &str) -> Option<String> {
        self.asked.insert(name.to_owned());
        let found = self.values.remove(name).map(|value| value.trim().to_owned());
        for (_, old) in OLD_NAMES.iter().filter(|(new, _)| *new == name) {
            self.asked.insert((*old).to_owned());
            match (self.values.remove(*old), &found) {
                (Some(value), None) => return Some(value.trim().to_owned()).filter(|value| !value.is_empty()),
                (Some(_), Some(_)) => self.note(old, &format!("{name} stands beside it and counts")),
                (None, _) => {}
            }
        }
        found.filter(|value| !value.is_empty())
    }

    /// As [`take`](Self::take); a fault where it is missing.
    pub fn required(&mut self, name: &str) -> Option<String> {
        let found = self.take(name);
        if found.is_none() && !self.faults.iter().any(|fault| fault.property == name) {
            self.fault(name, "it is missing".to_owned());
        }
        found
    }

    /// Whether a property that is taken later has this value.
    pub fn is(&self, name: &str, value: &str) -> bool {
        self.values.get(name).is_some_and(|seen| seen.trim().eq_ignore_ascii_case(value))
    }

    /// One of several words, without regard to case.
    pub fn choice<T: Clone>(&mut self, name: &str, allowed: &[(&str, T)]) -> Option<T> {
        let value = self.take(name)?;
        let found = allowed.iter().find(|(word, _)| word.eq_ignore_ascii_case(&value));
        if found.is_none() {
            let words: Vec<&str> = allowed.iter().map(|(word, _)| *word).collect();
            self.fault(name, format!("{value:?} is not allowed; allowed are {}", words.join(", ")));
        }
        found.map(|(_, value)| value.clone())
    }

    /// `true` or `false`.
    pub fn flag(&mut self, name: &str, default: bool) -> bool {
        self.choice(name, &[("true", true), ("false", false)]).unwrap_or(default)
    }

    /// A whole number between `min` and `max`.
    pub fn number(&mut self, name: &str, min: u64, max: u64) -> Option<u64> {
        let value = self.take(name)?;
        let found = value.parse().ok().filter(|number| (min..=max).contains(number));
        if found.is_none() {
            self.fault(name, format!("{value:?} is not allowed; it is a whole number between {min} and {max}"));
        }
        found
    }

    /// Words separated by commas.
    pub fn words(&mut self, name: &str) -> Vec<String> {
        let value = self.take(name).unwrap_or_default();
        value.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    }

    /// Takes every property whose name begins with `prefix`, as what follows the prefix and the value.
    pub fn take_all(&mut self, prefix: &str) -> Vec<(String, String)> {
        self.asked.insert(format!("{prefix}…"));
        let names: Vec<String> = self.values.keys().filter(|name| name.starts_with(prefix)).cloned().collect();
        let taken = names.into_iter().filter_map(|name| {
            let value = self.values.remove(&name)?;
            Some((name[prefix.len()..].to_owned(), value.trim().to_owned()))
        });
        taken.collect()
    }

    /// Takes a property whose values mean nothing here but for one, which is its default and needs no note.
    pub fn noted(&mut self, name: &str, default: &str, allowed: &[&str], why: &str) {
        let allowed: Vec<(&str, &str)> = allowed.iter().map(|word| (*word, *word)).collect();
        if self.choice(name, &allowed).is_some_and(|value| value != default) {
            self.note(name, why);
        }
    }

    /// Takes a property that only one value of can be honoured, which is also its default.
    pub fn only(&mut self, name: &str, allowed: &str, why: &str) {
        self.only.insert(name.to_owned(), allowed.to_owned());
        if let Some(value) = self.take(name)
            && !value.eq_ignore_ascii_case(allowed)
        {
            self.fault(name, format!("only {allowed} is honoured so far: {why}"));
        }
    }

    pub fn fault(&mut self, property: &str, message: String) {
        self.faults.push(Fault { property: property.to_owned(), message });
    }

    pub fn note(&mut self, property: &str, message: &str) {
        self.notes.push(format!("{property}: {message}"));
    }

    /// The notes, or all that is wrong: what is still there was not taken.
    pub fn finish(mut self) -> Result<Vec<String>, Vec<Fault>> {
        let asked = std::mem::take(&mut self.asked);
        for name in std::mem::take(&mut self.values).into_keys() {
            match known::lookup(&name) {
                Some(Known::Meaningless(why)) => self.note(&name, why),
                Some(Known::NotYet(why)) => self.fault(&name, format!("not yet honoured: {why}")),
                None => {
                    let names: Vec<String> = known::names().collect();
                    let known = asked.iter().chain(&names).map(String::as_str);
                    let hint = nearest(&name, known);
                    let hint = hint.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                    self.fault(&name, format!("this property is not known here{hint}"));
                }
            }
        }
        if self.faults.is_empty() { Ok(self.notes) } else { Err(self.faults) }
    }

    /// Every name that was asked for, with the value that alone is honoured where there is only one.
    pub fn asked(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.asked.iter().map(|name| (name.as_str(), self.only.get(name).map(String::as_str)))
    }

    /// What is wrong, when too little is known to look at the rest.
    pub fn finish_without_rest(self) -> Vec<Fault> {
        self.faults
    }
}

/// Whether `${name}` in the value of this property is its own: a group of an expression, or the name of the source.
pub(in crate::config) fn is_template(property: &str) -> bool {
    property.ends_with("replacement") || property == TRANSACTION_TOPIC
}

/// Puts environment variables in for `${NAME}` and `${env:NAME}`.
fn resolve(value: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut resolved = String::new();
    let mut rest = value;
    while let Some((head, tail)) = rest.split_once("${") {
        resolved.push_str(head);
        let Some((reference, after)) = tail.split_once('}') else {
            return Err("it holds a ${ without the brace that ends it".to_owned());
        };
        let name = reference.strip_prefix("env:").unwrap_or(reference);
        let is_name = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_name(name) {
            return Err(format!(
                "${{{reference}}} is not the name of an environment variable; other sources of values are not known here"
            ));
        }
        match environment(name) {
            Some(found) => resolved.push_str(&found),
            None => return Err(format!("the environment variable {name} is not set")),
        }
        rest = after;
    }
    Ok(resolved + rest)
}
