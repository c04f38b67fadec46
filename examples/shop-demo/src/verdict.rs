//! The verdict: the whole cache against the whole database.
//!
//! Invariant: what the cache must hold is computed by SQL alone, from the tables as they are; neither Headwater nor the
//! load is asked. Start at [`compare`]; [`ENTRIES`] says in SQL what `headwater.yaml` says in templates.

use crate::load::page;
use headwater_testkit::{Database, Error, Redis, Reply, Result, Row};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What Headwater keeps for itself.
const OWN_PREFIX: &str = "headwater:";
/// What the shop puts into the cache, and Headwater only drops.
const PAGE_PREFIX: &str = "page:category:";
/// Differences that are shown.
const SHOWN_MAX: usize = 5;

/// How SQL's rows and Redis' replies say the same thing.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// Rows of key and JSON object; a string.
    Json,
    /// Rows of key and JSON object, NULL for a field that is absent; a hash.
    Hash,
    /// Rows of key and member; a set.
    Set,
    /// Rows of key, member and score; a sorted set.
    Zset,
    /// Rows of key and number; a string.
    Counter,
}

struct Entry {
    /// What its keys begin with, and no other entry's.
    prefix: &'static str,
    form: Form,
    sql: &'static str,
}

const ENTRIES: &[Entry] = &[
    Entry {
        prefix: "brand:",
        form: Form::Hash,
        sql: "select concat('brand:', brand_id),
                json_object('brand_id', concat(brand_id, ''), 'name_ar', name_ar, 'name_en', name_en) from shop.brands",
    },
    Entry {
        prefix: "category:",
        form: Form::Hash,
        sql: "select concat('category:', category_id),
                json_object('path', path, 'name_ar', name_ar, 'name_en', name_en) from shop.categories",
    },
    Entry {
        prefix: "product:",
        form: Form::Json,
        sql: "select concat('product:', product_id),
                json_object('product_id', product_id, 'brand_id', brand_id, 'category_id', category_id,
                  'name_ar', name_ar, 'name_en', name_en, 'badges', json_compact(badges),
                  'updated_at', concat(date_format(updated_at, '%Y-%m-%dT%H:%i:%s.'), lpad(microsecond(updated_at) div 1000, 3, '0')))
              from shop.products",
    },
    Entry {
        prefix: "category_products:",
        form: Form::Set,
        sql: "select concat('category_products:', category_id), product_id from shop.products",
    },
    Entry {
        prefix: "category_brands:",
        form: Form::Set,
        sql: "select distinct concat('category_brands:', category_id), brand_id from shop.products",
    },
    Entry {
        prefix: "variant:",
        form: Form::Json,
        sql: "select concat('variant:', variant_id),
                json_object('variant_id', variant_id, 'product_id', product_id, 'sku', sku, 'color', color,
                  'base_price', concat(base_price, ''), 'discounted_price', concat(discounted_price, ''), 'stock', stock,
                  'stock_status', stock_status)
              from shop.product_variants",
    },
    Entry {
        prefix: "sku:",
        form: Form::Json,
        sql: "select concat('sku:', sku), json_object('variant_id', variant_id, 'product_id', product_id)
              from shop.product_variants",
    },
    Entry {
        prefix: "prices:",
        form: Form::Zset,
        sql: "select concat('prices:', product_id), variant_id, base_price from shop.product_variants",
    },
    Entry {
        prefix: "order:",
        form: Form::Json,
        sql: "select concat('order:', order_id),
                json_object('order_id', order_id, 'customer_id', customer_id, 'status', status, 'total', concat(total, ''),
                  'note', note,
                  'created_at', concat(date_format(created_at, '%Y-%m-%dT%H:%i:%s.'), lpad(microsecond(created_at) div 1000, 3, '0')))
              from shop.orders",
    },
    Entry {
        prefix: "orders_of:",
        form: Form::Set,
        sql: "select concat('orders_of:', customer_id), order_id from shop.orders",
    },
    Entry {
        prefix: "orders:",
        form: Form::Counter,
        sql: "select concat('orders:', status), count(*) from shop.orders group by status",
    },
    Entry {
        prefix: "revenue:",
        form: Form::Counter,
        sql: "select concat('revenue:', status), cast(sum(total) * 100 as signed) as cents
              from shop.orders group by status having cents <> 0",
    },
    Entry {
        prefix: "recent_orders",
        form: Form::Zset,
        sql: "select 'recent_orders', order_id, timestampdiff(microsecond, '1970-01-01', created_at) / 1000000 from shop.orders",
    },
    Entry {
        prefix: "order_item:",
        form: Form::Hash,
        sql: "select concat('order_item:', order_id, ':', line_no),
                json_object('variant_id', concat(variant_id, ''), 'sku', sku, 'quantity', concat(quantity, ''),
                  'unit_price', concat(unit_price, ''))
              from shop.order_items",
    },
    Entry {
        prefix: "ordered_products:",
        form: Form::Set,
        sql: "select distinct concat('ordered_products:', order_id), product_id from shop.order_items",
    },
    Entry {
        prefix: "sold:",
        form: Form::Counter,
        sql: "select concat('sold:', sku), cast(sum(quantity) as signed) from shop.order_items group by sku",
    },
];

/// The content of one key, in a form that does not depend on who made it.
#[derive(Clone, Debug, PartialEq)]
enum Content {
    Object(Value),
    Members(BTreeSet<String>),
    Scores(BTreeMap<String, f64>),
    Text(String),
}

/// How cache and database compare.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Keys that the database says there must be.
    pub keys: usize,
    /// Those that are not there.
    pub missing: usize,
    /// Those that hold something else.
    pub different: usize,
    /// Keys that the database does not account for.
    pub phantom: usize,
    /// Pages in the cache; each was compared with the page that the database would give now.
    pub pages: usize,
    /// The first few of what is wrong.
    pub examples: Vec<String>,
}

impl Verdict {
    /// Whether nothing is wrong.
    pub fn is_equal(&self) -> bool {
        self.missing + self.different + self.phantom == 0
    }

    fn example(&mut self, text: impl FnOnce() -> String) {
        if self.examples.len() < SHOWN_MAX {
            self.examples.push(text());
        }
    }
}

/// Compares all that `redis` holds with all that it must hold by `database`. Nobody may be writing.
pub fn compare(database: &Database, redis: &Redis) -> Result<Verdict> {
    let mut verdict = Verdict::default();
    let mut held = redis.contents(0)?;
    held.retain(|key, _| !key.starts_with(OWN_PREFIX));
    for entry in ENTRIES {
        let expected = expected(entry, database.try_query(entry.sql)?)?;
        verdict.keys += expected.len();
        for (key, expected) in expected {
            match held.remove(&key).map(|reply| found(entry.form, &reply)) {
                None => {
                    verdict.missing += 1;
                    verdict.example(|| format!("{key} is missing"));
                }
                Some(found) if found != expected => {
                    verdict.different += 1;
                    verdict.example(|| format!("{key} is\n    {found:?} and must be\n    {expected:?}"));
                }
                Some(_) => {}
            }
        }
    }
    compare_pages(database, held, &mut verdict)?;
    Ok(verdict)
}

/// What is left of the cache: pages, which need not be there but must be right, and what should not be there at all.
fn compare_pages(database: &Database, held: BTreeMap<String, Reply>, verdict: &mut Verdict) -> Result {
    for (key, reply) in held {
        let Some((category, language)) = key.strip_prefix(PAGE_PREFIX).and_then(|rest| rest.split_once(':')) else {
            verdict.phantom += 1;
            verdict.example(|| format!("{key} is there, and no row says so"));
            continue;
        };
        verdict.pages += 1;
        let lines: Vec<String> = database.try_query(&page(category, language))?.into_iter().map(first).collect();
        if reply.text() != Some(lines.join("\n")) {
            verdict.different += 1;
            verdict.example(|| format!("{key} is out of date"));
        }
    }
    Ok(())
}

fn expected(entry: &Entry, rows: Vec<Row>) -> Result<BTreeMap<String, Content>> {
    let mut contents = BTreeMap::new();
    for row in rows {
        let mut values = row.into_iter().map(Option::unwrap_or_default);
        let mut next = || values.next().unwrap_or_default();
        let (key, value) = (next(), next());
        let wrong = |what: &str| Error::new(format!("{}: the comparison's SQL gave {what}", entry.prefix));
        let content = match entry.form {
            Form::Json | Form::Hash => {
                let mut object: Value = serde_json::from_str(&value).map_err(|error| wrong(&error.to_string()))?;
                if let (Form::Hash, Some(fields)) = (entry.form, object.as_object_mut()) {
                    fields.retain(|_, value| !value.is_null());
                }
                Content::Object(object)
            }
            Form::Counter => Content::Text(value),
            Form::Set | Form::Zset => {
                let empty = match entry.form {
                    Form::Set => Content::Members(BTreeSet::new()),
                    _ => Content::Scores(BTreeMap::new()),
                };
                match contents.entry(key).or_insert(empty) {
                    Content::Members(members) => {
                        members.insert(value);
                    }
                    Content::Scores(scores) => {
                        scores.insert(value, next().parse().map_err(|_| wrong("no score"))?);
                    }
                    Content::Object(_) | Content::Text(_) => return Err(wrong("one key twice")),
                }
                continue;
            }
        };
        if contents.insert(key, content).is_some() {
            return Err(wrong("one key twice"));
        }
    }
    Ok(contents)
}

/// What Redis holds; something that is not of `form` compares as a text, and so as different.
fn found(form: Form, reply: &Reply) -> Content {
    let text = || Content::Text(reply.text().unwrap_or_else(|| format!("{reply:?}")));
    let pairs = || reply.texts().chunks(2).map(<[String]>::to_vec).collect::<Vec<_>>();
    match (form, reply) {
        (Form::Json, Reply::Bytes(bytes)) => serde_json::from_slice(bytes).map_or_else(|_| text(), Content::Object),
        (Form::Hash, Reply::List(_)) => {
            let fields = pairs().into_iter().filter_map(|pair| <[String; 2]>::try_from(pair).ok());
            Content::Object(fields.map(|[name, value]| (name, Value::String(value))).collect())
        }
        (Form::Set, Reply::List(_)) => Content::Members(reply.texts().into_iter().collect()),
        (Form::Zset, Reply::List(_)) => {
            let members = pairs().into_iter().filter_map(|pair| <[String; 2]>::try_from(pair).ok());
            Content::Scores(members.map(|[member, score]| (member, score.parse().unwrap_or(f64::NAN))).collect())
        }
        _ => text(),
    }
}

fn first(row: Row) -> String {
    row.into_iter().flatten().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_configuration_is_compared() {
        let config = include_str!("../headwater.yaml");
        let templates = config.lines().filter_map(|line| line.trim().strip_prefix("- { ")?.split_once(": \""));
        let mut seen = BTreeSet::new();
        for (kind, rest) in templates.filter(|(kind, _)| *kind != "invalidate") {
            let prefix = rest.split(['{', '"']).next().unwrap();
            let entry = ENTRIES.iter().find(|entry| entry.prefix == prefix).unwrap_or_else(|| panic!("{prefix}"));
            assert_eq!(format!("{:?}", entry.form).to_lowercase(), kind, "{prefix}");
            seen.insert(prefix);
        }
        assert_eq!(seen.len(), ENTRIES.len(), "an entry that no template makes");
    }

    #[test]
    fn rows_and_replies_that_say_the_same_are_equal() {
        let bytes = |text: &str| Reply::Bytes(text.as_bytes().to_vec());
        let list = |texts: &[&str]| Reply::List(texts.iter().map(|text| bytes(text)).collect());
        for (form, rows, reply, equal) in [
            (Form::Json, vec![r#"{"a": 1, "b": null}"#], bytes(r#"{"b":null,"a":1}"#), true),
            (Form::Json, vec![r#"{"a": 1}"#], bytes(r#"{"a":"1"}"#), false),
            (Form::Json, vec![r#"{"a": 1}"#], list(&["a", "1"]), false),
            (Form::Hash, vec![r#"{"a": "1", "b": null}"#], list(&["a", "1"]), true),
            (Form::Set, vec!["1", "2"], list(&["2", "1"]), true),
            (Form::Set, vec!["1", "2"], list(&["1"]), false),
            (Form::Zset, vec!["1"], list(&["1", "12.300000000000001"]), true),
            (Form::Zset, vec!["1"], list(&["1", "12.4"]), false),
            (Form::Counter, vec!["7"], bytes("7"), true),
            (Form::Counter, vec!["7"], Reply::Nil, false),
        ] {
            let row = |value: &str| {
                [Some("k"), Some(value), Some("12.30000000000000100")].map(|text| text.map(str::to_owned)).to_vec()
            };
            let entry = Entry { prefix: "k", form, sql: "" };
            let contents = expected(&entry, rows.into_iter().map(row).collect()).unwrap();
            assert_eq!(contents["k"] == found(form, &reply), equal, "{form:?} {reply:?}");
        }
    }
}
