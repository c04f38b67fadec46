//! Child processes that cannot outlive the tests, and the account that runs servers. Never leaves a child unreaped.

use std::env;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use crate::error::Attempt;
use crate::{Error, Result, wait_until};

/// How much of a log an error carries.
const TAIL_BYTES: u64 = 4_096;

/// A child with its output in a file; killed and reaped when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

/// An account of this machine.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
}

impl Process {
    /// Starts `command` as a server: as an unprivileged account when we are root, its output appended to `log`.
    pub fn server(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        as_server(&mut command)?;
        Self::start(name, command, log)
    }

    /// Starts `command` with its output appended to `log`.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let file = append(log)?;
        let errors = file.try_clone().attempt(|| format!("share {}", log.display()))?;
        // A group of its own: Ctrl-C ends the tests, and they end their servers in order.
        command.stdin(Stdio::null()).stdout(file).stderr(errors).process_group(0);
        let program = command.get_program().to_owned();
        let child = spawn(command).attempt(|| format!("start {name} ({})", program.display()))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned(), ended: None })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn is_running(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended.is_none()
    }

    /// Sends `signal`; nothing when the process has ended.
    pub fn signal(&mut self, signal: i32) {
        if self.is_running() {
            // SAFETY: the child is ours and not yet reaped, so the id cannot belong to another process.
            unsafe { libc::kill(self.child.id() as libc::pid_t, signal) };
        }
    }

    /// Ends it at once, as a power cut would.
    pub fn kill9(&mut self) {
        self.signal(libc::SIGKILL);
        if self.ended.is_none() {
            self.ended = self.child.wait().ok();
        }
    }

    /// Asks it to end and waits; an error with the end of its log when it does not within `limit`.
    pub fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(libc::SIGTERM);
        self.wait(limit)
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let waited = wait_until(limit, &format!("the end of {}", self.name), || !self.is_running());
        match (waited, self.ended) {
            (Ok(()), Some(status)) => Ok(status),
            (Err(error), _) => Err(self.failure(&error.to_string())),
            (Ok(()), None) => Err(self.failure("its exit status is unknown")),
        }
    }

    /// Waits until `ready` holds; an error with the end of `log` when the process ends first or `limit` passes.
    pub fn wait_ready(&mut self, limit: Duration, mut ready: impl FnMut() -> bool) -> Result {
        let mut running = true;
        let what = format!("{} to become ready", self.name);
        let waited = wait_until(limit, &what, || {
            running = self.is_running();
            !running || ready()
        });
        match waited {
            Ok(()) if running => Ok(()),
            Ok(()) => Err(self.failure("ended before it was ready")),
            Err(error) => Err(self.failure(&error.to_string())),
        }
    }

    fn failure(&self, what: &str) -> Error {
        let ended = self.ended.map(|status| format!(", {status}")).unwrap_or_default();
        Error::new(format!("{} (process {}{ended}): {what}\n{}", self.name, self.child.id(), tail(&self.log)))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// The end of a log, for an error message.
pub(crate) fn tail(log: &Path) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    match read() {
        Ok(text) if text.is_empty() => format!("--- {} is empty", log.display()),
        Ok(text) => format!("--- the end of {}\n{text}---", log.display()),
        Err(error) => format!("--- {} cannot be read: {error}", log.display()),
    }
}

/// Runs `command` to its end as the servers' account; its output is in the error.
pub(crate) fn run_as_server(command: Command) -> Result {
    run_as_server_with(command, "")
}

/// As [`run_as_server`], with a short `input`.
pub(crate) fn run_as_server_with(mut command: Command, input: &str) -> Result {
    as_server(&mut command)?;
    let program = command.get_program().to_owned();
    let mut run = || {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that ends without reading says why by its status.
            let _ = stdin.write_all(input.as_bytes());
        }
        child.wait_with_output()
    };
    let output = run().attempt(|| format!("run {}", program.display()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(Error::new(format!("{}: {}\n{}", program.display(), output.status, String::from_utf8_lossy(&said))))
}

/// Servers refuse to run as root: they get the account `mysql`, or `nobody` where there is none. `None` when we are not root.
pub(crate) fn server_account() -> Result<Option<Account>> {
    // SAFETY: geteuid has no preconditions and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        return Ok(None);
    }
    let accounts = fs::read_to_string("/etc/passwd").attempt(|| "read /etc/passwd".to_owned())?;
    let find = |name: &str| {
        let mut fields = accounts.lines().map(|line| line.split(':')).find(|line| line.clone().next() == Some(name))?;
        let (uid, gid) = (fields.nth(2)?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(Account { name: name.to_owned(), uid, gid })
    };
    let account = find("mysql").or_else(|| find("nobody"));
    account
        .map(Some)
        .ok_or_else(|| Error::new("no account `mysql` or `nobody` to run servers; run the tests as a user"))
}

/// Whether a process of this id exists (its exit status not collected counts as existing).
pub(crate) fn is_alive(pid: u32) -> bool {
    // SAFETY: signal 0 only asks whether the process exists.
    let asked = unsafe { libc::kill(pid as libc::pid_t, 0) };
    asked == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

/// A folder of this user that outlives the process: port leases, initialised data folders.
pub(crate) fn private_folder(name: &str) -> Result<PathBuf> {
    // SAFETY: geteuid has no preconditions and cannot fail.
    let uid = unsafe { libc::geteuid() };
    let path = env::temp_dir().join(format!("headwater-{name}-{uid}"));
    let made = DirBuilder::new().recursive(true).mode(0o755).create(&path);
    made.attempt(|| format!("make the folder {}", path.display()))?;
    let owner = fs::symlink_metadata(&path).attempt(|| format!("look at {}", path.display()))?;
    // The name can be guessed: somebody else's folder or link there must not be trusted.
    if owner.is_dir() && owner.uid() == uid {
        Ok(path)
    } else {
        Err(Error::new(format!("{} belongs to user {}; remove it", path.display(), owner.uid())))
    }
}

/// A lock that a panicking test does not take away from the others.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn as_server(command: &mut Command) -> Result {
    if let Some(account) = server_account()? {
        command.uid(account.uid).gid(account.gid).env("HOME", "/nonexistent");
    }
    Ok(())
}

fn append(log: &Path) -> Result<File> {
    File::options().create(true).append(true).open(log).attempt(|| format!("open the log {}", log.display()))
}

type Request = (Command, SyncSender<io::Result<Child>>);
static SPAWNER: OnceLock<SyncSender<Request>> = OnceLock::new();

/// Starts a child that the kernel kills when this process ends, however it ends.
///
/// The kernel's promise is bound to the *thread* that started the child, and the threads of tests end early; so one thread
/// that lives as long as the process starts them all.
fn spawn(command: Command) -> io::Result<Child> {
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, requests) = mpsc::sync_channel::<Request>(0);
        thread::spawn(move || {
            for (mut command, answer) in requests {
                bind_to_our_life(&mut command);
                // Whoever asked may have panicked meanwhile; then the child is ours to reap.
                if let Err(mpsc::SendError(Ok(mut child))) = answer.send(command.spawn()) {
                    let _ = child.kill();
                    let _ = child.wait();
                }
            }
        });
        sender
    });
    let gone = || io::Error::other("the thread that starts processes is gone");
    let (answer, child) = mpsc::sync_channel(1);
    spawner.send((command, answer)).map_err(|_| gone())?;
    child.recv().map_err(|_| gone())?
}

#[cfg(target_os = "linux")]
fn bind_to_our_life(command: &mut Command) {
    let parent = std::process::id() as libc::pid_t;
    // SAFETY: prctl and getppid are async-signal-safe, and nothing is allocated between fork and exec. The standard library
    // changes the user before it runs this, which matters: changing it later would clear the signal again.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == -1 {
                return Err(io::Error::last_os_error());
            }
            // The parent may have died between fork and prctl.
            if libc::getppid() == parent { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
        });
    }
}

#[cfg(not(target_os = "linux"))]
fn bind_to_our_life(_command: &mut Command) {}
