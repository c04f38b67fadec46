//! XA: the changes of a transaction appear at its XA COMMIT, in the order of the commits, and never after XA ROLLBACK,
//! however far prepare and outcome lie apart.
//!
//! Invariant: each step says which rows must be there after it; nothing else is ever there. Start at [`xa_changes_appear_at_their_commit_and_never_after_a_rollback`].

use crate::records::{Capture, on_every_server};
use crate::world::LIMIT;
use headwater_testkit::{Flavor, wait_until};

const TABLES: &str = "create database xa; create table xa.t (id int primary key, v varchar(20), big mediumtext);
    create table xa.u (id int primary key); create database other; create table other.x (id int primary key);";

/// A capture of database `xa`, and the ids that its table must show.
struct Steps {
    capture: Capture,
    shown: Vec<u32>,
}

impl Steps {
    fn new(flavor: Flavor, source: &str) -> Steps {
        let durable = ["--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1"];
        let capture = Capture::of(flavor, &durable, "\"xa.*\"", source);
        capture.database.exec(TABLES);
        Steps { capture, shown: Vec::new() }
    }

    /// Runs `statements` on a connection of their own, which is closed then, inside XA transaction `id`, and prepares it.
    fn prepare(&self, id: &str, statements: &str) {
        let mut session = self.capture.database.session().unwrap();
        session.exec(&format!("xa start {id}; {statements}; xa end {id}; xa prepare {id}")).unwrap();
        drop(session);
    }

    /// Ends a prepared transaction from another connection, as soon as the server lets go of the first one.
    fn end(&self, how: &str, id: &str) {
        let mut last = String::new();
        let done = wait_until(LIMIT, "the XA transaction to end", || {
            let result = self.capture.database.try_exec(&format!("xa {how} {id}"));
            last = result.as_ref().err().map(ToString::to_string).unwrap_or_default();
            result.is_ok()
        });
        done.unwrap_or_else(|error| panic!("{error}: xa {how} {id}: {last}"));
    }

    fn exec(&self, sql: &str) {
        self.capture.database.exec(&format!("use xa; {sql}"));
    }

    /// From now on these ids are shown too, in this order.
    #[track_caller]
    fn shows(&mut self, ids: &[u32]) {
        self.shown.extend(ids);
        self.capture.catch_up();
        let records = self.capture.records("xa.t");
        let got: Vec<u32> = records.iter().map(|record| record.after("id").unwrap().parse().unwrap()).collect();
        assert_eq!(got, self.shown, "{:?}", self.capture.database.flavor());
    }
}

#[test]
fn xa_changes_appear_at_their_commit_and_never_after_a_rollback() {
    on_every_server(|flavor| {
        let mut steps = Steps::new(flavor, ", transaction_bytes_max: 65536");
        steps.capture.headwater.start().unwrap();
        steps.exec("insert into t (id) values (1)");
        steps.prepare("'a'", "insert into xa.t (id) values (2), (3); insert into xa.u values (1)");
        steps.exec("insert into t (id) values (4)");
        steps.shows(&[1, 4]);
        assert!(steps.capture.records("xa.u").is_empty());
        steps.end("commit", "'a'");
        steps.shows(&[2, 3]);
        assert_eq!(steps.capture.records("xa.u").len(), 1);

        // Rolled back: nothing, whatever comes next under the same name.
        steps.prepare("'a'", "insert into xa.t (id) values (10)");
        steps.end("rollback", "'a'");
        steps.prepare("'a'", "insert into xa.t (id) values (11)");
        steps.end("commit", "'a'");
        steps.shows(&[11]);

        // In one phase, rolled back before it is prepared, and without any captured row.
        steps.exec("xa start 'one'; insert into t (id) values (12); xa end 'one'; xa commit 'one' one phase");
        steps.exec("xa start 'none'; insert into t (id) values (13); xa end 'none'; xa rollback 'none'");
        steps.prepare("'elsewhere'", "insert into other.x values (1)");
        steps.exec("insert into t (id) values (14)");
        steps.end("commit", "'elsewhere'");
        steps.prepare("'empty'", "select 1");
        // Nothing was prepared where nothing was changed; a server may still know its name.
        let _ = steps.capture.database.try_exec("xa commit 'empty'");
        steps.shows(&[12, 14]);

        // Interleaved, ended in another order, with names that share their beginning and hold any byte.
        for (id, row) in [("'g','b1',1", 20), ("'g','b2',1", 21), ("'g2','b1',2", 22), ("x'00ff27',x'5c',7", 23)] {
            steps.prepare(id, &format!("insert into xa.t (id) values ({row})"));
        }
        steps.exec("insert into t (id) values (24)");
        steps.end("commit", "'g2','b1',2");
        steps.end("rollback", "'g','b1',1");
        steps.end("commit", "x'00ff27',x'5c',7");
        steps.end("commit", "'g','b2',1");
        steps.shows(&[24, 22, 23, 21]);

        // Larger than memory may hold.
        let large = "insert into xa.t (id, big) values (30, repeat('x', 100000)), (31, repeat('y', 100000)); update xa.t set v = 'z' where id = 30";
        steps.prepare("'large'", large);
        steps.exec("insert into t (id) values (32)");
        steps.shows(&[32]);
        steps.end("commit", "'large'");
        steps.shows(&[30, 31, 30]);
        steps.prepare(
            "'large'",
            "insert into xa.t (id, big) values (33, repeat('x', 100000)), (34, repeat('y', 100000))",
        );
        steps.end("rollback", "'large'");
        steps.shows(&[]);
    });
}

#[test]
fn a_prepared_transaction_waits_over_restarts_of_both_sides() {
    on_every_server(|flavor| {
        let mut steps = Steps::new(flavor, "");
        // Prepared before the first start.
        steps.prepare("'before'", "insert into xa.t (id) values (1)");
        steps.prepare("'never'", "insert into xa.t (id) values (2)");
        steps.exec("insert into t (id) values (3); flush logs");
        steps.capture.headwater.start().unwrap();
        steps.shows(&[3]);
        steps.end("commit", "'before'");
        steps.shows(&[1]);
        // Over an orderly stop, a kill, and a restart of the server.
        steps.prepare("'stop'", "insert into xa.t (id) values (4)");
        steps.capture.catch_up();
        steps.capture.headwater.terminate(LIMIT).unwrap();
        steps.prepare("'away'", "insert into xa.t (id) values (5)");
        steps.capture.headwater.start().unwrap();
        steps.end("commit", "'stop'");
        steps.shows(&[4]);
        steps.capture.headwater.kill9();
        steps.end("rollback", "'never'");
        steps.prepare("'crash'", "insert into xa.t (id) values (6)");
        steps.capture.headwater.start().unwrap();
        steps.end("commit", "'away'");
        steps.shows(&[5]);
        steps.capture.database.kill9();
        steps.capture.database.restart().unwrap();
        steps.exec("insert into t (id) values (7)");
        steps.shows(&[7]);
        steps.capture.headwater.kill9();
        steps.end("commit", "'crash'");
        steps.capture.headwater.start().unwrap();
        steps.shows(&[6]);
    });
}
