//! Kafka Connect's and Debezium's transforms, applied to drafts when a table, or a topic of the source itself, is compiled.
//!
//! Invariant: a transform that drops a record drops all of its kind, so counts stay known. Start at [`Transforms::apply`].
//! A transform that is to come gets a file of its own beside this one, a variant of `options::Step`, and an arm here.

use super::names::{PhysicalTable, Replace, adjust_schema, pattern};
use super::options::{DeleteHandling, NameAdjustment, Options, OptionsError, Predicate, Step, Test, Unwrap};
use super::own::OwnDraft;
use super::plan::{Added, AddedHeader, Draft, DraftValue, Flat, Meta, RecordKind};
use crate::pattern::Pattern;

/// The transforms of a source, compiled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transforms {
    steps: Vec<Compiled>,
}

#[derive(Clone, Debug)]
struct Compiled {
    step: CompiledStep,
    predicate: Option<CompiledPredicate>,
}

#[derive(Clone, Debug)]
enum CompiledStep {
    Unwrap(Unwrapping),
    RegexRouter(Replace),
    LogicalRouter { replace: Replace, key: Option<PhysicalTable>, adjustment: NameAdjustment },
}

#[derive(Clone, Debug)]
struct Unwrapping {
    deletes: DeleteHandling,
    fields: Vec<Added>,
    headers: Vec<AddedHeader>,
    replace_null: bool,
    /// A tombstone has the headers of its delete as well, because the original adds to one list of both.
    shared_headers: bool,
}

#[derive(Clone, Debug)]
struct CompiledPredicate {
    test: CompiledTest,
    negate: bool,
}

#[derive(Clone, Debug)]
enum CompiledTest {
    Topic(Pattern),
    Tombstone,
    Header(String),
}

impl Transforms {
    /// Compiles the transforms of `options`.
    pub fn new(options: &Options) -> Result<Transforms, OptionsError> {
        let mut steps = Vec::new();
        for transform in &options.transforms {
            let step = match &transform.step {
                Step::Unwrap(unwrap) => CompiledStep::Unwrap(Unwrapping::new(unwrap, options)?),
                Step::RegexRouter { regex, replacement } => {
                    CompiledStep::RegexRouter(Replace::new(regex, replacement, "regex of RegexRouter")?)
                }
                Step::LogicalRouter { regex, replacement, key, schema_name_adjustment } => {
                    let option = "topic.regex of ByLogicalTableRouter";
                    CompiledStep::LogicalRouter {
                        replace: Replace::new(regex, replacement, option)?,
                        key: key.as_ref().map(|key| PhysicalTable::new(key, "key.field.regex")).transpose()?,
                        adjustment: *schema_name_adjustment,
                    }
                }
            };
            let predicate = transform.predicate.as_ref().map(CompiledPredicate::new).transpose()?;
            steps.push(Compiled { step, predicate });
        }
        Ok(Transforms { steps })
    }

    /// The record after all transforms; `None` when one of them drops it.
    pub fn apply(&self, mut draft: Draft, options: &Options) -> Option<Draft> {
        for Compiled { step, predicate } in &self.steps {
            if predicate.as_ref().is_some_and(|predicate| !predicate.holds(&draft, options)) {
                continue;
            }
            draft = match step {
                CompiledStep::Unwrap(unwrap) => unwrap.apply(draft)?,
                CompiledStep::RegexRouter(replace) => {
                    draft.topic = replace.apply(&draft.topic).unwrap_or(draft.topic);
                    draft
                }
                CompiledStep::LogicalRouter { replace, key, adjustment } => {
                    logical(draft, replace, key.as_ref(), *adjustment)
                }
            };
        }
        Some(draft)
    }

    /// A record of the source itself after all transforms. It is no envelope and no tombstone, and has no headers.
    pub fn apply_own(&self, mut draft: OwnDraft) -> OwnDraft {
        for Compiled { step, predicate } in &self.steps {
            if predicate.as_ref().is_some_and(|predicate| !predicate.holds_for_own(&draft)) {
                continue;
            }
            match step {
                CompiledStep::Unwrap(_) => {}
                CompiledStep::RegexRouter(replace) => draft.topic = replace.apply(&draft.topic).unwrap_or(draft.topic),
                CompiledStep::LogicalRouter { replace, key, adjustment } => {
                    let Some(topic) = routed(replace, &draft.topic) else { continue };
                    draft.key_name = adjust_schema(&format!("{topic}.Key"), *adjustment);
                    draft.key_fields.extend(key.iter().map(|key| (key.name.clone(), key.value(&draft.topic))));
                    draft.topic = topic;
                }
            }
        }
        draft
    }

    /// The column whose value names the topic of each record.
    pub fn route_by(options: &Options) -> Option<&str> {
        options.transforms.iter().find_map(|transform| match &transform.step {
            Step::Unwrap(unwrap) => unwrap.route_by.as_deref().filter(|column| !column.is_empty()),
            _ => None,
        })
    }
}

impl CompiledPredicate {
    fn new(predicate: &Predicate) -> Result<CompiledPredicate, OptionsError> {
        let test = match &predicate.test {
            Test::Topic(text) => CompiledTest::Topic(pattern(text, false, "pattern of TopicNameMatches")?),
            Test::Tombstone => CompiledTest::Tombstone,
            Test::Header(name) => CompiledTest::Header(name.clone()),
        };
        Ok(CompiledPredicate { test, negate: predicate.negate })
    }

    fn holds_for_own(&self, draft: &OwnDraft) -> bool {
        let holds = matches!(&self.test, CompiledTest::Topic(regex) if regex.is_match(&draft.topic));
        holds != self.negate
    }

    fn holds(&self, draft: &Draft, options: &Options) -> bool {
        let holds = match &self.test {
            CompiledTest::Topic(regex) => regex.is_match(&draft.topic),
            CompiledTest::Tombstone => matches!(draft.value, DraftValue::Tombstone | DraftValue::Null { .. }),
            CompiledTest::Header(name) => {
                let context = options.context_headers.is_some() && name.starts_with("__debezium.context.");
                context
                    || draft.kind.key_header() == Some(name)
                    || draft.headers.iter().any(|header| header.name == *name)
            }
        };
        holds != self.negate
    }
}

impl Unwrapping {
    fn new(unwrap: &Unwrap, options: &Options) -> Result<Unwrapping, OptionsError> {
        let mut fields = Vec::new();
        for text in &unwrap.fields {
            let (path, name) = renamed(text, &unwrap.fields_prefix, "add.fields")?;
            if let Some(meta) = Meta::of(&path, options.connector) {
                fields.push(Added { name, meta });
            }
        }
        let mut headers = Vec::new();
        for text in &unwrap.headers {
            let (path, name) = renamed(text, &unwrap.headers_prefix, "add.headers")?;
            if let Some(meta) = Meta::of(&path, options.connector) {
                headers.push(AddedHeader { name, meta: Some(meta) });
            }
        }
        let shared_headers = options.is_exact();
        Ok(Unwrapping { deletes: unwrap.deletes, fields, headers, replace_null: unwrap.replace_null, shared_headers })
    }

    fn apply(&self, mut draft: Draft) -> Option<Draft> {
        match draft.value {
            DraftValue::Tombstone => {
                if self.shared_headers {
                    draft.headers.extend(self.headers.iter().cloned());
                }
                let op = self.headers.iter().filter(|header| header.meta == Some(Meta::Op));
                draft.headers.extend(op.map(|header| AddedHeader { name: header.name.clone(), meta: None }));
                let stays = matches!(
                    self.deletes,
                    DeleteHandling::RewriteWithTombstone
                        | DeleteHandling::OnlyTombstone
                        | DeleteHandling::NullWithTombstone
                );
                stays.then_some(draft)
            }
            DraftValue::Envelope { value_name, .. } => {
                draft.headers.extend(self.headers.iter().cloned());
                draft.value = self.value(draft.kind, value_name)?;
                Some(draft)
            }
            DraftValue::Flat(_) | DraftValue::Null { .. } => Some(draft),
        }
    }

    fn value(&self, kind: RecordKind, value_name: String) -> Option<DraftValue> {
        let rewrite = matches!(self.deletes, DeleteHandling::Rewrite | DeleteHandling::RewriteWithTombstone);
        let flat = |before| {
            DraftValue::Flat(Flat {
                value_name: value_name.clone(),
                before,
                deleted: rewrite.then_some(before),
                added: self.fields.clone(),
                optional: false,
                replace_null: rewrite && self.replace_null,
            })
        };
        match (kind, self.deletes) {
            (RecordKind::Truncate, _) => None,
            (kind, _) if !kind.is_delete() => Some(flat(false)),
            (_, DeleteHandling::Drop | DeleteHandling::OnlyTombstone) => None,
            (_, DeleteHandling::Tombstone | DeleteHandling::NullWithTombstone) => Some(DraftValue::Null { value_name }),
            (_, DeleteHandling::DeleteToTombstone) => Some(DraftValue::Tombstone),
            _ => Some(flat(true)),
        }
    }
}

/// `struct.field:name`: the path and the name that is shown.
fn renamed(text: &str, prefix: &str, option: &str) -> Result<(String, String), OptionsError> {
    let parts: Vec<&str> = text.trim().split(':').collect();
    match parts[..] {
        [path] => Ok((path.to_owned(), format!("{prefix}{}", path.replace('.', "_")))),
        [path, name] => Ok((path.to_owned(), format!("{prefix}{name}"))),
        _ => Err(OptionsError(format!("{option}: {text:?} has two colons: write field:name"))),
    }
}

/// The topic that a logical router makes of `topic`, if it does.
fn routed(replace: &Replace, topic: &str) -> Option<String> {
    replace.apply(topic).filter(|topic| !topic.is_empty())
}

fn logical(mut draft: Draft, replace: &Replace, key: Option<&PhysicalTable>, adjustment: NameAdjustment) -> Draft {
    let Some(topic) = routed(replace, &draft.topic) else { return draft };
    let adjusted = |end: &str| adjust_schema(&format!("{topic}.{end}"), adjustment);
    draft.key_name = adjusted("Key");
    if let Some(key) = key {
        draft.key_fields.push((key.name.clone(), key.value(&draft.topic)));
    }
    if let DraftValue::Envelope { value_name, envelope_name } = &mut draft.value {
        (*value_name, *envelope_name) = (adjusted("Value"), adjusted("Envelope"));
    }
    draft.topic = topic;
    draft
}
