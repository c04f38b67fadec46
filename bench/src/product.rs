//! The binary under measurement: built as it is shipped, run as a user runs it.
//!
//! Invariant: nothing here links the product; all that is known of a run comes from its HTTP port, its files and the
//! kernel. Start at [`find_binary`] and [`Instance`].

use crate::Bench;
use crate::measure::cpu_s;
use headwater_testkit::{Database, Error, Headwater, Result, TestFolder, http_get};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Between two looks at a running instance: short against what is measured, long enough to cost it nothing.
const LOOK: Duration = Duration::from_millis(5);
/// How long an orderly stop may take.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

/// Builds the release binary of `package` in the workspace of `manifest` and answers where it lies.
pub fn build(manifest: &Path, package: &str) -> Result<PathBuf> {
    let cargo = || Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let failed = |what: &str| Error::new(format!("cargo cannot build {package}: {what}"));
    let built = cargo().args(["build", "--release", "--package", package, "--manifest-path"]).arg(manifest).status();
    if !built.is_ok_and(|status| status.success()) {
        return Err(failed("see above"));
    }
    let metadata = cargo()
        .args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"])
        .arg(manifest)
        .output()
        .map_err(|error| failed(&error.to_string()))?;
    let metadata: Value = serde_json::from_slice(&metadata.stdout).map_err(|error| failed(&error.to_string()))?;
    let target =
        metadata["target_directory"].as_str().ok_or_else(|| failed("cargo metadata names no target folder"))?;
    Ok(Path::new(target).join("release").join(package))
}

/// Builds the readers of other people; without them `benchmark` says so and goes on.
pub fn peers(bench: &mut Bench, benchmark: &str) -> Option<PathBuf> {
    let built = build(&root().join("bench/peers/Cargo.toml"), "headwater-bench-peers");
    built.map_err(|error| bench.report.note(format!("no peer in `{benchmark}`: {error}"))).ok()
}

/// An instance of Headwater, and the journal that it had at some point, to go back to.
#[derive(Debug)]
pub struct Instance {
    /// The process and its folder.
    pub headwater: Headwater,
    kept: Option<TestFolder>,
}

impl Instance {
    /// An instance that does not run yet.
    pub fn new(binary: &Path, config: &str) -> Result<Instance> {
        Ok(Instance { headwater: Headwater::new(binary, config)?, kept: None })
    }

    /// Starts at the log's end as it is now, and stops: the next start begins here.
    pub fn mark_start(&mut self) -> Result {
        self.headwater.start()?;
        self.stop()?;
        self.keep()
    }

    /// Keeps a copy of the data folder.
    pub fn keep(&mut self) -> Result {
        let kept = TestFolder::new("kept")?;
        copy(&self.headwater.data_dir(), &kept.path().join("data"))?;
        self.kept = Some(kept);
        Ok(())
    }

    /// Puts back what was kept.
    pub fn go_back(&mut self) -> Result {
        self.headwater.kill9();
        let data = self.headwater.data_dir();
        // It may not be there yet; a folder that stays would fail the copy, which says so.
        let _gone = std::fs::remove_dir_all(&data);
        let kept = self.kept.as_ref().ok_or_else(|| Error::new("no data folder was kept to go back to"))?;
        copy(&kept.path().join("data"), &data)
    }

    /// Stops it in order.
    pub fn stop(&mut self) -> Result {
        let status = self.headwater.terminate(STOP_LIMIT)?;
        if status.success() { Ok(()) } else { Err(self.failure(&format!("it stopped with {status}"))) }
    }

    /// What it says of itself; `null` while it does not answer.
    pub fn status(&self) -> Value {
        let answer = http_get(self.headwater.http_port(), "/status");
        answer.ok().and_then(|(_, body)| serde_json::from_str(&body).ok()).unwrap_or(Value::Null)
    }

    /// A number out of its status, such as `/sources/0/durable_sequence`; 0 while it does not answer.
    pub fn number(&self, pointer: &str) -> u64 {
        self.status().pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
    }

    /// Everything below this sequence is on disk.
    pub fn durable(&self) -> u64 {
        self.number("/sources/0/durable_sequence")
    }

    /// Everything below this sequence is applied by sink number `at`, by name.
    pub fn applied(&self, at: usize) -> u64 {
        self.number(&format!("/sinks/{at}/sequence"))
    }

    /// Looks until `done` holds; an error with its status and log when it ends or `limit` passes first.
    pub fn wait(&mut self, limit: Duration, what: &str, mut done: impl FnMut(&Instance) -> bool) -> Result {
        let began = Instant::now();
        while !done(self) {
            if !self.headwater.is_running() {
                return Err(self.failure(&format!("it ended before {what}")));
            }
            if began.elapsed() > limit {
                return Err(self.failure(&format!("waited {limit:?} in vain for {what}")));
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Processor time so far, in seconds.
    pub fn cpu_s(&self) -> Result<f64> {
        cpu_s(self.headwater.pid().ok_or_else(|| Error::new("headwater is not running"))?)
    }

    /// The most memory that it has held since its start, in MB.
    pub fn memory_peak_mb(&self) -> f64 {
        self.headwater.memory_peak_kb().map_or(f64::NAN, |kib| kib as f64 * 1024.0 / 1e6)
    }

    fn failure(&self, what: &str) -> Error {
        let log = self.headwater.log();
        let tail: Vec<&str> = log.lines().rev().take(8).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        Error::new(format!("headwater: {what}\nstatus: {}\nlog:\n{}", self.status(), tail.join("\n")))
    }
}

/// A source `shop` that reads `tables` of `database` without encryption, as every limit and peer does.
pub fn source(database: &Database, tables: &str, more: &str) -> String {
    let (kind, url) = (database.flavor().scheme(), database.url());
    format!(
        "sources:\n  shop:\n    {kind}: {{ url: \"{url}\", tables: [\"{tables}\"], tls: {{ mode: disabled }}{more} }}\n"
    )
}

fn copy(from: &Path, to: &Path) -> Result {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    match copied {
        Ok(status) if status.success() => Ok(()),
        _ => Err(Error::new(format!("cannot copy {} to {}", from.display(), to.display()))),
    }
}
