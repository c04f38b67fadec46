//! The Headwater binary as a process: killed, ended in order, started again on the same folder. Never links the product, so
//! that a test sees what a user sees.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use crate::error::Attempt;
use crate::process::{Process, tail};
use crate::{Error, Port, Result, TestFolder, free_port, http_get};

/// Until `/ready` answers 200 after a start.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// A Headwater instance with a folder, a configuration and an HTTP port of its own; killed and removed when dropped.
#[derive(Debug)]
pub struct Headwater {
    binary: PathBuf,
    environment: Vec<(String, String)>,
    port: Port,
    process: Option<Process>,
    folder: TestFolder,
}

/// What a command printed.
#[derive(Debug)]
pub struct Output {
    /// Its exit status; `None` when a signal ended it.
    pub status: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Headwater {
    /// Prepares an instance; `config` is YAML without `data_dir` and `http`, which are put before it.
    pub fn new(binary: impl AsRef<Path>, config: &str) -> Result<Self> {
        let folder = TestFolder::new("headwater")?;
        let binary = binary.as_ref().to_owned();
        let instance = Self { binary, environment: Vec::new(), port: free_port()?, process: None, folder };
        instance.configure(config)?;
        Ok(instance)
    }

    /// Sets an environment variable for all later starts and commands, such as `FAILPOINTS`.
    pub fn env(&mut self, name: &str, value: &str) -> &mut Self {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Unsets what [`env`](Self::env) set.
    pub fn env_remove(&mut self, name: &str) -> &mut Self {
        self.environment.retain(|(known, _)| known != name);
        self
    }

    /// Replaces the configuration; a running instance keeps the one that it has read.
    pub fn configure(&self, config: &str) -> Result {
        let path = self.config_file();
        let data = self.data_dir();
        let text = format!("data_dir: {}\nhttp: {{ listen: 127.0.0.1:{} }}\n{config}", data.display(), self.port);
        fs::write(&path, text).attempt(|| format!("write {}", path.display()))
    }

    /// Where its journal and state are.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The configuration file that it reads.
    pub fn config_file(&self) -> PathBuf {
        self.folder.path().join("headwater.yaml")
    }

    /// Its HTTP port on 127.0.0.1.
    pub fn http_port(&self) -> u16 {
        self.port.number()
    }

    /// Its process, `None` while it is down.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// All that it has logged since the first start.
    pub fn log(&self) -> String {
        fs::read(self.log_file()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Starts `headwater run` without waiting for anything.
    pub fn launch(&mut self) -> Result {
        self.kill9();
        self.process = Some(Process::start("headwater", self.command(&["run"]), &self.log_file())?);
        Ok(())
    }

    /// Starts `headwater run` and waits until `/ready` answers 200; an error carries the end of its log.
    pub fn start(&mut self) -> Result {
        self.launch()?;
        let port = self.http_port();
        let ready = || http_get(port, "/ready").is_ok_and(|(status, _)| status == 200);
        self.process.as_mut().map_or(Ok(()), |process| process.wait_ready(READY_LIMIT, ready))
    }

    /// Whether the process is there; false once it has ended by itself.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::is_running)
    }

    /// Kills it as a crash would.
    pub fn kill9(&mut self) {
        self.process = None;
    }

    /// Sends SIGTERM and returns its exit status; an error when it takes longer than `limit`.
    pub fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.running()?.terminate(limit).inspect(|_| self.process = None)
    }

    /// Waits until it ends by itself, as it does at an error that it cannot mend or a fail point.
    pub fn wait_end(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.running()?.wait(limit).inspect(|_| self.process = None)
    }

    /// `GET path` from its HTTP port: status and body.
    pub fn get(&self, path: &str) -> Result<(u16, String)> {
        http_get(self.http_port(), path)
    }

    /// Runs `headwater ARGUMENTS -c FILE` to its end, beside the instance or without it.
    pub fn run(&self, arguments: &[&str]) -> Result<Output> {
        let output = self.command(arguments).output().attempt(|| format!("run {}", self.binary.display()))?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Output { status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) })
    }

    /// As [`run`](Self::run), and returns the output; an error with what it printed unless it ended with status 0.
    pub fn run_ok(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments)?;
        if output.status == Some(0) {
            return Ok(output.stdout);
        }
        let (status, said) = (output.status, output.stderr + &output.stdout);
        let log = tail(&self.log_file());
        Err(Error::new(format!("headwater {arguments:?} ended with status {status:?}: {said}\n{log}")))
    }

    /// The most memory that the running instance has held so far, in kB (VmHWM); `None` while it is down.
    pub fn memory_peak_kb(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.split_whitespace().next()?.parse().ok()
    }

    fn running(&mut self) -> Result<&mut Process> {
        self.process.as_mut().ok_or_else(|| Error::new("headwater is not running"))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments).arg("-c").arg(self.config_file()).current_dir(self.folder.path());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("headwater.log")
    }
}

impl Drop for Headwater {
    fn drop(&mut self) {
        if std::thread::panicking() {
            crate::say(&format!("headwater of the failed test:\n{}", tail(&self.log_file())));
        }
    }
}
