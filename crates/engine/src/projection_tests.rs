//! Topics that the source's own records share with tables. Cases are replacements of a router over every topic.

use super::*;
use headwater_format::debezium::options::{Step, Transform};
use headwater_model::{Column, Type};

fn add(regex: &str, replacement: &str) -> (Vec<String>, Result<()>) {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = headwater_journal::open(folder.path(), headwater_journal::Options::default()).unwrap();
    let step = Step::RegexRouter { regex: regex.to_owned(), replacement: replacement.to_owned() };
    let transforms = vec![Transform { step, predicate: None }];
    let options = Options { prefix: "p".into(), transaction_metadata: true, transforms, ..Options::default() };
    let mut projection = Projection::new(options, 3, &mut opened.writer).unwrap();
    projection.heartbeat(&mut opened.writer).unwrap();
    let column = Column::new("id", Type::Int { bits: 32, unsigned: false }, "int");
    let added = projection.add(&Schema::new(1, "shop", "orders", vec![column], vec![0]), &mut opened.writer);
    let topics = opened.writer.heads().topics();
    (topics.iter().map(|topic| format!("{} {}", topic.name, topic.partitions)).collect(), added)
}

#[test]
fn transforms_name_the_topics_of_transactions_and_heartbeats() {
    let (topics, added) = add(r"(?:__debezium-|p\.)(.*)", "q.$1");
    added.unwrap();
    assert_eq!(topics, ["q.transaction 1", "q.heartbeat.p 1", "q.shop.orders 3"]);
    let (topics, added) = add(r"(?:.*heartbeat\.p|p\.shop\.orders)", "all");
    added.unwrap();
    assert_eq!(topics, ["p.transaction 1", "all 3"]);
}

#[test]
fn rows_beside_the_edges_of_transactions_are_refused_by_the_topic() {
    let (_, added) = add(".*", "all");
    let error = added.unwrap_err().to_string();
    assert!(error.contains("share the topic all with the edges of transactions"), "{error}");
}
