//! Where and on what the benchmarks ran: without it a figure means nothing.
//!
//! Invariant: what cannot be found out is said to be unknown; it never ends a run. Start at [`Machine::look`].

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// The machine, the versions and the command of one run.
#[derive(Debug)]
pub struct Machine {
    /// `YYYY-MM-DD`.
    pub date: String,
    cpu: String,
    cores: usize,
    memory: String,
    kernel: String,
    rustc: String,
    headwater: String,
    command: String,
    servers: BTreeSet<String>,
}

impl Machine {
    /// Looks around. `root` is the repository.
    pub fn look(root: &Path) -> Machine {
        let field = |path: &str, name: &str| {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
        };
        let unknown = || "unknown".to_owned();
        let memory_kb = field("/proc/meminfo", "MemTotal").and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
        let git =
            Command::new("git").args(["describe", "--always", "--dirty", "--abbrev=12"]).current_dir(root).output();
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        Machine {
            date: said(Command::new("date").arg("+%F")),
            cpu: field("/proc/cpuinfo", "model name").unwrap_or_else(unknown),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory: memory_kb.map_or_else(unknown, |kb| format!("{:.0} GiB", kb / 1024.0 / 1024.0)),
            kernel: said(Command::new("uname").arg("-sr")),
            rustc: said(Command::new("rustc").arg("--version")),
            headwater: git.map_or_else(|_| unknown(), |git| String::from_utf8_lossy(&git.stdout).trim().to_owned()),
            command: format!("cargo run --release -p headwater-bench -- {}", arguments.join(" ")),
            servers: BTreeSet::new(),
        }
    }

    /// Notes a server's name and version.
    pub fn server(&mut self, name: impl Into<String>) {
        self.servers.insert(name.into());
    }

    /// Everything, by name.
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let servers: Vec<&str> = self.servers.iter().map(String::as_str).collect();
        vec![
            ("processor", format!("{} ({} cores)", self.cpu, self.cores)),
            ("memory", self.memory.clone()),
            ("kernel", self.kernel.clone()),
            ("servers", servers.join(", ")),
            ("compiler", self.rustc.clone()),
            ("headwater", self.headwater.clone()),
            ("command", self.command.clone()),
        ]
    }

    /// The processor's name as part of a file's name.
    pub fn slug(&self) -> String {
        let letters = self.cpu.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
        let words: String = letters.collect();
        let words: Vec<&str> =
            words.split('-').filter(|word| !word.is_empty() && !matches!(*word, "r" | "tm")).collect();
        format!("{}-{}cores", words.join("-"), self.cores)
    }
}

/// The first line that a program prints.
pub fn said(command: &mut Command) -> String {
    let output =
        command.output().map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    output.lines().next().map_or_else(|| "unknown".to_owned(), |line| line.trim().to_owned())
}
