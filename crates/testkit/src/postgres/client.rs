//! SQL through `psql`, so that a test judges Headwater's driver by another one. Results come as CSV with a mark for NULL that
//! no value has. Never interprets a value.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;

use super::programs::PostgresPrograms;
use crate::error::Attempt;
use crate::{Error, Result, Row};

/// Stands for NULL in a result.
const NULL: &str = "\u{1}null\u{1}";
/// Ends the answer to what a session was sent.
const END: &str = "\u{1}end\u{1}";
/// How much of a statement an error shows.
const SHOWN_CHARS: usize = 300;

/// The client of one server, as its superuser over its socket.
#[derive(Debug, Clone)]
pub(crate) struct Psql {
    program: PathBuf,
    folder: PathBuf,
    port: u16,
}

impl Psql {
    pub fn new(programs: &PostgresPrograms, folder: &Path, port: u16) -> Result<Self> {
        Ok(Self { program: programs.tool("psql")?, folder: folder.to_owned(), port })
    }

    /// Runs statements in `database` to their end, each in a transaction of its own; stops at the first error.
    pub fn run(&self, database: &str, sql: &str) -> Result<Vec<Row>> {
        let child = self.command(database).args(["-v", "ON_ERROR_STOP=1"]).stderr(Stdio::piped()).spawn();
        let mut child = child.attempt(|| format!("start {}", self.program.display()))?;
        let stdin = child.stdin.take();
        let output = thread::scope(|scope| {
            // Beside the reader: client and test would wait for each other once both pipes are full.
            scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(sql.as_bytes())));
            child.wait_with_output()
        });
        let output = output.attempt(|| format!("run {}", self.program.display()))?;
        if output.status.success() {
            return rows(&String::from_utf8_lossy(&output.stdout));
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Error::new(format!("{}\nin: {}", said.trim(), shown(sql))))
    }

    fn command(&self, database: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["-X", "-q", "--csv", "-t", "-U", "postgres", "-d", database]);
        command.arg("-h").arg(&self.folder).arg("-p").arg(self.port.to_string()).args(["-P", &format!("null={NULL}")]);
        command.env("PGCLIENTENCODING", "UTF8").env("PGOPTIONS", "-c client_min_messages=error");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command
    }
}

/// A connection that stays open: for transactions held open, locks, and statements that wait.
#[derive(Debug)]
pub struct PostgresSession {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    errors: BufReader<ChildStderr>,
}

impl PostgresSession {
    pub(crate) fn open(client: &Psql, database: &str) -> Result<Self> {
        let child = client.command(database).stderr(Stdio::piped()).spawn();
        let mut child = child.attempt(|| format!("start {}", client.program.display()))?;
        let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(input), Some(output), Some(errors)) = (input, output, errors) else {
            return Err(Error::new("psql was started without pipes"));
        };
        Ok(Self { child, input, output: BufReader::new(output), errors: BufReader::new(errors) })
    }

    /// Runs statements and returns the rows of all their results; the first error the server names, if any.
    pub fn exec(&mut self, sql: &str) -> Result<Vec<Row>> {
        self.send(sql)?;
        self.finish().map_err(|error| Error::new(format!("{error}\nin: {}", shown(sql))))
    }

    /// Sends statements without waiting; [`finish`](Self::finish) waits.
    pub fn send(&mut self, sql: &str) -> Result {
        let end = if sql.trim_end().ends_with(';') { "" } else { ";" };
        let text = format!("{sql}{end}\n\\echo '{END}'\n\\warn '{END}'\n");
        self.input.write_all(text.as_bytes()).and_then(|()| self.input.flush()).attempt(|| "send to psql".to_owned())
    }

    /// Waits for what was sent; the rows of its results, or the first error.
    pub fn finish(&mut self) -> Result<Vec<Row>> {
        let output = until_end(&mut self.output);
        let errors = until_end(&mut self.errors);
        let said = errors.as_ref().map_or_else(|error| error.to_string(), |text| text.trim().to_owned());
        match output {
            Ok(text) if said.is_empty() => rows(&text),
            Ok(_) => Err(Error::new(said)),
            Err(error) => Err(Error::new(format!("the session is lost: {error}; {said}"))),
        }
    }
}

impl Drop for PostgresSession {
    fn drop(&mut self) {
        // Killed, not asked: its statement may be waiting for a lock. The server rolls its transaction back.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn until_end(reader: &mut impl BufRead) -> Result<String> {
    let mut text = String::new();
    loop {
        let mut line = Vec::new();
        let read = reader.read_until(b'\n', &mut line).attempt(|| "read from psql".to_owned())?;
        let line = String::from_utf8_lossy(&line);
        if read == 0 {
            return Err(Error::new(format!("psql ended: {}", text.trim())));
        }
        if line.trim_end() == END {
            return Ok(text);
        }
        text.push_str(&line);
    }
}

/// The rows of all results in the client's CSV.
fn rows(csv: &str) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut rest = csv;
    while !rest.is_empty() {
        let mut row = Row::new();
        loop {
            let (value, after) = field(rest)?;
            row.push((value != NULL).then_some(value));
            match after.strip_prefix(',') {
                Some(next) => rest = next,
                None => {
                    rest = after.strip_prefix('\n').unwrap_or(after);
                    break;
                }
            }
        }
        rows.push(row);
    }
    Ok(rows)
}

fn field(text: &str) -> Result<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find([',', '\n']).unwrap_or(text.len());
        return Ok((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    loop {
        let (part, after) =
            rest.split_once('"').ok_or_else(|| Error::new("psql's CSV ends in the middle of a field"))?;
        value.push_str(part);
        match after.strip_prefix('"') {
            Some(next) => {
                value.push('"');
                rest = next;
            }
            None => return Ok((value, after)),
        }
    }
}

fn shown(sql: &str) -> String {
    let mut shown: String = sql.chars().take(SHOWN_CHARS).collect();
    if shown.len() < sql.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_the_clients_csv() {
        let text = |text: &str| Some(text.to_owned());
        let csv = format!("1,\"a,\"\"b\nc\",{NULL}\n,x\n\n");
        let expected = [vec![text("1"), text("a,\"b\nc"), None], vec![text(""), text("x")], vec![text("")]];
        assert_eq!(rows(&csv).unwrap(), expected);
        assert!(rows("\"a").is_err());
    }
}
