//! A private MySQL or MariaDB server. Its port, data folder and options stay the same over kills and restarts, so that what
//! follows it sees the same server again.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::client::{self, Client, Row, Session};
use crate::process::Process;
use crate::programs::Programs;
use crate::{Error, Flavor, Load, Port, Result, TestFolder, Workload, free_port, report, template};

/// The user that every test server has, from any host, with all privileges.
pub const USER: &str = "cdc";
/// Its password.
pub const PASSWORD: &str = "cdc";

/// A start includes the recovery after a kill in the middle of a large transaction.
const READY_LIMIT: Duration = Duration::from_secs(120);
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// Options that must be known when the data folder is made.
const INIT_OPTIONS: [&str; 3] = ["--lower-case-table-names", "--innodb-page-size", "--character-set-server"];

/// A server on 127.0.0.1 with a data folder of its own; killed and removed when dropped.
///
/// It logs rows in full, with full metadata and GTIDs. Commits reach the operating system but wait for no disk: they
/// survive [`kill9`](Self::kill9), which is all that a test can do to them, and cost nothing.
#[derive(Debug)]
pub struct Database {
    programs: Programs,
    port: Port,
    options: Vec<String>,
    client: Client,
    // Dropped before the folder: a server must not write into a folder that is being removed.
    process: Option<Process>,
    folder: TestFolder,
}

impl Database {
    /// Starts a server; `options` come last on its command line, so they win over the testkit's.
    ///
    /// An error names the command that installs the server, or carries the end of its log.
    pub fn start(flavor: Flavor, options: &[&str]) -> Result<Self> {
        let programs = Programs::find(flavor)?;
        report::tested_on(&format!("{} {}", flavor.scheme(), programs.version));
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let init: Vec<String> =
            options.iter().filter(|o| INIT_OPTIONS.iter().any(|i| o.starts_with(i))).cloned().collect();
        let folder = TestFolder::for_server(flavor.scheme())?;
        template::copy_database_to(&folder.path().join("data"), &programs, &init)?;
        let client = Client::new(&programs, &folder.path().join("sock"))?;
        let mut database = Self { programs, port: free_port()?, options, client, process: None, folder };
        database.restart()?;
        Ok(database)
    }

    /// Which server it is.
    pub fn flavor(&self) -> Flavor {
        self.programs.flavor
    }

    /// Its version, such as `9.7.4-2` or `10.11.19-MariaDB-0+deb12u1`.
    pub fn version(&self) -> &str {
        &self.programs.version
    }

    /// Its TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// `mysql://cdc:cdc@127.0.0.1:PORT`, or `mariadb://…`.
    pub fn url(&self) -> String {
        format!("{}://{USER}:{PASSWORD}@127.0.0.1:{}", self.flavor().scheme(), self.port)
    }

    /// Its process, `None` while it is down.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Its data folder, which holds the binary logs as `binlog.NNNNNN`.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A program of its installation, such as `mysqlbinlog`; on MariaDB's `mariadb-binlog` ask for that name.
    pub fn tool(&self, name: &str) -> Result<PathBuf> {
        self.programs.tool(name)
    }

    /// Runs a tool of its installation, such as `mysqldump`, logged in over the socket as root; returns its output.
    pub fn run_tool(&self, name: &str, arguments: &[&str]) -> Result<Vec<u8>> {
        let mut command = Command::new(self.tool(name)?);
        command.args(["--no-defaults", "--user=root"]).arg(format!("--socket={}", self.socket().display()));
        command.args(arguments);
        client::run_tool(command)
    }

    /// Runs statements, which may be many and large, on a connection of their own.
    ///
    /// # Panics
    /// With the statement and the server's message when one fails; the statements after it have not run.
    #[track_caller]
    pub fn exec(&self, sql: &str) {
        if let Err(error) = self.try_exec(sql) {
            panic!("{error}");
        }
    }

    /// As [`exec`](Self::exec), for statements that may fail.
    pub fn try_exec(&self, sql: &str) -> Result {
        self.client.run(sql, &["--skip-column-names"]).map(|_| ())
    }

    /// The rows of all results of `sql`, one after another, each value as the server prints it.
    ///
    /// # Panics
    /// As [`exec`](Self::exec).
    #[track_caller]
    pub fn query(&self, sql: &str) -> Vec<Row> {
        match self.try_query(sql) {
            Ok(rows) => rows,
            Err(error) => panic!("{error}"),
        }
    }

    /// As [`query`](Self::query), for statements that may fail.
    pub fn try_query(&self, sql: &str) -> Result<Vec<Row>> {
        client::parse(&self.client.run(sql, &["--xml"])?)
    }

    /// The only value that `sql` returns; NULL and no row at all are the empty string.
    ///
    /// # Panics
    /// As [`exec`](Self::exec).
    #[track_caller]
    pub fn value(&self, sql: &str) -> String {
        self.query(sql).into_iter().flatten().next().flatten().unwrap_or_default()
    }

    /// A connection that stays open.
    pub fn session(&self) -> Result<Session> {
        Session::open(&self.client)
    }

    /// Runs a workload beside the test until the load is stopped: `per_second` transactions, or as many as it can for 0.
    /// The workload's tables must be there.
    pub fn load(&self, workload: Workload, per_second: u32) -> Load {
        Load::start(self.client.clone(), workload, per_second)
    }

    /// Makes this server a replica of `primary` by GTID, from its first binary log on.
    pub fn replicate_from(&self, primary: &Database) -> Result {
        let place = |word: &str| {
            format!(
                "{word}_HOST='127.0.0.1', {word}_PORT={}, {word}_USER='{USER}', {word}_PASSWORD='{PASSWORD}'",
                primary.port()
            )
        };
        self.try_exec(&if self.flavor().is_mariadb() {
            format!("CHANGE MASTER TO {}, MASTER_USE_GTID=slave_pos; START SLAVE", place("MASTER"))
        } else {
            let more = "SOURCE_AUTO_POSITION=1, GET_SOURCE_PUBLIC_KEY=1";
            format!("CHANGE REPLICATION SOURCE TO {}, {more}; START REPLICA", place("SOURCE"))
        })
    }

    /// Where its log ends, by GTID.
    pub fn gtids(&self) -> String {
        let name = if self.flavor().is_mariadb() { "gtid_binlog_pos" } else { "gtid_executed" };
        self.value(&format!("SELECT REPLACE(@@GLOBAL.{name}, '\n', '')"))
    }

    /// Waits until this replica has executed everything up to `gtids`.
    pub fn wait_for_gtids(&self, gtids: &str) -> Result {
        let maria = self.flavor().is_mariadb();
        let function = if maria { "MASTER_GTID_WAIT" } else { "WAIT_FOR_EXECUTED_GTID_SET" };
        let limit = READY_LIMIT.as_secs();
        let waited = self.try_query(&format!("SELECT {function}('{gtids}', {limit})"))?;
        match waited.into_iter().flatten().next().flatten().as_deref() {
            Some("0") => Ok(()),
            _ => Err(Error::new(format!(
                "after {limit} s the replica has not come to {gtids}; it is at {}",
                self.gtids()
            ))),
        }
    }

    /// Makes this replica a server of its own, with what it has executed by now.
    pub fn promote(&self) -> Result {
        self.try_exec(match self.flavor().is_mariadb() {
            true => "STOP SLAVE; RESET SLAVE ALL",
            false => "STOP REPLICA; RESET REPLICA ALL",
        })
    }

    /// Kills it as a crash would. Restart it with [`restart`](Self::restart).
    pub fn kill9(&mut self) {
        self.process = None;
    }

    /// Shuts it down in order.
    pub fn stop(&mut self) -> Result {
        self.process.take().map_or(Ok(()), |mut process| process.terminate(STOP_LIMIT).map(|_| ()))
    }

    /// Starts it again on the same port and data; shuts it down first if it runs.
    pub fn restart(&mut self) -> Result {
        self.stop()?;
        let log = self.log();
        let mut process = Process::server(&self.flavor().to_string(), self.command(), &log)?;
        let socket = self.socket();
        process.wait_ready(READY_LIMIT, || template::greets(&socket))?;
        self.process = Some(process);
        Ok(())
    }

    /// As [`restart`](Self::restart), with other options instead of those it was started with.
    pub fn restart_with(&mut self, options: &[&str]) -> Result {
        self.options = options.iter().map(|&option| option.to_owned()).collect();
        self.restart()
    }

    /// Stops the process from running, connections stay open: a server that hangs.
    pub fn pause(&mut self) {
        self.signal(libc::SIGSTOP);
    }

    /// Lets it run again.
    pub fn resume(&mut self) {
        self.signal(libc::SIGCONT);
    }

    fn signal(&mut self, signal: i32) {
        if let Some(process) = &mut self.process {
            process.signal(signal);
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("sock")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn command(&self) -> Command {
        let folder = self.folder.path().display();
        let port = self.port();
        let mut command = Command::new(&self.programs.server);
        command.arg("--no-defaults").args(self.programs.place()).args(template::storage_options(&self.programs));
        command.arg(format!("--datadir={folder}/data")).arg(format!("--socket={folder}/sock"));
        // A tmpdir of its own: a server that starts removes the temporary tables that it finds.
        command.arg(format!("--tmpdir={folder}")).arg(format!("--pid-file={folder}/pid"));
        command.args(["--bind-address=127.0.0.1", "--max-allowed-packet=1G", "--max-connect-errors=1000000"]);
        command.arg(format!("--port={port}")).arg(format!("--server-id={port}"));
        command.args(["--log-bin=binlog", "--binlog-row-image=FULL", "--binlog-row-metadata=FULL"]);
        command.args(["--innodb-flush-log-at-trx-commit=2", "--sync-binlog=0"]);
        if self.flavor().is_mariadb() {
            command.args(["--binlog-format=ROW", "--gtid-strict-mode=ON", "--log-slave-updates=ON"]);
        } else {
            command.args(["--mysqlx=OFF", "--gtid-mode=ON", "--enforce-gtid-consistency=ON"]);
        }
        command.args(&self.options);
        command
    }
}
