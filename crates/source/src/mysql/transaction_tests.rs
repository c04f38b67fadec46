//! Recorded logs of both servers, followed into an intake in memory, whole and with a crash after every event.

use super::super::config::{Config, Options};
use super::super::decode::{Decoder, FLAG_ARTIFICIAL, ServerFlavor};
use super::super::position::Gtids;
use super::super::server::Server;
use super::super::stream::drop_unfinished_sides;
use super::*;
use expect_test::{Expect, expect};
use headwater_model::source::{Committed, Edges, HeldRows, SourceReport, StateUpdate};
use headwater_model::transaction::TransactionView;
use headwater_model::{Change, Origin, Schema};
use std::collections::BTreeMap;

/// Small enough that the log's largest transaction does not fit.
const BYTES_MAX: usize = 400;

/// What a journal would hold.
#[derive(Clone, Default)]
struct Kept {
    position: Option<Vec<u8>>,
    state: BTreeMap<String, Vec<u8>>,
    schemas: BTreeMap<String, Schema>,
    next_schema: u32,
    /// Side segments: the items, and whether they survive a crash.
    sides: BTreeMap<String, (Vec<u8>, bool)>,
    spills: usize,
    lines: Vec<String>,
    /// The session that each transaction names, and the number of its last row.
    sessions: Vec<String>,
    /// Where set, transactions without changes are asked for, and the edges that are told are kept, by GTID.
    edges: Option<Vec<String>>,
    /// The next side segment cannot be joined.
    refuses_side: bool,
    all_schemas: BTreeMap<u32, Schema>,
}

impl Kept {
    fn crash(&mut self) {
        self.sides.retain(|_, (_, prepared)| *prepared);
    }

    fn take(&mut self, transaction: &Committed<'_>, side: &[u8]) {
        for StateUpdate { key, value } in transaction.state {
            match value {
                Some(value) => self.state.insert(key.clone(), value.clone()),
                None => self.state.remove(key),
            };
        }
        for schema in transaction.schemas {
            self.next_schema = self.next_schema.max(schema.id + 1);
            self.schemas.insert(schema.full_name(), schema.clone());
            self.all_schemas.insert(schema.id, schema.clone());
        }
        if !transaction.position.is_empty() {
            self.position = Some(transaction.position.to_vec());
        }
        let body = [transaction.header, side, transaction.changes.items()].concat();
        let view = TransactionView::decode(&body).unwrap();
        let changes: Vec<String> = view.changes().map(|change| self.line(&change.unwrap())).collect();
        if !changes.is_empty() {
            let Origin::Binlog { gtid, position, thread, .. } = view.header.origin else {
                panic!("changes of our own")
            };
            let number = gtid.rsplit([':', '-']).next().unwrap();
            assert!(position > 0 && view.header.commit_us > 1_700_000_000_000_000);
            self.lines.push(format!("{number}: {}", changes.join(", ")));
            let row = view.changes().flatten().last().map_or(0, |change| change.row);
            self.sessions.push(format!("{number}: {thread} {row}"));
        }
    }

    fn line(&self, change: &Change<'_>) -> String {
        let schema = &self.all_schemas[&change.schema];
        let row = |row: Option<headwater_model::Row<'_>>| {
            row.map(|row| row.values().map(|value| format!(" {value:?}")).collect::<String>()).unwrap_or_default()
        };
        let arrow = if change.before.is_some() && change.after.is_some() { " →" } else { "" };
        format!("{} {}{}{arrow}{}", change.op.letter(), schema.table, row(change.before), row(change.after))
    }
}

impl Intake for Kept {
    fn position(&self) -> Option<Vec<u8>> {
        self.position.clone()
    }
    fn state(&self, key: &str) -> Option<Vec<u8>> {
        self.state.get(key).cloned()
    }
    fn state_keys(&self, prefix: &str) -> Vec<String> {
        self.state.keys().filter(|key| key.starts_with(prefix)).cloned().collect()
    }
    fn schemas(&self) -> (Vec<Schema>, u32) {
        (self.schemas.values().cloned().collect(), self.next_schema)
    }
    fn append(&mut self, transaction: &Committed<'_>) -> Result<()> {
        self.take(transaction, &[]);
        Ok(())
    }
    fn shows_told_edges(&self) -> bool {
        self.edges.is_some()
    }
    fn append_told(&mut self, transaction: &Committed<'_>, edges: Edges) -> Result<()> {
        if let Some(told) = &mut self.edges {
            let view = TransactionView::decode(transaction.header).unwrap();
            let Origin::Binlog { gtid, .. } = view.header.origin else { panic!("a transaction of our own") };
            let number = gtid.rsplit([':', '-']).next().unwrap();
            let mark = |is_told, letter| if is_told { letter } else { "" };
            told.push(format!("{number}{}{}", mark(edges.begin, "b"), mark(edges.end, "e")));
        }
        self.append(transaction)
    }
    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
    fn spill(&mut self, part: &SidePart<'_>, changes: &TransactionBuilder) -> Result<()> {
        for tally in changes.tallies() {
            assert!(self.all_schemas.contains_key(&tally.schema), "schema {} was not announced", tally.schema);
        }
        self.spills += 1;
        self.sides.entry(part.id.to_owned()).or_default().0.extend_from_slice(changes.items());
        Ok(())
    }
    fn append_side(&mut self, id: &str, transaction: &Committed<'_>) -> Result<()> {
        if std::mem::take(&mut self.refuses_side) {
            return Err(Error::reconnect("no room"));
        }
        let (side, _) = self.sides.remove(id).expect("a side segment");
        self.take(transaction, &side);
        Ok(())
    }
    fn abort_side(&mut self, id: &str) -> Result<()> {
        self.sides.remove(id);
        Ok(())
    }
    fn prepare_side(&mut self, id: &str, transaction: &Committed<'_>) -> Result<()> {
        self.spill(&SidePart { id }, transaction.changes)?;
        self.sides.get_mut(id).expect("a side segment").1 = true;
        self.take(&Committed { changes: &TransactionBuilder::default(), ..*transaction }, &[]);
        Ok(())
    }
    fn sides(&self) -> Vec<String> {
        self.sides.keys().cloned().collect()
    }
    fn accepts_derived(&self) -> bool {
        true
    }
    fn next_sequence(&self) -> u64 {
        0
    }
    fn changes_since(&mut self, _: u64, _: &mut dyn FnMut(&Change<'_>, &Schema) -> Result<()>) -> Result<()> {
        Ok(())
    }
    fn rows(&mut self, table: &str, _: u64) -> Result<Box<dyn HeldRows>> {
        Err(Error::stop(format!("the rows of {table} are not kept here")))
    }
    fn snapshot_request(&mut self) -> Option<Vec<String>> {
        None
    }

    fn has_snapshot_request(&self) -> bool {
        false
    }
    fn durable_position(&self) -> Option<Vec<u8>> {
        self.position.clone()
    }
    fn stopping(&self) -> bool {
        false
    }
    fn report(&mut self, _: SourceReport) {}
}

struct Log {
    bytes: &'static [u8],
    server: Server,
}

const MYSQL: &[u8] = include_bytes!("fixtures/mysql.binlog");
const MARIADB: &[u8] = include_bytes!("fixtures/mariadb.binlog");

impl Log {
    fn new(bytes: &'static [u8]) -> Log {
        let version = if bytes == MYSQL { "9.7.4" } else { "10.11.19-MariaDB" };
        Log { bytes, server: Server::of_version(version, &[("binlog_row_metadata", "MINIMAL")]) }
    }

    fn events(&self) -> Vec<&'static [u8]> {
        let mut rest = &self.bytes[4..];
        let mut events = Vec::new();
        while !rest.is_empty() {
            let (event, after) = rest.split_at(EventHeader::read(rest).unwrap().length as usize);
            events.push(event);
            rest = after;
        }
        events
    }

    /// Follows the log from where `kept` stands, up to the `crash_after`-th event that is new.
    fn follow(&self, kept: &mut Kept, crash_after: usize) -> Result<()> {
        let options = options();
        let begin = Position {
            gtids: match self.server.flavor() {
                ServerFlavor::MySql => Gtids::MySql(Default::default()),
                ServerFlavor::MariaDb => Gtids::MariaDb(Default::default()),
            },
            server_uuid: None,
            server_id: 1,
            file: "binlog.000001".into(),
            offset: 4,
        };
        let position = kept.position.as_ref().map_or(begin, |bytes| Position::decode(bytes).unwrap());
        let prepared = drop_unfinished_sides(kept)?;
        let charsets = Arc::new(Charsets::default());
        let tables = Tables::new(&options, &self.server, charsets.clone(), kept)?;
        let settings = Settings { source: "shop".into(), bytes_max: BYTES_MAX, keeps_statements: false, charsets };
        let from = position.offset;
        let mut transactions = Transactions::new(settings, tables, position, prepared);
        let mut decoder = Decoder::new(self.server.flavor());
        let mut new = 0;
        for raw in self.events() {
            let (header, event) = decoder.event(raw).map_err(|error| transactions.next_undecodable(error))?;
            let is_format = matches!(event, Event::FormatDescription(_));
            if u64::from(header.end_position) <= from && !is_format {
                continue;
            }
            let header = match is_format {
                true => EventHeader { end_position: 0, flags: header.flags | FLAG_ARTIFICIAL, ..header },
                false => header,
            };
            if let Err(error) = transactions.event(&header, event, kept) {
                transactions.discard(kept)?;
                return Err(error);
            }
            new += usize::from(!is_format);
            if new > crash_after {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn options() -> Options {
    let settings = serde_json::json!({ "url": "mysql://u@h", "tables": ["shop.*"], "exclude_tables": ["shop.hidden"] });
    Config::from_value(settings).unwrap().validate("shop").unwrap()
}

fn check(bytes: &'static [u8], expected: Expect) {
    let log = Log::new(bytes);
    let mut whole = Kept::default();
    log.follow(&mut whole, usize::MAX).unwrap();
    let shown: Vec<String> = whole.lines.iter().map(|line| abridged(line)).collect();
    expected.assert_eq(&(shown.join("\n") + "\n"));
    assert!(whole.sides.is_empty(), "{:?}", whole.sides());
    assert!(whole.spills > 2);

    for crash_after in 0..log.events().len() {
        let mut kept = Kept::default();
        log.follow(&mut kept, crash_after).unwrap();
        kept.crash();
        log.follow(&mut kept, usize::MAX).unwrap();
        assert_eq!(kept.lines, whole.lines, "after a crash behind event {crash_after}");
        assert_eq!(kept.state.keys().collect::<Vec<_>>(), whole.state.keys().collect::<Vec<_>>(), "{crash_after}");
        assert!(kept.sides.is_empty());
    }
}

#[test]
fn a_prepared_transaction_outlives_a_journal_that_refuses_its_commit() {
    for bytes in [MYSQL, MARIADB] {
        let log = Log::new(bytes);
        let (mut whole, mut kept) = (Kept::default(), Kept { refuses_side: true, ..Kept::default() });
        log.follow(&mut whole, usize::MAX).unwrap();
        log.follow(&mut kept, usize::MAX).expect_err("a refused commit");
        log.follow(&mut kept, usize::MAX).unwrap();
        assert_eq!(kept.lines, whole.lines);
    }
}

fn abridged(line: &str) -> String {
    let parts: Vec<&str> = line.split(", c ").collect();
    match parts.as_slice() {
        [first, .., last] if parts.len() > 6 => format!("{first}, … {} more …, c {last}", parts.len() - 2),
        _ => line.to_owned(),
    }
}

#[test]
fn a_mysql_log_becomes_transactions_whatever_crashes() {
    check(
        MYSQL,
        expect![[r#"
        5085: c t Int(1) Text("a"), c t Int(3) Text("c")
        5087: c t Int(4) Text("a"), c t Int(6) Text("a")
        5088: c c1 Int(1) Text("a"), c c1 Int(3) Text("c"), c c1 Int(4) Text("a"), c c1 Int(6) Text("a")
        5090: c c1 Int(100) Text("between")
        5093: c t Int(10) Text("committed")
        5094: c t Int(12) Text("one phase")
        5096: u t2 Int(7) Int(1) Text("a") → Int(7) Int(1) Text("new"), u t2 Int(7) Int(3) Text("c") → Int(7) Int(3) Text("new"), d t2 Int(7) Int(4) Text("a"), u t2 Int(7) Int(10) Text("committed") → Int(7) Int(50) Text("committed")
        5098: c t2 Int(1040) Int(1040) Text("many"), … 49 more …, c t2 Int(0) Int(2000) Text("end")
        5099: t c1
        5100: t c1
        5101: c t2 Int(1) Int(3000) Text("last")
    "#]],
    );
}

#[test]
fn a_mariadb_log_becomes_transactions_whatever_crashes() {
    check(
        MARIADB,
        expect![[r#"
        82: c t Int(1) Text("a"), c t Int(3) Text("c")
        84: c m Int(1) Text("x")
        85: c t Int(4) Text("a"), c t Int(6) Text("a")
        86: c m Int(2) Text("x")
        87: c c1 Int(1) Text("a"), c c1 Int(3) Text("c"), c c1 Int(4) Text("a"), c c1 Int(6) Text("a")
        89: c c1 Int(100) Text("between")
        92: c t Int(10) Text("committed")
        93: c t Int(12) Text("one phase")
        95: c m Int(9) Text("z")
        96: u t2 Int(7) Int(1) Text("a") → Int(7) Int(1) Text("new"), u t2 Int(7) Int(3) Text("c") → Int(7) Int(3) Text("new"), d t2 Int(7) Int(4) Text("a"), u t2 Int(7) Int(10) Text("committed") → Int(7) Int(50) Text("committed")
        98: c t2 Int(1000) Int(1000) Text("many"), … 49 more …, c t2 Int(0) Int(2000) Text("end")
        99: t c1
        100: t c1
        101: c t2 Int(1) Int(3000) Text("last")
    "#]],
    );
}

/// MySQL's begins with BEGIN, so that definitions, truncates (5099, 5100) and XA transactions have no edges; each GTID of
/// MariaDB begins one, and those of a single statement never end. Large and prepared ones are not told of.
#[test]
fn edges_are_what_the_log_tells() {
    let told = |bytes| {
        let mut kept = Kept { edges: Some(Vec::new()), ..Kept::default() };
        Log::new(bytes).follow(&mut kept, usize::MAX).unwrap();
        kept.edges.unwrap_or_default().join(" ")
    };
    expect!["5081 5082 5083 5084 5085be 5086be 5087be 5088be 5090be 5092 5094 5095 5096be 5097be 5099 5100 5101be"]
        .assert_eq(&told(MYSQL));
    expect!["78b 79b 80b 81b 82be 83be 84be 85be 86be 87be 89be 91b 93be 94b 95be 96be 97be 99b 100b 101be"]
        .assert_eq(&told(MARIADB));
}

/// An XA transaction (5093, 5094; 92, 93) names no session, and neither do rows of MariaDB; a TRUNCATE (the first `t c1`
/// above) has the row number of the rows before it, and the end of a table (the second one) a number of its own.
#[test]
fn sessions_and_row_numbers_are_what_the_log_tells() {
    let told = |bytes| {
        let mut kept = Kept::default();
        Log::new(bytes).follow(&mut kept, usize::MAX).unwrap();
        kept.sessions.join(", ")
    };
    expect!["5085: 12 0, 5087: 12 0, 5088: 12 3, 5090: 13 0, 5093: 0 0, 5094: 0 0, 5096: 13 0, 5098: 13 0, 5099: 13 0, 5100: 13 4294967295, 5101: 13 0"].assert_eq(&told(MYSQL));
    expect!["82: 0 0, 84: 0 0, 85: 0 0, 86: 0 0, 87: 0 3, 89: 0 0, 92: 0 0, 93: 0 0, 95: 0 0, 96: 0 0, 98: 0 0, 99: 39 0, 100: 39 4294967295, 101: 0 0"].assert_eq(&told(MARIADB));
}

fn header(kind: u8) -> EventHeader {
    let kind = super::super::decode::EventKind(kind);
    EventHeader { timestamp: 1, kind, server_id: 1, length: 50, end_position: 150, flags: 0 }
}

fn query<'a>(database: &'a str, sql: &'a str) -> Query<'a> {
    let session = Default::default();
    Query { thread: 1, seconds: 0, error_code: 0, database, sql: sql.as_bytes().into(), session }
}

fn beginning() -> Transactions {
    let server = Server::of_version("9.7.4", &[]);
    let charsets = Arc::new(Charsets::default());
    let tables = Tables::new(&options(), &server, charsets.clone(), &Kept::default()).unwrap();
    let settings = Settings { source: "shop".into(), bytes_max: BYTES_MAX, keeps_statements: false, charsets };
    let file = "binlog.000007".to_owned();
    let position = Position { gtids: Gtids::None, server_uuid: None, server_id: 1, file, offset: 4 };
    Transactions::new(settings, tables, position, Prepared::new())
}

#[test]
fn what_cannot_be_followed_stops_by_name() {
    let update = query("shop", "UPDATE t SET a = 'secret'");
    let elsewhere = query("other", "INSERT INTO shop.t SELECT 'secret'");
    let function = query("shop", "SELECT `shop`.`f`('secret')");
    let unknown_ddl = query("shop", "CREATE TABLE t (a FROBNICATE)");
    let savepoint = query("shop", "ROLLBACK TO `nowhere`");
    let incident = Event::Incident { number: 1, message: "LOST_EVENTS".into() };
    for (event, expected) in [
        (Event::Query(update), "an UPDATE in statement format may have changed table shop.t"),
        (Event::Query(elsewhere), "an INSERT in statement format may have changed table shop.t"),
        (Event::Query(function), "a SELECT in statement format may have changed captured tables"),
        (Event::Query(unknown_ddl), "is not understood"),
        (Event::Query(savepoint), "ROLLBACK TO nowhere"),
        (Event::LoadData, "LOAD DATA in statement format"),
        (incident, "lost changes"),
        (Event::Xid(7), "a commit stands outside a transaction"),
    ] {
        let shown = format!("{event:?}");
        let error = beginning().event(&header(2), event, &mut Kept::default()).expect_err(&shown);
        let text = error.to_string();
        assert_eq!(*error.kind(), headwater_model::Kind::Stop, "{shown}");
        assert!(text.contains(expected) && text.contains("binlog.000007:100"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}

#[test]
fn what_concerns_other_tables_moves_the_position_alone() {
    for query in [
        query("shop", "INSERT INTO other.t VALUES (1)"),
        query("other", "UPDATE t SET a = 1"),
        query("shop", "GRANT SELECT ON *.* TO x"),
        query("", "CREATE DATABASE other"),
        query("other", "DROP TABLE IF EXISTS `t` /* generated by server */"),
    ] {
        let mut transactions = beginning();
        let mut kept = Kept::default();
        transactions.event(&header(2), Event::Query(query.clone()), &mut kept).unwrap();
        assert!(transactions.is_between() && kept.lines.is_empty(), "{query:?}");
        assert_eq!(transactions.position().offset, 150, "{query:?}");
        transactions.save_position(&mut kept).unwrap();
        assert_eq!(Position::decode(kept.position.as_ref().unwrap()).as_ref(), Ok(transactions.position()));
    }
}

#[test]
fn positions_go_on_beyond_four_gigabytes() {
    for (last, low, next) in [(4, 120, 120), (0xffff_fff0, 0x10, 0x1_0000_0010), (0x1_0000_0010, 0x20, 0x1_0000_0020)] {
        assert_eq!(unwrapped(last, low), next, "{last} {low}");
    }
}
