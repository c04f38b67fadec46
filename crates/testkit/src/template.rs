//! Initialised data folders. Making one takes seconds, copying one a tenth of that, so each version's is made once per
//! machine. A template has no binary log and no server id: what a copy logs is its own from the first event.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::client::Client;
use crate::error::Attempt;
use crate::folder::give_to_servers;
use crate::process::{self, Process, run_as_server};
use crate::programs::Programs;
use crate::{PASSWORD, Result, TestFolder, USER};

/// Initialising on a loaded machine; a recovery after a kill is faster.
const READY_LIMIT: Duration = Duration::from_secs(120);

/// Copies the data folder of the servers called `name` to `target`, which must not exist. `key` is all that decides how the
/// folder looks; `make` gets a temporary folder and makes the data folder in it, once per machine and key.
pub(crate) fn copy_to(target: &Path, name: &str, key: &impl Hash, make: impl FnOnce(&Path, &Path) -> Result) -> Result {
    let template = template(name, key, make)?;
    let mut copy = Command::new("cp");
    copy.args(["-a", "--reflink=auto"]).arg(&template).arg(target);
    if !cfg!(target_os = "linux") {
        copy = Command::new("cp");
        copy.arg("-Rp").arg(&template).arg(target);
    }
    let status = copy.status().attempt(|| "run cp".to_owned())?;
    if status.success() {
        return Ok(());
    }
    Err(crate::Error::new(format!("cp {} {}: {status}", template.display(), target.display())))
}

fn template(name: &str, key: &impl Hash, make: impl FnOnce(&Path, &Path) -> Result) -> Result<PathBuf> {
    let folder = process::private_folder("templates")?;
    let mut hash = DefaultHasher::new();
    key.hash(&mut hash);
    let name = format!("{name}-{:016x}", hash.finish());
    let path = folder.join(&name);
    // Parallel test processes wait for the first one; the lock ends with its holder, however that ends.
    let lock = folder.join(format!("{name}.lock"));
    let lock = File::create(&lock).attempt(|| format!("open {}", lock.display()))?;
    lock.lock().attempt(|| format!("lock {name}"))?;
    if !path.exists() {
        let aside = TestFolder::for_server("template")?;
        let data = aside.path().join("data");
        make(aside.path(), &data)?;
        // Both lie in the temporary folder, so this is one rename: the template appears whole or not at all.
        fs::rename(&data, &path).attempt(|| format!("put {} in place", path.display()))?;
    }
    Ok(path)
}

/// Copies the data folder for a MySQL or MariaDB of `programs`, initialised with `init` options.
pub(crate) fn copy_database_to(target: &Path, programs: &Programs, init: &[String]) -> Result {
    let key = (&programs.version, &programs.server, init);
    copy_to(target, programs.flavor.scheme(), &key, |aside, data| {
        initialise(programs, init, aside, data)?;
        add_user(programs, init, aside, data)?;
        // Each copy shall make a UUID of its own.
        let _ = fs::remove_file(data.join("auto.cnf"));
        Ok(())
    })
}

fn initialise(programs: &Programs, init: &[String], aside: &Path, data: &Path) -> Result {
    let mut command;
    if programs.flavor.is_mariadb() {
        command = Command::new(programs.tool("mariadb-install-db")?);
        command.arg("--no-defaults").args(programs.place());
        command.args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
    } else {
        command = Command::new(&programs.server);
        command.arg("--no-defaults").args(programs.place()).arg("--initialize-insecure");
    }
    command.args(storage_options(programs)).args(init);
    command.arg(format!("--datadir={}", data.display())).arg(format!("--tmpdir={}", aside.display()));
    run_as_server(command)?;
    give_to_servers(data)
}

/// Runs the server once, reachable by its socket alone, to add the user that tests and Headwater log in as.
fn add_user(programs: &Programs, init: &[String], aside: &Path, data: &Path) -> Result {
    let socket = aside.join("sock");
    let log = aside.join("log");
    let mut command = Command::new(&programs.server);
    command.arg("--no-defaults").args(programs.place()).args(storage_options(programs)).args(init);
    command.args(["--skip-networking", "--skip-log-bin"]);
    command.arg(format!("--datadir={}", data.display())).arg(format!("--tmpdir={}", aside.display()));
    command.arg(format!("--socket={}", socket.display())).arg(format!("--pid-file={}", aside.join("pid").display()));
    if !programs.flavor.is_mariadb() {
        command.arg("--mysqlx=OFF");
    }
    let mut server = Process::server(&format!("{} (initialising)", programs.flavor), command, &log)?;
    server.wait_ready(READY_LIMIT, || greets(&socket))?;
    let sql =
        format!("CREATE USER {USER}@'%' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON *.* TO {USER}@'%' WITH GRANT OPTION;");
    Client::new(programs, &socket)?.run(&sql, &[])?;
    server.terminate(READY_LIMIT).map(|_| ())
}

/// Small enough for many servers side by side; part of the data folder's format, so a copy starts with the same.
pub(crate) fn storage_options(programs: &Programs) -> Vec<String> {
    let redo =
        if programs.flavor.is_mariadb() { "--innodb-log-file-size=48M" } else { "--innodb-redo-log-capacity=64M" };
    let mut options = vec![redo.to_owned(), "--innodb-buffer-pool-size=64M".to_owned()];
    if !programs.flavor.is_mariadb() {
        options.push("--secure-file-priv=NULL".to_owned());
        options.push("--performance-schema=OFF".to_owned());
    }
    options
}

/// Whether a server answers on its socket: it opens it before it is ready, but greets only then.
pub(crate) fn greets(socket: &Path) -> bool {
    use std::io::Read;
    let Ok(mut stream) = UnixStream::connect(socket) else { return false };
    let mut header = [0; 5];
    // Bytes 0 to 3 are the packet's length and number; byte 4 is the protocol version, 10 for decades.
    stream.set_read_timeout(Some(Duration::from_secs(1))).is_ok()
        && stream.read_exact(&mut header).is_ok()
        && header[4] == 10
}
