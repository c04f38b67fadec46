//! Configurations and what is said of them. The connectors here are fakes, so that a test names no real one.

use super::substitute::Surroundings;
use super::{Config, ConfigError, reference, schema};
use crate::registry::{self, ConfiguredSink, Registry, SinkType, SourceType};
use expect_test::{Expect, expect};
use headwater_model::Secret;
use headwater_model::source::{Intake, Probe, Source};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

/// The settings of both fakes.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only its shape matters")]
struct FakeSettings {
    /// Where it is.
    url: String,
    /// A password.
    #[serde(default)]
    #[schemars(with = "String")]
    password: Secret,
    /// A number.
    #[serde(default)]
    chunk_rows: Option<u32>,
    /// Numbers by name.
    #[serde(default)]
    depths: std::collections::BTreeMap<String, Vec<u32>>,
}

struct Fake;

fn read(settings: &Value, place: &str) -> Result<FakeSettings, (String, String)> {
    serde_path_to_error::deserialize(settings).map_err(|error| {
        let path = error.path().to_string();
        (format!("{place}.{path}"), error.inner().to_string())
    })
}

impl SourceType for Fake {
    fn name(&self) -> &'static str {
        "lake"
    }
    fn summary(&self) -> &'static str {
        "Reads a lake."
    }
    fn schema(&self) -> Value {
        schemars::schema_for!(FakeSettings).to_value()
    }
    fn example(&self) -> &'static str {
        "main:\n  lake: { url: \"lake://a\" }"
    }
    fn build(&self, _: &str, settings: &Value) -> Result<Box<dyn Source>, headwater_source::ConfigError> {
        read(settings, "")
            .map_err(|(place, message)| headwater_source::ConfigError(format!("{}: {message}", &place[1..])))?;
        Ok(Box::new(Nothing))
    }
    fn records(
        &self,
        _: &str,
        _: &Value,
    ) -> Result<headwater_format::debezium::Options, headwater_source::ConfigError> {
        Ok(headwater_format::debezium::Options::default())
    }
    fn check(&self, _: &str, _: &Value) -> Result<Vec<headwater_source::Finding>, headwater_source::ConfigError> {
        Ok(Vec::new())
    }

    fn detach(&self, _: &str, _: &serde_json::Value, _: bool) -> headwater_model::Result<Vec<String>> {
        Ok(Vec::new())
    }
}

/// A source that is never run.
struct Nothing;

impl Source for Nothing {
    fn run(&mut self, _: &mut dyn Intake) -> headwater_model::Result<()> {
        Ok(())
    }
    fn stopper(&self) -> Box<dyn Fn() + Send + Sync> {
        Box::new(|| {})
    }
    fn probe(&self) -> Arc<dyn Probe> {
        unreachable!("nothing runs here")
    }
}

impl SinkType for Fake {
    fn name(&self) -> &'static str {
        "sea"
    }
    fn summary(&self) -> &'static str {
        "Fills a sea."
    }
    fn schema(&self) -> schemars::Schema {
        schemars::schema_for!(FakeSettings)
    }
    fn follow_schema(&self) -> schemars::Schema {
        schemars::schema_for!(std::collections::BTreeMap<String, Vec<String>>)
    }
    fn example(&self) -> &'static str {
        "sea: { url: \"sea://a\" }\nfollow: { a.b: [] }"
    }
    fn notes(&self) -> &'static str {
        "Seas are wide."
    }
    fn configure(
        &self,
        _: &str,
        settings: &Value,
        follow: &Value,
    ) -> Result<Box<dyn ConfiguredSink>, headwater_sink::ConfigError> {
        read(settings, "sea").map_err(|(place, message)| headwater_sink::ConfigError { place, message })?;
        for (table, writes) in follow.as_object().expect("a mapping") {
            if let Some(at) = writes.as_array().and_then(|writes| writes.iter().position(|write| write == "bad")) {
                let place = format!("follow.{table}[{at}]");
                return Err(headwater_sink::ConfigError { place, message: "bad is not good".into() });
            }
        }
        Ok(Box::new(Fake))
    }
}

impl ConfiguredSink for Fake {
    fn tables(&self) -> Vec<String> {
        Vec::new()
    }
    fn build(&self) -> Box<dyn headwater_model::sink::Sink> {
        unreachable!("nothing runs here")
    }
    fn check(&self) -> Vec<headwater_sink::Finding> {
        Vec::new()
    }
}

const FAKES: Registry = Registry { sources: &[&Fake], sinks: &[&Fake] };

struct Env;

impl Surroundings for Env {
    fn env(&self, name: &str) -> Option<String> {
        (name == "PASSWORD").then(|| "hunter2".to_string())
    }
    fn file(&self, _: &Path) -> std::io::Result<String> {
        Err(std::io::ErrorKind::NotFound.into())
    }
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    super::parse(Path::new("/etc/hw/headwater.yaml"), text, &Env, FAKES)
}

/// A good file whose top-level keys are followed by `more`.
fn with(more: &str) -> String {
    format!("data_dir: d\nsources:\n  main:\n    lake: {{ url: \"lake://a\" }}\n{more}")
}

fn fails(text: &str, expected: Expect) {
    let error = parse(text).err().expect("a fault");
    let hint = error.hint.as_deref().map(|hint| format!(" [{hint}]")).unwrap_or_default();
    expected.assert_eq(&format!("{error}{hint}"));
}

#[test]
fn a_small_file_has_good_defaults() {
    let config = parse(&with("")).expect("good");
    expect![[r#"
        {
          "data_dir": "/etc/hw/d",
          "http": {
            "listen": "127.0.0.1:8083"
          },
          "log": {
            "format": "text",
            "level": "info"
          },
          "journal": {
            "segment_bytes": "64MiB",
            "compression": "none",
            "retention": {
              "time": "7d",
              "bytes": null,
              "keep_time": "1h",
              "keep_bytes": "1GiB"
            },
            "laggard": {
              "limit": "64GiB",
              "on_limit": "stop_source"
            }
          },
          "delivery": "written"
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&config.settings).expect("JSON"));
}

#[test]
fn a_whole_file_is_understood() {
    let text = r#"
data_dir: /var/lib/headwater
http: { listen: "0.0.0.0:9000" }
log: { format: json, level: debug }
journal:
  segment_bytes: 16MiB
  compression: lz4
  retention: { time: null, bytes: 10GB }
  laggard: { limit: 20GB, on_limit: drop_follower }
delivery: durable
sources:
  main: { lake: { url: "lake://u:${env:PASSWORD}@a", chunk_rows: 10 } }
  other: { lake: { url: "lake://b" } }
sinks:
  cache:
    sea: { url: "sea://a", password: "${env:PASSWORD}" }
    from: earliest
    follow:
      main.shop.orders: [good]
      main.items: [good]
"#;
    let config = parse(text).expect("good");
    let sink = &config.sinks[0];
    assert_eq!((sink.name.as_str(), sink.kind, sink.source.as_str()), ("cache", "sea", "main"));
    assert_eq!(sink.from, super::From::Earliest);
    assert_eq!(sink.tables, ["main.items", "shop.orders"]);
}

#[test]
fn each_fault_is_named_with_its_place_and_what_is_allowed() {
    for (text, expected) in [
        ("", expect!["/etc/hw/headwater.yaml: the key `data_dir` is missing"]),
        (
            "data_dir: d",
            expect![
                "/etc/hw/headwater.yaml: sources: there is no source [Name a database under `sources:`; `headwater config example` shows how.]"
            ],
        ),
        ("data_dir: [", expect!["/etc/hw/headwater.yaml:2:1: did not find expected node content"]),
        ("- a", expect!["/etc/hw/headwater.yaml: the file must hold keys such as data_dir, sources and sinks"]),
        (
            "data_dir: !secret d",
            expect!["/etc/hw/headwater.yaml:1:11: YAML tags (`!name`) mean nothing here; remove it"],
        ),
        (
            "data_dir: d\ndata_dir: e",
            expect!["/etc/hw/headwater.yaml:1:1: the key `data_dir` stands here twice; keep one of the two"],
        ),
        (
            &with("sink: {}"),
            expect![
                "/etc/hw/headwater.yaml:5:7: sink: unknown key; allowed here: data_dir, delivery, http, journal, log, sinks, sources [Did you mean `sinks`?]"
            ],
        ),
        (
            &with("kafka: { listen: a }"),
            expect!["/etc/hw/headwater.yaml:5:8: kafka: not yet: this version cannot do that [Remove `kafka:`.]"],
        ),
        (
            &with("log: kafka://a"),
            expect![
                "/etc/hw/headwater.yaml:5:6: log: not yet: this version keeps topics in its own journal [`log:` holds format and level.]"
            ],
        ),
        (
            &with("http: { listen: localhost }"),
            expect![
                "/etc/hw/headwater.yaml:5:17: http.listen: expected an IP address and a port, such as 127.0.0.1:8083 or [::1]:8083"
            ],
        ),
        (
            &with("http:\n  listn: 127.0.0.1:1"),
            expect![
                "/etc/hw/headwater.yaml:6:10: http.listn: unknown key; allowed here: listen [Did you mean `listen`?]"
            ],
        ),
        (
            &with("log: { level: loud }"),
            expect![
                "/etc/hw/headwater.yaml:5:15: log.level: saw `loud`; allowed here: error, warn, info, debug, trace"
            ],
        ),
        (
            &with("log: { format: jsn }"),
            expect![
                "/etc/hw/headwater.yaml:5:16: log.format: saw `jsn`; allowed here: text, json [Did you mean `json`?]"
            ],
        ),
        (
            &with("journal:\n  segment_bytes: 64"),
            expect![
                "/etc/hw/headwater.yaml:6:18: journal.segment_bytes: not a size: write a whole number and B, kB, MB, GB, TB, KiB, MiB, GiB or TiB, such as 64MiB"
            ],
        ),
        (
            &with("journal:\n  segment_bytes: 2GiB"),
            expect!["/etc/hw/headwater.yaml:6:18: journal.segment_bytes: saw 2GiB; it lies between 1MiB and 1GiB"],
        ),
        (
            &with("journal: { retention: { time: 1 week } }"),
            expect![
                "/etc/hw/headwater.yaml:5:31: journal.retention.time: not a duration: write a whole number and ms, s, m, h or d, such as 90s"
            ],
        ),
        (
            &with("journal: { laggard: { on_limit: ignore } }"),
            expect![
                "/etc/hw/headwater.yaml:5:33: journal.laggard.on_limit: saw `ignore`; allowed here: stop_source, drop_follower"
            ],
        ),
        (
            &with("delivery: 5"),
            expect!["/etc/hw/headwater.yaml:5:11: delivery: saw integer `5`, expected string or map"],
        ),
        (&with("sinks: [a]"), expect!["/etc/hw/headwater.yaml:5:8: sinks: expected names, each with its settings"]),
        (
            &with("sinks:\n  bad name: {}"),
            expect![[
                r#"/etc/hw/headwater.yaml:6:13: sinks["bad name"]: a name has 1 to 64 letters, digits, _ or - [It is part of topics, keys and paths.]"#
            ]],
        ),
        (
            &with("sinks:\n  cache: {}"),
            expect!["/etc/hw/headwater.yaml:6:10: sinks.cache: does not say what it is; write one of: sea"],
        ),
        (
            &with("sinks:\n  cache: { see: {}, follow: { a.b: [] } }"),
            expect![
                "/etc/hw/headwater.yaml:6:17: sinks.cache.see: unknown key; allowed here: sea, follow, from [Did you mean `sea`?]"
            ],
        ),
        (
            &with("sinks:\n  cache: { sea: { url: x } }"),
            expect!["/etc/hw/headwater.yaml:6:10: sinks.cache: the key `follow` is missing"],
        ),
        (
            &with("sinks:\n  cache: { sea: { url: x }, follow: {} }"),
            expect!["/etc/hw/headwater.yaml:6:37: sinks.cache.follow: a sink follows at least one table"],
        ),
        (
            &with("sinks:\n  cache: { sea: { url: x }, follow: { orders: [] } }"),
            expect![
                "/etc/hw/headwater.yaml:6:47: sinks.cache.follow.orders: `orders` is not a table [Write database.table, source.table or source.database.table.]"
            ],
        ),
        (
            &with("sinks:\n  cache: { sea: { url: x }, from: start, follow: { a.b: [] } }"),
            expect![
                "/etc/hw/headwater.yaml:6:35: sinks.cache.from: saw `start`; allowed here: snapshot, earliest, now"
            ],
        ),
        (
            &with("sinks:\n  cache:\n    sea:\n      urll: x\n    follow: { a.b: [] }"),
            expect![
                "/etc/hw/headwater.yaml:8:13: sinks.cache.sea.urll: unknown key; allowed here: url, password, chunk_rows, depths [Did you mean `url`?]"
            ],
        ),
        (
            &with("sinks:\n  cache:\n    sea: {}\n    follow: { a.b: [] }"),
            expect!["/etc/hw/headwater.yaml:7:10: sinks.cache.sea: the key `url` is missing"],
        ),
        (
            &with("sinks:\n  cache:\n    sea: { url: x, chunk_rows: many }\n    follow: { a.b: [] }"),
            expect![[r#"/etc/hw/headwater.yaml:7:32: sinks.cache.sea.chunk_rows: saw string "many", expected u32"#]],
        ),
        (
            "data_dir: d\nsources:\n  m: { lake: { url: x, chunk_rows: many } }",
            expect![[r#"/etc/hw/headwater.yaml:3:36: sources.m.lake.chunk_rows: saw string "many", expected u32"#]],
        ),
        (
            "data_dir: d\nsources:\n  m: { lake: { url: x, depths: { north: [1, deep] } } }",
            expect![[
                r#"/etc/hw/headwater.yaml:3:45: sources.m.lake.depths.north[1]: saw string "deep", expected u32"#
            ]],
        ),
        (
            "data_dir: d\nsources:\n  m: { lake: { url: x, chunk_row: 5 } }",
            expect![
                "/etc/hw/headwater.yaml:3:35: sources.m.lake.chunk_row: unknown key; allowed here: url, password, chunk_rows, depths [Did you mean `chunk_rows`?]"
            ],
        ),
        (
            &with("sinks:\n  cache:\n    sea: { url: x }\n    follow:\n      main.b:\n        - good\n        - bad"),
            expect![[r#"/etc/hw/headwater.yaml:11:11: sinks.cache.follow["main.b"][1]: bad is not good"#]],
        ),
        (
            "data_dir: d\nsources:\n  m: { lake: { url: '${env:NOBODY}' } }",
            expect![
                "/etc/hw/headwater.yaml:3:21: sources.m.lake.url: the environment variable NOBODY is not set [Set it before starting headwater: export NOBODY=…]"
            ],
        ),
        (
            "data_dir: d\nsources:\n  m: { lake: { url: '${file:key}' } }",
            expect![
                "/etc/hw/headwater.yaml:3:21: sources.m.lake.url: the file /etc/hw/key cannot be read: entity not found [Make the file readable for the user that headwater runs as.]"
            ],
        ),
        (
            "data_dir: d\nsources:\n  m: { mysql: { url: x } }",
            expect!["/etc/hw/headwater.yaml:3:15: sources.m.mysql: unknown key; allowed here: lake"],
        ),
        ("data_dir: d\nsources:\n  m: lake", expect!["/etc/hw/headwater.yaml:3:6: sources.m: expected settings"]),
    ] {
        fails(text, expected);
    }
}

#[test]
fn no_secret_is_ever_shown() {
    for text in [
        "data_dir: d\nsources:\n  m: { lake: { url: a, chunk_rows: '${env:PASSWORD}' } }",
        "data_dir: d\nsources:\n  m: { lake: { url: [ 'lake://u:hunter2@a' ] } }",
        "data_dir: d\nsources:\n  m: { lake: { url: a, chunk_rows: 'lake://u:hunter2@a' } }",
        "data_dir: d\nsources:\n  m: { lake: { password: hunter2, url: a, chunk_rows: hunter2 } }",
        "data_dir: d\nhttp: { listen: '${env:PASSWORD}' }\nsources:\n  m: { lake: { url: a } }",
        "data_dir: d\nsources:\n  m: { lake: 'lake://u:hunter2@a' }",
    ] {
        let error = parse(text).err().expect("a fault");
        let all = format!("{error} {error:?} {:?}", error.hint);
        assert!(!all.contains("hunter2"), "{all}");
    }
    let good = "data_dir: d\nsources:\n  m: { lake: { url: 'lake://u:hunter2@a', password: hunter2 } }\n  \
                n: { lake: { url: 'lake://u:hunter2@${env:PASSWORD}', password: '${env:PASSWORD}' } }";
    let shown = parse(good).expect("good").shown.to_string();
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("${env:PASSWORD}"), "{shown}");
}

#[test]
fn the_schema_holds_every_kind_and_all_its_references_lead_somewhere() {
    fn references(tree: &Value, found: &mut Vec<String>) {
        match tree {
            Value::Object(entries) => entries.iter().for_each(|(key, value)| match value {
                Value::String(target) if key == "$ref" => found.push(target.clone()),
                _ => references(value, found),
            }),
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    for registry in [FAKES, registry::built_in()] {
        let whole = schema::schema(registry);
        let mut found = Vec::new();
        references(&whole, &mut found);
        assert!(!found.is_empty());
        for target in found {
            let name = target.strip_prefix("#/$defs/").expect("a local reference");
            assert!(whole["$defs"][name].is_object(), "{target}");
        }
        for (section, names) in [
            ("sources", registry.sources.iter().map(|kind| kind.name()).collect::<Vec<_>>()),
            ("sinks", registry.sinks.iter().map(|kind| kind.name()).collect()),
        ] {
            let kinds = whole["properties"][section]["additionalProperties"]["oneOf"].as_array().expect(section);
            let titles: Vec<&str> = kinds.iter().filter_map(|kind| kind["title"].as_str()).collect();
            assert_eq!(titles, names);
        }
    }
}

#[test]
fn the_reference_pages_are_current() {
    for (page, text) in reference::pages(registry::built_in()) {
        let path = format!("{}/../../docs/{page}", env!("CARGO_MANIFEST_DIR"));
        expect_test::expect_file![path].assert_eq(&text);
    }
}
