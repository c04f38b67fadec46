//! A private Redis server. It appends every write to its log before it answers, so a kill loses nothing that was
//! acknowledged; an older state comes back only where a test restores one.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::error::Attempt;
use crate::folder::give_to_servers;
use crate::process::Process;
use crate::programs::find_program;
use crate::{Connection, Error, Port, Reply, Result, TestFolder, free_port, report};

const READY_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// Keys asked for in one go by [`Redis::contents`].
const SCAN_KEYS: &str = "1000";

/// A server on 127.0.0.1 with a folder of its own; killed and removed when dropped.
#[derive(Debug)]
pub struct Redis {
    program: PathBuf,
    port: Port,
    options: Vec<String>,
    password: Option<String>,
    process: Option<Process>,
    folder: TestFolder,
}

impl Redis {
    /// Starts a server; `options` come last on its command line, such as `--maxmemory 10mb`, each word an item.
    pub fn start(options: &[&str]) -> Result<Self> {
        let program = find_program("redis-server")?;
        report::tested_on(&format!("redis {}", version(&program)?));
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let password = options.iter().position(|o| o == "--requirepass").and_then(|at| options.get(at + 1)).cloned();
        let folder = TestFolder::for_server("redis")?;
        let mut redis = Self { program, port: free_port()?, options, password, process: None, folder };
        redis.restart()?;
        Ok(redis)
    }

    /// Its TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// `redis://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its process, `None` while it is down.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// Its folder; certificates and ACL files may be put there.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// A connection that stays open, logged in.
    pub fn connect(&self) -> Result<Connection> {
        let mut connection = Connection::open(self.port())?;
        if let Some(password) = &self.password {
            connection.call(&["AUTH", password])?;
        }
        Ok(connection)
    }

    /// Runs one command on a connection of its own.
    ///
    /// # Panics
    /// With Redis' message when it refuses.
    #[track_caller]
    pub fn call(&self, command: &[&str]) -> Reply {
        match self.try_call(command) {
            Ok(reply) => reply,
            Err(error) => panic!("{command:?}: {error}"),
        }
    }

    /// As [`call`](Self::call), for commands that may fail.
    pub fn try_call(&self, command: &[&str]) -> Result<Reply> {
        self.connect()?.call(command)
    }

    /// Every key of database `number` with its value in an order that does not depend on history: sets and hashes sorted,
    /// lists, streams and scores as Redis returns them. For comparing a whole cache with what it should be.
    pub fn contents(&self, number: u32) -> Result<BTreeMap<String, Reply>> {
        let mut connection = self.connect()?;
        connection.call(&["SELECT", &number.to_string()])?;
        let mut contents = BTreeMap::new();
        let mut cursor = "0".to_owned();
        loop {
            let scan = connection.call(&["SCAN", &cursor, "COUNT", SCAN_KEYS])?;
            let [next, keys] = scan.list() else {
                return Err(Error::new(format!("Redis answered SCAN with {scan:?}")));
            };
            read_keys(&mut connection, keys.list(), &mut contents)?;
            cursor = next.text().unwrap_or_default();
            if cursor == "0" {
                return Ok(contents);
            }
        }
    }

    /// Saves its data and keeps a copy under `name`, to be restored later.
    pub fn copy_data_file(&self, name: &str) -> Result {
        self.try_call(&["SAVE"])?;
        let (from, to) = (self.rdb(), self.copy(name));
        fs::copy(&from, &to).attempt(|| format!("copy {} to {}", from.display(), to.display()))?;
        Ok(())
    }

    /// Restarts it on the copy `name`, as an operator restores a backup: what was written since is gone.
    pub fn restore_data_file(&mut self, name: &str) -> Result {
        self.kill9();
        let log = self.folder.path().join("appendonlydir");
        if log.exists() {
            fs::remove_dir_all(&log).attempt(|| format!("remove {}", log.display()))?;
        }
        let (from, to) = (self.copy(name), self.rdb());
        fs::copy(&from, &to).attempt(|| format!("copy {} to {}", from.display(), to.display()))?;
        give_to_servers(&to)?;
        // With its log switched on, Redis would prefer an empty log to the file. So it starts without, and switches it on.
        self.run(&["--appendonly", "no"])?;
        self.try_call(&["CONFIG", "SET", "appendonly", "yes"])?;
        let mut connection = self.connect()?;
        crate::wait_until(READY_LIMIT, "Redis to rewrite its log", || {
            let info = connection.call(&["INFO", "persistence"]).ok().and_then(|info| info.text()).unwrap_or_default();
            info.contains("aof_rewrite_in_progress:0") && info.contains("aof_rewrite_scheduled:0")
        })
    }

    /// Kills it as a crash would; what it has acknowledged is kept.
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
        self.run(&["--appendonly", "yes"])
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

    fn run(&mut self, options: &[&str]) -> Result {
        let folder = self.folder.path();
        let mut command = Command::new(&self.program);
        command.args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--save", ""]);
        command.arg("--dir").arg(folder).args(options).args(&self.options);
        let mut process = Process::server("Redis", command, &folder.join("log"))?;
        let port = self.port();
        // A refusal for want of a password is an answer, too; LOADING is one that says to wait.
        process.wait_ready(READY_LIMIT, || match Connection::open(port).and_then(|mut c| c.call(&["PING"])) {
            Ok(_) => true,
            Err(error) => error.to_string().contains("NOAUTH"),
        })?;
        self.process = Some(process);
        Ok(())
    }

    fn rdb(&self) -> PathBuf {
        self.folder.path().join("dump.rdb")
    }

    fn copy(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.copy.rdb"))
    }
}

fn read_keys(connection: &mut Connection, keys: &[Reply], contents: &mut BTreeMap<String, Reply>) -> Result {
    let bytes = |key: &Reply| match key {
        Reply::Bytes(bytes) => bytes.clone(),
        _ => Vec::new(),
    };
    let keys: Vec<Vec<u8>> = keys.iter().map(bytes).collect();
    let types: Vec<[&[u8]; 2]> = keys.iter().map(|key| [b"TYPE".as_slice(), key]).collect();
    let types = connection.pipeline(&types.iter().map(|command| command.as_slice()).collect::<Vec<_>>())?;
    let mut reads: Vec<Vec<&[u8]>> = Vec::new();
    for (key, kind) in keys.iter().zip(&types) {
        let [command, range @ ..]: &[&[u8]] = (match kind.text().as_deref() {
            Some("hash") => &[b"HGETALL"],
            Some("set") => &[b"SMEMBERS"],
            Some("zset") => &[b"ZRANGE", b"0", b"-1", b"WITHSCORES"],
            Some("list") => &[b"LRANGE", b"0", b"-1"],
            Some("stream") => &[b"XRANGE", b"-", b"+"],
            _ => &[b"GET"],
        }) else {
            continue;
        };
        reads.push([&[*command, key.as_slice()], range].concat());
    }
    let values = connection.pipeline(&reads.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
    for ((key, kind), value) in keys.iter().zip(types).zip(values) {
        let sorted = match (kind.text().as_deref(), value) {
            // A key that expired between the scan and here has no value, and none is its value.
            (Some("none"), _) | (_, Reply::Nil) => continue,
            (Some("set"), Reply::List(mut members)) => {
                members.sort();
                Reply::List(members)
            }
            (Some("hash"), Reply::List(fields)) => {
                let mut pairs: Vec<&[Reply]> = fields.chunks(2).collect();
                pairs.sort();
                Reply::List(pairs.concat())
            }
            (_, value) => value,
        };
        contents.insert(String::from_utf8_lossy(key).into_owned(), sorted);
    }
    Ok(())
}

/// What follows `v=` in `Redis server v=7.0.15 sha=…`.
fn version(program: &PathBuf) -> Result<String> {
    let output = Command::new(program).arg("--version").output();
    let output = output.attempt(|| format!("ask {} for its version", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_whitespace().find_map(|word| word.strip_prefix("v=")).map(str::to_owned);
    version.ok_or_else(|| Error::new(format!("{} says no version: {text}", program.display())))
}
