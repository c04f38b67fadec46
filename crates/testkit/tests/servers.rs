//! The testkit itself: every server starts, is killed, comes back, and goes away. If this fails, no other test means much.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use headwater_testkit::{
    Certificates, Database, Flavor, Headwater, Proxy, Redis, Reply, Result, TestFolder, Workload, flavors, say, seed,
    wait_until,
};

const SOON: Duration = Duration::from_secs(20);
const CHILD: &str = "HEADWATER_TESTKIT_CHILD";

fn is_gone(pid: u32) -> bool {
    // A process that has ended but is not collected yet still has its entry, without a command line.
    std::fs::read(format!("/proc/{pid}/cmdline")).map_or(true, |command| command.is_empty())
}

#[test]
fn a_database_keeps_what_it_committed_over_a_kill() -> Result {
    for flavor in flavors() {
        // The first start on a machine also makes the template of the data folder.
        drop(Database::start(flavor, &[])?);
        let started = Instant::now();
        let mut db = Database::start(flavor, &["--max-connections=77"])?;
        say(&format!("{flavor} started in {:?}", started.elapsed()));
        db.exec(
            "CREATE DATABASE shop; CREATE TABLE shop.items (id INT PRIMARY KEY, name TEXT, note TEXT) CHARSET utf8mb4",
        );
        db.exec("INSERT INTO shop.items VALUES (1, 'a\tb\nc', NULL), (2, 'NULL', ''), (3, '<é&\"😀>', '\\\\');");
        let (port, pid) = (db.port(), db.pid().unwrap());
        db.kill9();
        assert!(is_gone(pid), "{flavor}");
        assert!(db.try_exec("SELECT 1").is_err());
        db.restart()?;
        assert_eq!(db.port(), port);
        let text = |text: &str| Some(text.to_owned());
        let expected = [
            vec![text("1"), text("a\tb\nc"), None],
            vec![text("2"), text("NULL"), text("")],
            vec![text("3"), text("<é&\"😀>"), text("\\")],
        ];
        assert_eq!(db.query("SELECT * FROM shop.items ORDER BY id"), expected, "{flavor}");
        assert_eq!(db.value("SELECT @@max_connections"), "77");
        assert_eq!(
            db.value("SELECT CONCAT_WS(' ', @@binlog_format, @@binlog_row_image, @@binlog_row_metadata)"),
            "ROW FULL FULL"
        );
        db.restart_with(&["--max-connections=78"])?;
        assert_eq!(db.value("SELECT @@max_connections"), "78");
        assert!(db.data_dir().join("binlog.000001").exists());
        let error = db.try_exec("SELECT 1; SELECT * FROM nowhere.nothing").unwrap_err().to_string();
        assert!(error.contains("nowhere"), "{error}");
        db.stop()?;
        assert_eq!(db.pid(), None);
    }
    Ok(())
}

#[test]
fn a_session_holds_its_transaction_open_and_sees_errors() -> Result {
    for flavor in flavors() {
        let mut db = Database::start(flavor, &[])?;
        db.exec("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY)");
        let (mut first, mut second) = (db.session()?, db.session()?);
        first.exec("USE d; BEGIN; INSERT INTO t VALUES (1)")?;
        assert_eq!(second.exec("SELECT COUNT(*) FROM d.t")?, [[Some("0".to_owned())]]);
        second.send("INSERT INTO d.t VALUES (1)")?; // waits for the first one's lock
        wait_until(SOON, "the second session to wait", || {
            db.value("SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'") == "1"
        })?;
        first.exec("COMMIT")?;
        let error = second.finish().unwrap_err().to_string();
        assert!(error.contains("ERROR 1062"), "{flavor}: {error}");
        assert_eq!(second.exec("SELECT 'a\nb', id, NULL FROM d.t;")?, [[Some("a\nb".into()), Some("1".into()), None]]);
        db.kill9();
        assert!(second.exec("SELECT 1").is_err());
    }
    Ok(())
}

#[test]
fn a_load_goes_on_after_the_server_was_killed() -> Result {
    let seed = seed("a_load_goes_on_after_the_server_was_killed");
    for flavor in flavors() {
        let mut db = Database::start(flavor, &[])?;
        let workload = Workload::new("shop", 1, seed).with_ddl(20);
        db.exec(&workload.setup());
        let load = db.load(workload, 0);
        wait_until(SOON, "200 transactions", || load.done() >= 200)?;
        db.kill9();
        db.restart()?;
        let before = load.done();
        wait_until(SOON, "200 transactions more", || load.done() >= before + 200)?;
        load.stop().unwrap();
        let rows = db.query("SELECT COUNT(*), MAX(number) FROM shop.ledger; SELECT COUNT(*) FROM shop.orders");
        say(&format!("{flavor}: ledger rows and last number, orders: {rows:?}"));
        let ledger: u64 = rows[0][0].as_ref().unwrap().parse().unwrap();
        assert!(ledger > 300, "most transactions commit: {rows:?}");
    }
    Ok(())
}

#[test]
fn a_replica_follows_by_gtid_and_is_promoted() -> Result {
    for flavor in flavors() {
        let (primary, replica) = (Database::start(flavor, &[])?, Database::start(flavor, &[])?);
        replica.replicate_from(&primary)?;
        primary.exec("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY); INSERT INTO d.t VALUES (7)");
        replica.wait_for_gtids(&primary.gtids())?;
        assert_eq!(replica.value("SELECT id FROM d.t"), "7");
        replica.promote()?;
        assert_eq!(replica.gtids(), primary.gtids());
        replica.exec("INSERT INTO d.t VALUES (8)");
        assert_ne!(replica.gtids(), primary.gtids());
    }
    Ok(())
}

#[test]
fn redis_keeps_acknowledged_writes_and_goes_back_when_told() -> Result {
    let mut redis = Redis::start(&[])?;
    redis.call(&["SET", "a", "1"]);
    redis.call(&["SADD", "s", "y", "x"]);
    redis.copy_data_file("early")?;
    redis.call(&["INCR", "a"]);
    redis.kill9();
    redis.restart()?;
    assert_eq!(redis.call(&["GET", "a"]).int(), 2);
    redis.restore_data_file("early")?;
    assert_eq!(redis.call(&["GET", "a"]).int(), 1);
    redis.call(&["HSET", "h", "f", "v"]);
    redis.kill9();
    redis.restart()?;
    let contents = redis.contents(0)?;
    assert_eq!(contents.keys().collect::<Vec<_>>(), ["a", "h", "s"], "the log goes on after a restore");
    assert_eq!(contents["s"].texts(), ["x", "y"]);
    assert_eq!(contents["a"], Reply::Bytes(b"1".to_vec()));
    assert!(redis.try_call(&["INCR", "s"]).unwrap_err().to_string().contains("WRONGTYPE"));
    assert_eq!(redis.call(&["GET", "nothing"]), Reply::Nil);
    let pid = redis.pid().unwrap();
    drop(redis);
    assert!(is_gone(pid));
    Ok(())
}

#[test]
fn redis_takes_a_password_and_certificates() -> Result {
    let certificates = Certificates::create()?;
    let port = headwater_testkit::free_port()?;
    let mut options = certificates.redis_options(port.number());
    options.extend(["--requirepass".to_owned(), "secret".to_owned()]);
    let redis = Redis::start(&options.iter().map(String::as_str).collect::<Vec<_>>())?;
    assert_eq!(redis.call(&["PING"]).text().as_deref(), Some("PONG"));
    assert!(TcpStream::connect(("127.0.0.1", port.number())).is_ok());
    Ok(())
}

#[test]
fn a_database_offers_tls_with_our_certificates() -> Result {
    let certificates = Certificates::create()?;
    let options = certificates.database_options();
    for flavor in flavors() {
        let db = Database::start(flavor, &options.iter().map(String::as_str).collect::<Vec<_>>())?;
        let path = db.value("SELECT @@ssl_cert");
        assert_eq!(Path::new(&path), certificates.certificate(), "{flavor}");
    }
    Ok(())
}

#[test]
fn servers_die_with_the_test_process() -> Result {
    if std::env::var_os(CHILD).is_some() {
        return hold_a_server();
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "servers_die_with_the_test_process", "--nocapture"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.map_while(|line| line.ok()).find(|line| line.contains("pid=")).unwrap();
    let pid: u32 = line.split("pid=").nth(1).unwrap().parse().unwrap();
    assert!(!is_gone(pid));
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until(SOON, "the end of the killed process' server", || is_gone(pid))
}

/// What the child of the test above does: starts a server on a thread that ends, and waits to be killed.
fn hold_a_server() -> Result {
    let redis = std::thread::spawn(|| Redis::start(&[])).join().unwrap()?;
    println!("pid={}", redis.pid().unwrap());
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    Ok(())
}

#[test]
fn a_proxy_forwards_pauses_cuts_and_refuses() -> Result {
    let mut redis = Redis::start(&[])?;
    let proxy = Proxy::start(redis.port())?;
    let connect = || TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    let ping = |mut stream: &TcpStream, limit: u64| {
        stream.set_read_timeout(Some(Duration::from_millis(limit))).unwrap();
        let mut answer = [0; 7];
        stream.write_all(b"PING\r\n").is_ok() && stream.read_exact(&mut answer).is_ok() && &answer == b"+PONG\r\n"
    };
    let stream = connect();
    assert!(ping(&stream, 20_000));
    proxy.pause();
    assert!(!ping(&stream, 50), "paused: no byte passes");
    proxy.forward();
    assert!((&stream).read_exact(&mut [0; 7]).is_ok(), "what was held up arrives");
    proxy.cut();
    assert!(!ping(&stream, 20_000), "cut: the connection is closed");
    assert!(ping(&connect(), 20_000));
    proxy.refuse();
    assert!(!ping(&connect(), 20_000));
    let other = Redis::start(&[])?;
    other.call(&["SET", "which", "other"]);
    proxy.redirect(other.port());
    proxy.forward();
    redis.stop()?;
    assert!(ping(&connect(), 20_000), "the other server answers");
    Ok(())
}

#[test]
fn a_missing_server_is_named_with_the_command_that_installs_it() {
    if std::env::var_os(CHILD).is_some() {
        let error = Database::start(Flavor::MySql, &[]).unwrap_err().to_string();
        assert!(error.contains("MySQL") && error.contains("scripts/setup test"), "{error}");
        return;
    }
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_missing_server_is_named_with_the_command_that_installs_it"])
        .env(CHILD, "1")
        .env("HEADWATER_SERVERS_HOME", "/nonexistent")
        .env("PATH", "/nonexistent")
        .status()
        .unwrap();
    assert!(status.success());
}

/// Stands for the binary: says what it was given, ends in order on SIGTERM, answers any other command.
const STAND_IN: &str = r#"#!/bin/sh
echo "got $* and $SECRET_NAME"
[ "$1" = run ] || { echo "no such command" >&2; exit 2; }
trap 'echo ended; exit 0' TERM
while :; do sleep 0.01; done
"#;

#[test]
fn the_binary_is_started_killed_and_ended() -> Result {
    let folder = TestFolder::new("stand-in")?;
    let binary = folder.path().join("stand-in");
    std::fs::write(&binary, STAND_IN).unwrap();
    std::fs::set_permissions(&binary, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut headwater = Headwater::new(&binary, "sources: {}\n")?;
    headwater.env("SECRET_NAME", "x1");
    let config = std::fs::read_to_string(headwater.config_file()).unwrap();
    assert!(config.starts_with("data_dir: /") && config.ends_with(" }\nsources: {}\n"), "{config}");

    let port = headwater.http_port();
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    std::thread::spawn(move || {
        for (answers, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let status = if answers < 3 { "503 Not yet" } else { "200 OK" };
            // Closing with bytes unread would reset the connection.
            BufReader::new(&stream).lines().take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty())).count();
            stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nhi").as_bytes()).unwrap();
        }
    });
    headwater.start()?;
    assert_eq!(headwater.get("/status")?, (200, "hi".to_owned()));
    let expected = format!("got run -c {} and x1", headwater.config_file().display());
    wait_until(SOON, "its first line", || headwater.log().contains(&expected))?;
    assert!(headwater.memory_peak_kb().unwrap() > 0);
    let pid = headwater.pid().unwrap();
    headwater.kill9();
    assert!(is_gone(pid) && !headwater.is_running());
    headwater.launch()?;
    wait_until(SOON, "the second start", || headwater.log().matches(&expected).count() == 2)?;
    assert!(headwater.terminate(SOON)?.success());
    assert!(headwater.log().ends_with("ended\n"));

    let output = headwater.run(&["status", "--all"])?;
    assert_eq!((output.status, output.stderr.as_str()), (Some(2), "no such command\n"));
    assert!(headwater.run_ok(&["status"]).unwrap_err().to_string().contains("no such command"));
    Ok(())
}
