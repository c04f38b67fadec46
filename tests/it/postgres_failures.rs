//! What PostgreSQL lacks, loses or forbids: each is named by the source and by `check`, with the statement that mends it, and
//! once that was run Headwater goes on and the cache is equal to the table.
//!
//! Invariant: no password is ever shown. Start at [`Case`].

use crate::failures::{STOP_LIMIT, journal_is_good, says};
use crate::world::{BINARY, LIMIT};
use headwater_testkit::{Headwater, Postgres, PostgresRelease, Redis, postgres_releases, wait_until};
use std::collections::BTreeMap;

const DATABASE: &str = "postgres";
const SECRET: &str = "s3cr3t-w0rd";

/// Something that is not as it must be.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    /// What makes it so, as the superuser.
    breaks: &'static str,
    /// How the publication comes about.
    publication: &'static str,
    /// The state of the source, and what it says.
    state: &'static str,
    says: &'static [&'static str],
    /// What `check` says, and the statement by which it mends that.
    check: &'static str,
    mends: &'static str,
    /// What is run where that is no statement.
    instead: &'static str,
}

/// To be filled in.
const CASE: Case = Case {
    name: "",
    breaks: "",
    publication: "filtered",
    state: "waiting",
    says: &[],
    check: "",
    mends: "",
    instead: "",
};

/// What the role may do to begin with, and the tables.
const BEGINNING: &str = "
create schema shop; create table shop.item (id int primary key, code text not null, note text);
insert into shop.item values (1, 'a', 'x'), (2, 'b', 'y');
create role few login replication password 's3cr3t-w0rd';
grant usage on schema shop to few; alter table shop.item owner to few;
grant create on database postgres to few; grant connect on database postgres to public;";
const END: &str =
    "drop schema shop cascade; drop publication if exists headwater_shop; drop owned by few; drop role few;";

/// What is wrong before the first start.
const AT_THE_START: [Case; 13] = [
    Case {
        name: "a role without REPLICATION",
        breaks: "alter role few noreplication",
        says: &["few", "42501"],
        check: "42501",
        mends: r#"ALTER ROLE "few" REPLICATION;"#,
        ..CASE
    },
    Case {
        name: "a wrong password",
        breaks: "alter role few password 'other'",
        says: &["password authentication failed", "few"],
        check: "password authentication failed",
        mends: r#"ALTER ROLE "few" PASSWORD '…';"#,
        instead: "alter role few password 's3cr3t-w0rd'",
        ..CASE
    },
    Case {
        name: "a database that may not be entered",
        breaks: "revoke connect on database postgres from public; revoke create on database postgres from few",
        says: &["permission denied for database"],
        check: "permission denied for database",
        mends: r#"GRANT CONNECT ON DATABASE "postgres" TO "few";"#,
        publication: "disabled",
        ..CASE
    },
    Case {
        name: "a schema that may not be used",
        breaks: "alter table shop.item owner to postgres; grant select on shop.item to few; revoke usage on schema shop from few",
        publication: "disabled",
        says: &["permission denied for schema shop"],
        check: r#"may not read "shop"."item""#,
        mends: r#"GRANT USAGE ON SCHEMA "shop" TO "few"; GRANT SELECT ON "shop"."item" TO "few";"#,
        ..CASE
    },
    Case {
        name: "a table that may not be read",
        breaks: "alter table shop.item owner to postgres; revoke all on shop.item from few",
        publication: "disabled",
        says: &["permission denied for table item"],
        check: r#"may not read "shop"."item""#,
        mends: r#"GRANT SELECT ON "shop"."item" TO "few";"#,
        ..CASE
    },
    Case {
        name: "a table whose rows are hidden",
        breaks: "alter table shop.item owner to postgres; grant select on shop.item to few; alter table shop.item enable row level security",
        publication: "disabled",
        says: &["row-level security"],
        check: r#"row level security may hide rows of "shop"."item""#,
        mends: r#"ALTER ROLE "few" BYPASSRLS;"#,
        ..CASE
    },
    Case {
        name: "a publication that may not be created",
        breaks: "revoke create on database postgres from few",
        says: &["may not set up the publication headwater_shop", "CREATE PUBLICATION"],
        check: "the role may not create it",
        mends: r#"GRANT CREATE ON DATABASE "postgres" TO "few";"#,
        ..CASE
    },
    Case {
        name: "a publication of somebody else's table",
        breaks: "alter table shop.item owner to postgres; grant select on shop.item to few",
        says: &["may not set up the publication headwater_shop", "CREATE PUBLICATION"],
        check: r#"the role does not own "shop"."item""#,
        mends: r#"CREATE PUBLICATION "headwater_shop" FOR TABLE "shop"."item";"#,
        ..CASE
    },
    Case {
        name: "a publication for all tables",
        publication: "all_tables",
        says: &["may not set up the publication headwater_shop", "FOR ALL TABLES"],
        check: "only a superuser may create it for all tables",
        mends: r#"CREATE PUBLICATION "headwater_shop" FOR ALL TABLES;"#,
        ..CASE
    },
    Case {
        name: "a publication that must be there and is not",
        breaks: "drop publication headwater_shop",
        publication: "disabled",
        state: "failed",
        says: &["the publication headwater_shop does not exist", "CREATE PUBLICATION"],
        check: r#"the publication "headwater_shop" does not exist"#,
        mends: r#"CREATE PUBLICATION "headwater_shop" FOR ALL TABLES;"#,
        ..CASE
    },
    Case {
        name: "a slot of another plugin",
        breaks: "select pg_create_logical_replication_slot('headwater_shop', 'test_decoding')",
        state: "failed",
        says: &["the replication slot headwater_shop is not ours", "test_decoding"],
        check: "the replication slot headwater_shop is not ours",
        mends: "SELECT pg_drop_replication_slot('headwater_shop');",
        ..CASE
    },
    Case {
        name: "a slot that tells of transactions when they are prepared",
        breaks: "select pg_create_logical_replication_slot('headwater_shop', 'pgoutput', false, true)",
        state: "failed",
        says: &["the replication slot headwater_shop is not ours", "two_phase"],
        check: "the replication slot headwater_shop is not ours",
        mends: "SELECT pg_drop_replication_slot('headwater_shop');",
        ..CASE
    },
    Case {
        name: "no slot left",
        breaks: "select pg_create_physical_replication_slot('other' || n) from generate_series(1, 20) n",
        says: &["all replication slots are in use"],
        check: "all 20 replication slots are in use",
        mends: "ALTER SYSTEM SET max_replication_slots = 25;",
        instead: "select pg_drop_replication_slot('other' || n) from generate_series(1, 20) n",
        ..CASE
    },
];

/// A server, a cache, and Headwater that logs in as a role which may do little.
struct Small {
    redis: Redis,
    headwater: Headwater,
}

impl Small {
    /// Ends Headwater; the server has seen it, too.
    fn ends(&mut self, postgres: &Postgres) {
        self.headwater.terminate(STOP_LIMIT).unwrap();
        let is_left = || postgres.value(DATABASE, "select count(*) from pg_replication_slots where active") == "0";
        wait_until(LIMIT, "the slot to be left", is_left).unwrap();
    }

    fn new(postgres: &Postgres, options: &str) -> Small {
        let redis = Redis::start(&[]).unwrap();
        let headwater = Headwater::new(BINARY, &config(postgres, options, &redis)).unwrap();
        Small { redis, headwater }
    }

    fn configure(&self, postgres: &Postgres, options: &str) {
        self.headwater.configure(&config(postgres, options, &self.redis)).unwrap();
    }

    /// Waits until the cache holds the table.
    fn is_equal(&self, postgres: &Postgres, case: &str) {
        let mut contents = BTreeMap::new();
        let expected = table(postgres);
        let is_equal = || {
            let all = self.redis.contents(0).unwrap().into_iter().filter(|(key, _)| key.starts_with("item:"));
            contents = all.map(|(key, value)| (key, value.texts().join(" "))).collect();
            contents == expected
        };
        if let Err(error) = wait_until(LIMIT, "the cache to be equal", is_equal) {
            panic!("{case}: {error}: {contents:?} and not {expected:?}\n{}", self.headwater.log());
        }
    }
}

fn config(postgres: &Postgres, options: &str, redis: &Redis) -> String {
    let url = postgres.url(DATABASE).replace("cdc:cdc@", &format!("few:{SECRET}@"));
    format!(
        "sources:\n  shop:\n    postgres: {{ url: \"{url}\", tables: [\"shop.*\"], {options} }}\nsinks:\n  cache:\n    redis: {{ url: \
         \"{}\" }}\n    follow:\n      shop.item:\n        - {{ hash: \"item:{{id}}\", fields: [code] }}\n",
        redis.url()
    )
}

fn table(postgres: &Postgres) -> BTreeMap<String, String> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let rows = postgres.query(DATABASE, "select 'item:' || id, 'code ' || code from shop.item");
    rows.iter().map(|row| (text(&row[0]), text(&row[1]))).collect()
}

#[test]
fn what_is_wrong_before_the_first_start_is_named_with_what_mends_it() {
    for release in postgres_releases() {
        let postgres = Postgres::start(release, &[]).unwrap();
        postgres
            .access("host all few 127.0.0.1/32 scram-sha-256\nhost replication few 127.0.0.1/32 scram-sha-256")
            .unwrap();
        for case in AT_THE_START {
            named_and_mended(&postgres, release, case);
        }
    }
}

fn named_and_mended(postgres: &Postgres, release: PostgresRelease, case: Case) {
    let name = format!("{release}, {}", case.name);
    postgres.exec(DATABASE, BEGINNING);
    if case.publication == "disabled" {
        postgres.exec(DATABASE, "create publication headwater_shop for all tables");
    }
    postgres.exec(DATABASE, case.breaks);
    let mut small = Small::new(postgres, &format!("publication_create: {}", case.publication));
    small.headwater.launch().unwrap();
    says(&small.headwater, "shop", case.state, &[&["source shop"], case.says].concat());

    let mend = statement(&small.headwater, case.check, &name);
    assert!(mend.starts_with(case.mends), "{name}: {mend}");
    postgres.exec(DATABASE, if case.instead.is_empty() { &mend } else { case.instead });
    let check = small.headwater.run(&["check"]).unwrap();
    assert!(check.status == Some(0) && !check.stdout.contains("error: "), "{name}: {check:?}");
    assert!(!small.headwater.log().contains(SECRET) && !check.stdout.contains(SECRET), "{name}: the password is shown");

    small.headwater.kill9();
    small.headwater.start().unwrap();
    small.is_equal(postgres, &name);
    postgres.exec(DATABASE, "update shop.item set code = 'c' where id = 1; delete from shop.item where id = 2");
    small.is_equal(postgres, &name);
    journal_is_good(&small.headwater);
    small.ends(postgres);
    postgres.exec(DATABASE, "select pg_drop_replication_slot('headwater_shop')");
    postgres.exec(DATABASE, END);
}

/// The statement by which `check` mends what it says.
fn statement(headwater: &Headwater, says: &str, name: &str) -> String {
    let check = headwater.run(&["check"]).unwrap();
    let mut lines =
        check.stdout.lines().skip_while(|line| !(line.starts_with("error: source shop") && line.contains(says)));
    let mend = lines.nth(1).and_then(|line| line.trim().strip_prefix("mend it with: "));
    assert!(check.status == Some(1) && !check.stdout.contains(SECRET), "{name}: {check:?}");
    mend.unwrap_or_else(|| panic!("{name}: `{says}` and a statement are missing in {check:?}")).to_owned()
}

/// What is lost once there is a journal.
struct Loss {
    name: &'static str,
    /// What is done while Headwater is away, and what while it follows.
    away: &'static str,
    beside: &'static str,
    /// What the source says.
    says: &'static [&'static str],
    /// What is run before it begins anew.
    repair: &'static str,
}

const WRITES: &str = "insert into shop.item values (3, 'c', 'z'); update shop.item set code = 'bb' where id = 2;";

const LOSSES: [Loss; 5] = [
    Loss {
        name: "a slot that was dropped while nobody read it",
        away: "select pg_drop_replication_slot('headwater_shop'); delete from shop.item where id = 1",
        beside: "",
        says: &["the replication slot headwater_shop no longer leads on", "It was dropped", "snapshot: when_needed"],
        repair: "",
    },
    Loss {
        name: "a slot that was dropped under its reader",
        away: "",
        beside: "do $$ begin loop begin
            perform pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = 'headwater_shop';
            perform pg_drop_replication_slot('headwater_shop'); exit;
            exception when others then perform pg_sleep(0.002); end; end loop; end $$; delete from shop.item where id = 1",
        says: &["the replication slot headwater_shop no longer leads on", "It was dropped", "snapshot: when_needed"],
        repair: "",
    },
    Loss {
        name: "a slot that somebody else has advanced",
        away: "delete from shop.item where id = 1; select pg_replication_slot_advance('headwater_shop', pg_current_wal_lsn())",
        beside: "",
        says: &["the replication slot headwater_shop stands ahead of the journal", "would be missed", "snapshot: when_needed"],
        repair: "",
    },
    Loss {
        name: "a slot whose log was thrown away",
        away: "alter system set max_slot_wal_keep_size = '1MB'; select pg_reload_conf(); delete from shop.item where id = 1;
            select pg_logical_emit_message(true, 'a', 'b'); select pg_switch_wal(); select pg_logical_emit_message(true, 'a', 'b');
            select pg_switch_wal(); select pg_logical_emit_message(true, 'a', 'b'); select pg_switch_wal(); checkpoint",
        beside: "",
        says: &["the replication slot headwater_shop no longer leads on", "max_slot_wal_keep_size", "pg_drop_replication_slot"],
        repair: "alter system reset max_slot_wal_keep_size; select pg_reload_conf()",
    },
    Loss {
        name: "a publication that was dropped",
        away: "",
        beside: "drop publication headwater_shop; delete from shop.item where id = 1",
        says: &["the publication headwater_shop did not exist when what comes next in the log was written", "headwater snapshot"],
        repair: "",
    },
];

#[test]
fn what_is_lost_later_is_named_and_read_again_where_that_is_asked_for() {
    for release in postgres_releases() {
        let postgres = Postgres::start(release, &[]).unwrap();
        for loss in LOSSES {
            lost_and_read_again(&postgres, release, &loss);
        }
    }
}

fn lost_and_read_again(postgres: &Postgres, release: PostgresRelease, loss: &Loss) {
    let name = format!("{release}, {}", loss.name);
    postgres.exec(DATABASE, BEGINNING);
    let mut small = Small::new(postgres, "publication_create: filtered");
    small.headwater.start().unwrap();
    small.is_equal(postgres, &name);
    if loss.away.is_empty() {
        postgres.exec(DATABASE, loss.beside);
    } else {
        small.ends(postgres);
        postgres.exec(DATABASE, loss.away);
        small.headwater.launch().unwrap();
    }
    postgres.exec(DATABASE, WRITES);
    says(&small.headwater, "shop", "failed", loss.says);

    small.ends(postgres);
    postgres.exec(DATABASE, loss.repair);
    small.configure(postgres, "publication_create: filtered, snapshot: when_needed");
    small.headwater.start().unwrap();
    small.is_equal(postgres, &name);
    postgres.exec(DATABASE, "update shop.item set code = 'd' where id = 3; delete from shop.item where id = 2");
    small.is_equal(postgres, &name);
    journal_is_good(&small.headwater);
    small.ends(postgres);
    postgres.exec(DATABASE, "select pg_drop_replication_slot('headwater_shop')");
    postgres.exec(DATABASE, END);
}

#[test]
fn a_replica_identity_that_is_changed_so_that_rows_cannot_be_found_is_named() {
    for release in postgres_releases() {
        let postgres = Postgres::start(release, &[]).unwrap();
        postgres.exec(DATABASE, BEGINNING);
        let mut small = Small::new(&postgres, "publication_create: filtered");
        small.headwater.start().unwrap();
        let equal = |case: &str| small.is_equal(&postgres, &format!("{release}, {case}"));
        equal("the key");
        // Each takes effect with the next change.
        for identity in ["full", "default", "full"] {
            postgres.exec(
                DATABASE,
                &format!("alter table shop.item replica identity {identity}; update shop.item set id = id + 10 where id % 10 = 1;
                    insert into shop.item values (4, 'd', 'w'); delete from shop.item where id = 4"),
            );
            equal(identity);
        }
        postgres.exec(
            DATABASE,
            "create unique index by_code on shop.item (code); alter table shop.item replica identity using index by_code",
        );
        let check = small.headwater.run(&["check"]).unwrap();
        let mend = r#"mend it with: ALTER TABLE "shop"."item" REPLICA IDENTITY DEFAULT;"#;
        assert!(check.stdout.contains("replica identity is an index without the primary key"), "{check:?}");
        assert!(check.stdout.contains(mend), "{check:?}");
        postgres.exec(DATABASE, "update shop.item set id = 100 where id = 2; delete from shop.item where id = 100");
        let lacks = ["the log does not carry column id of a row of shop.item", "REPLICA IDENTITY FULL"];
        says(&small.headwater, "cache", "failed", &lacks);
        postgres.exec(DATABASE, mend.trim_start_matches("mend it with: "));
        let check = small.headwater.run(&["check"]).unwrap();
        assert!(!check.stdout.contains("an index without the primary key"), "{check:?}");
        journal_is_good(&small.headwater);
    }
}

/// What is wrong among the settings of a source, and what is said of it.
const SETTINGS: &[(&str, &[&str])] = &[
    ("postgres: { url: 'mysql://few:s3cr3t-w0rd@db/shop' }", &["sources.shop", "url"]),
    ("postgres: { url: 'postgres://few:s3cr3t-w0rd@db:99999/shop' }", &["sources.shop", "url"]),
    ("postgres: { url: 'postgres://few:s3cr3t-w0rd@db/shop', slots: a }", &["slots: unknown key", "slot_failover"]),
    ("postgres: { url: 'postgres://few:s3cr3t-w0rd@db/shop', slot: 'My-Slot' }", &["slot"]),
    ("postgres: { url: 'postgres://few:s3cr3t-w0rd@db/shop', snapshot: sometimes }", &["sometimes", "when_needed"]),
    ("postgres: { url: 'postgres://few:s3cr3t-w0rd@db/shop', publication_create: maybe }", &["maybe", "filtered"]),
    ("postgres: { url: 'postgres://few:s3cr3t-w0rd@db/shop', tables: 'shop.*' }", &["expected a sequence"]),
    ("postgres: { url: 'postgres://few:s3cr3t-w0rd@db/shop', tables: ['/shop(/'] }", &["tables"]),
    (
        "postgres: { url: 'postgres://few:s3cr3t-w0rd@db/shop', status_interval: 1ms }",
        &["status_interval", "between 100ms and 30s"],
    ),
    ("postgres: { url: 'postgres://few:s3cr3t-w0rd@db/shop', connect_timeout: soon }", &["connect_timeout"]),
    ("postgres: { url: 'postgres://few:s3cr3t-w0rd@db/shop', transaction_bytes_max: 5 }", &["transaction_bytes_max"]),
    (
        "postgres: { url: 'postgres://few:s3cr3t-w0rd@db/shop', replica_identities: [{ tables: 'shop.*', identity: half }] }",
        &["replica_identities", "default, full, nothing, or index"],
    ),
    ("postgres: { url: 'postgres://few:s3cr3t-w0rd@db/shop', tls: { mode: perhaps } }", &["perhaps"]),
    ("postgres: { url: 'postgres://few:s3cr3t-w0rd@db/shop', message_prefixes: ['/(/'] }", &["message_prefixes"]),
    ("postgres: { url: 'postgres://few:s3cr3t-w0rd@db/shop', heartbeat_query: { interval: 1s } }", &["statement"]),
];

#[test]
fn a_broken_setting_is_named_and_nothing_is_started() {
    let redis = Redis::start(&[]).unwrap();
    let mut missing = Vec::new();
    for (settings, texts) in SETTINGS {
        let sinks = format!(
            "sinks:\n  cache: {{ redis: {{ url: \"{}\" }}, follow: {{ shop.item: [{{ json: \"a:{{id}}\" }}] }} }}",
            redis.url()
        );
        let headwater = Headwater::new(BINARY, &format!("sources:\n  shop: {{ {settings} }}\n{sinks}\n")).unwrap();
        for command in ["run", "check"] {
            let output = headwater.run(&[command]).unwrap();
            let said = output.stderr + &output.stdout;
            if output.status != Some(1) || texts.iter().any(|text| !said.contains(text)) || said.contains(SECRET) {
                missing.push(format!(
                    "{command} with {settings}: {texts:?} is missing, or the password is shown, in: {said}"
                ));
            }
        }
        assert!(!headwater.data_dir().exists(), "something was written with {settings}");
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
