//! A private PostgreSQL server. Its port, data folder and options stay the same over kills and restarts, so that what follows
//! it sees the same server again. Start at [`Postgres::start`].

mod client;
mod programs;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub use client::PostgresSession;
pub(crate) use programs::PostgresPrograms;
pub use programs::PostgresRelease;

use crate::error::Attempt;
use crate::process::{Process, run_as_server, run_as_server_with};
use crate::{PASSWORD, Port, Result, Row, TestFolder, USER, free_port, report, template, wait_until};
use client::Psql;

/// A start includes the recovery after a kill in the middle of a large transaction.
const READY_LIMIT: Duration = Duration::from_secs(120);
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// The database that every server has.
const DATABASE: &str = "postgres";
/// Options that are `initdb`'s.
const INIT_OPTIONS: [&str; 4] = ["--encoding=", "--locale=", "--wal-segsize=", "--data-checksums"];

/// A server on 127.0.0.1 with a data folder of its own; killed and removed when dropped.
///
/// It logs logically, with room for twenty slots and prepared transactions, in UTC. Everyone may log in without a password
/// until [`access`](Self::access) says otherwise; the user `cdc` has one. Commits reach the operating system but wait for no
/// disk: they survive [`kill9`](Self::kill9), which is all that a test can do to them, and cost nothing.
#[derive(Debug)]
pub struct Postgres {
    programs: PostgresPrograms,
    port: Port,
    options: Vec<String>,
    client: Psql,
    // Dropped before the folder: a server must not write into a folder that is being removed.
    process: Option<Process>,
    folder: TestFolder,
}

impl Postgres {
    /// Starts a server; `options` are settings such as `wal_level=minimal`, which win over the testkit's, or options of
    /// `initdb` such as `--encoding=LATIN1`.
    ///
    /// An error names the command that installs the server, or carries the end of its log.
    pub fn start(release: PostgresRelease, options: &[&str]) -> Result<Self> {
        let programs = PostgresPrograms::find(release)?;
        report::tested_on(&format!("PostgreSQL {}", programs.version));
        let of_init = |option: &&&str| INIT_OPTIONS.iter().any(|init| option.starts_with(init));
        let init: Vec<String> = options.iter().filter(of_init).map(|&option| option.to_owned()).collect();
        let options = options.iter().filter(|option| !of_init(option)).map(|&option| option.to_owned()).collect();
        let folder = TestFolder::for_server("postgres")?;
        let key = (&programs.version, programs.tool("postgres")?, &init);
        template::copy_to(&folder.path().join("data"), "postgres", &key, |_, data| initialise(&programs, &init, data))?;
        let port = free_port()?;
        let client = Psql::new(&programs, folder.path(), port.number())?;
        let mut server = Self { programs, port, options, client, process: None, folder };
        server.restart()?;
        Ok(server)
    }

    /// Which server it is.
    pub fn release(&self) -> PostgresRelease {
        self.programs.release
    }

    /// Its version, such as `15.18 (Debian 15.18-0+deb12u1)`.
    pub fn version(&self) -> &str {
        &self.programs.version
    }

    /// Its TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// `postgres://cdc:cdc@127.0.0.1:PORT/DATABASE`.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// The folder of its socket.
    pub fn socket_dir(&self) -> &Path {
        self.folder.path()
    }

    /// Its process, `None` while it is down.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Its data folder.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        crate::process::tail(&self.log())
    }

    /// A program of its installation, such as `pg_recvlogical`.
    pub fn tool(&self, name: &str) -> Result<PathBuf> {
        self.programs.tool(name)
    }

    /// Runs statements in `database` as the superuser, which may be many and large, each in a transaction of its own.
    ///
    /// # Panics
    /// With the statement and the server's message when one fails; the statements after it have not run.
    #[track_caller]
    pub fn exec(&self, database: &str, sql: &str) {
        if let Err(error) = self.try_exec(database, sql) {
            panic!("{error}");
        }
    }

    /// As [`exec`](Self::exec), for statements that may fail.
    pub fn try_exec(&self, database: &str, sql: &str) -> Result {
        self.client.run(database, sql).map(|_| ())
    }

    /// The rows of all results of `sql`, one after another, each value as the server prints it.
    ///
    /// # Panics
    /// As [`exec`](Self::exec).
    #[track_caller]
    pub fn query(&self, database: &str, sql: &str) -> Vec<Row> {
        match self.try_query(database, sql) {
            Ok(rows) => rows,
            Err(error) => panic!("{error}"),
        }
    }

    /// As [`query`](Self::query), for statements that may fail.
    pub fn try_query(&self, database: &str, sql: &str) -> Result<Vec<Row>> {
        self.client.run(database, sql)
    }

    /// The only value that `sql` returns; NULL and no row at all are the empty string.
    ///
    /// # Panics
    /// As [`exec`](Self::exec).
    #[track_caller]
    pub fn value(&self, database: &str, sql: &str) -> String {
        self.query(database, sql).into_iter().flatten().next().flatten().unwrap_or_default()
    }

    /// A connection that stays open.
    pub fn session(&self, database: &str) -> Result<PostgresSession> {
        PostgresSession::open(&self.client, database)
    }

    /// Replaces who may log in and how: lines of `pg_hba.conf`. The superuser may always, over the socket.
    pub fn access(&self, lines: &str) -> Result {
        let path = self.data_dir().join("pg_hba.conf");
        let text = format!("local all postgres trust\n{lines}\n");
        fs::write(&path, text).attempt(|| format!("write {}", path.display()))?;
        self.try_query(DATABASE, "SELECT pg_reload_conf()").map(|_| ())
    }

    /// Kills it as a crash would, with all of its processes. Restart it with [`restart`](Self::restart).
    pub fn kill9(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        // It must not start another child while they are looked for.
        process.signal(libc::SIGSTOP);
        let children = children(process.pid());
        process.kill9();
        for &child in &children {
            // SAFETY: kill has no preconditions. The parent was stopped when it was asked for its children, so a child that
            // has ended since is its zombie or was just reaped by init; the id cannot have come round meanwhile.
            unsafe { libc::kill(child, libc::SIGKILL) };
        }
        // A server that starts refuses while a process of the old one is attached to its shared memory.
        let _ =
            wait_until(STOP_LIMIT, "the end of PostgreSQL's processes", || !children.iter().any(|child| runs(*child)));
    }

    /// Shuts it down in order; open connections are ended.
    pub fn stop(&mut self) -> Result {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        process.signal(libc::SIGINT);
        process.wait(STOP_LIMIT).map(|_| ())
    }

    /// Starts it again on the same port and data; shuts it down first if it runs.
    pub fn restart(&mut self) -> Result {
        self.stop()?;
        let log = self.log();
        let mut process = Process::server(&self.release().to_string(), self.command()?, &log)?;
        let socket = self.folder.path().join(format!(".s.PGSQL.{}", self.port));
        process.wait_ready(READY_LIMIT, || greets(&socket))?;
        self.process = Some(process);
        Ok(())
    }

    /// As [`restart`](Self::restart), with other settings instead of those it was started with.
    pub fn restart_with(&mut self, options: &[&str]) -> Result {
        self.options = options.iter().map(|&option| option.to_owned()).collect();
        self.restart()
    }

    /// Stops all of its processes from running, connections stay open: a server that hangs.
    pub fn pause(&mut self) {
        self.signal_all(libc::SIGSTOP);
    }

    /// Lets it run again.
    pub fn resume(&mut self) {
        self.signal_all(libc::SIGCONT);
    }

    fn signal_all(&mut self, signal: i32) {
        let Some(process) = &mut self.process else { return };
        process.signal(signal);
        for child in children(process.pid()) {
            // SAFETY: kill has no preconditions; the parent reaps its children, and is stopped or about to run again.
            unsafe { libc::kill(child, signal) };
        }
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn command(&self) -> Result<Command> {
        let mut command = Command::new(self.tool("postgres")?);
        command.arg("-D").arg(self.data_dir()).arg("-k").arg(self.folder.path()).args(["-p", &self.port.to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1",
            "wal_level=logical",
            "max_wal_senders=20",
            "max_replication_slots=20",
            "max_prepared_transactions=20",
            "fsync=off",
            "shared_buffers=32MB",
            "timezone=UTC",
            "log_timezone=UTC",
        ] {
            command.args(["-c", setting]);
        }
        for option in &self.options {
            command.args(["-c", option]);
        }
        Ok(command)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill9();
    }
}

fn initialise(programs: &PostgresPrograms, init: &[String], data: &Path) -> Result {
    let mut command = Command::new(programs.tool("initdb")?);
    command.arg("-D").arg(data).args(["-A", "trust", "-U", "postgres", "--no-sync"]);
    command.args(["--encoding=UTF8", "--locale=C.UTF-8"]).args(init);
    run_as_server(command)?;
    // Alone on the data folder, without a connection.
    let mut command = Command::new(programs.tool("postgres")?);
    command.arg("--single").arg("-D").arg(data).arg(DATABASE);
    run_as_server_with(command, &format!("CREATE ROLE {USER} SUPERUSER LOGIN REPLICATION PASSWORD '{PASSWORD}'\n"))
}

/// Whether a server answers on its socket and lets the superuser in: while it recovers it answers with an error.
fn greets(socket: &Path) -> bool {
    let Ok(mut stream) = UnixStream::connect(socket) else { return false };
    let body = b"\0\x03\0\0user\0postgres\0database\0postgres\0\0";
    let Ok(length) = u32::try_from(body.len() + 4) else { return false };
    let mut kind = [0];
    stream.set_read_timeout(Some(Duration::from_secs(1))).is_ok()
        && stream.write_all(&[&length.to_be_bytes(), body.as_slice()].concat()).is_ok()
        && stream.read_exact(&mut kind).is_ok()
        // `R`: it asks who we are, or has let us in.
        && kind == *b"R"
}

/// The processes that `pid` started; none where the system does not tell.
fn children(pid: u32) -> Vec<libc::pid_t> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let list = fs::read_to_string(path).unwrap_or_default();
    list.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

/// Whether the process is there and has not ended.
fn runs(pid: libc::pid_t) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|command| !command.is_empty())
}
