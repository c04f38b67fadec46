//! SQL through the server's own command-line client, so that a test judges Headwater's driver by another one. Results come
//! as the client's XML: tabs, newlines and the text `NULL` are told from separators and NULL. Never interprets a value.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::{io, thread};

use crate::error::Attempt;
use crate::programs::Programs;
use crate::{Error, Result};

/// One row of a result; `None` is NULL. Bytes that are not UTF-8 are replaced and NUL becomes a space: `SELECT HEX(…)`.
pub type Row = Vec<Option<String>>;

/// How much of a statement an error shows.
const SHOWN_CHARS: usize = 300;

/// The client of one server, as root over its socket.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    program: PathBuf,
    socket: PathBuf,
}

impl Client {
    pub fn new(programs: &Programs, socket: &Path) -> Result<Self> {
        Ok(Self { program: programs.client()?, socket: socket.to_owned() })
    }

    /// Runs statements to their end and returns what the client printed; an error carries the server's message.
    pub fn run(&self, sql: &str, options: &[&str]) -> Result<Vec<u8>> {
        let mut command = self.command(options);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.attempt(|| format!("start {}", self.program.display()))?;
        let stdin = child.stdin.take();
        let output = thread::scope(|scope| {
            // Beside the reader: client and test would wait for each other once both pipes are full.
            scope.spawn(move || {
                // The client stops reading at the first error, which its exit status tells.
                stdin.map(|mut stdin| stdin.write_all(sql.as_bytes()))
            });
            child.wait_with_output()
        });
        let output = output.attempt(|| format!("run {}", self.program.display()))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Error::new(format!("{}\nin: {}", said.trim(), shown(sql))))
    }

    pub fn command(&self, options: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["--no-defaults", "--user=root", "--protocol=socket"]);
        command.arg(format!("--socket={}", self.socket.display()));
        command.args(["--default-character-set=utf8mb4", "--comments", "--binary-mode", "--batch"]);
        command.args(["--max-allowed-packet=1G"]).args(options);
        command
    }
}

/// A connection that stays open: for transactions held open, locks, and statements that wait.
#[derive(Debug)]
pub struct Session {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<io::PipeReader>,
    sent: u64,
}

impl Session {
    pub(crate) fn open(client: &Client) -> Result<Self> {
        let (reader, writer) = io::pipe().attempt(|| "make a pipe".to_owned())?;
        let errors = writer.try_clone().attempt(|| "share a pipe".to_owned())?;
        // One pipe for results and errors keeps their order. A session that reconnects by itself would go on outside of
        // its transaction, so it must not.
        let mut command = client.command(&["--xml", "--force", "--unbuffered", "--skip-reconnect"]);
        let child = command.stdin(Stdio::piped()).stdout(writer).stderr(errors).spawn();
        let mut child = child.attempt(|| format!("start {}", client.program.display()))?;
        let input = child.stdin.take();
        // The command holds the pipe's writing ends: kept, they would hide the client's end from the reader.
        drop(command);
        Ok(Self { child, input, output: BufReader::new(reader), sent: 0 })
    }

    /// Runs statements and returns the rows of all their results; the first error the server names, if any.
    pub fn exec(&mut self, sql: &str) -> Result<Vec<Row>> {
        self.send(sql)?;
        self.finish().map_err(|error| Error::new(format!("{error}\nin: {}", shown(sql))))
    }

    /// Sends statements without waiting; [`finish`](Self::finish) waits.
    pub fn send(&mut self, sql: &str) -> Result {
        self.sent += 1;
        let end = if sql.trim_end().ends_with(';') { "" } else { ";" };
        // The marker is put together by the server, so that the echoed statement is not taken for it.
        let text = format!("{sql}{end}\nSELECT CONCAT('session-', 'sent-{}');\n", self.sent);
        let input = self.input.as_mut().ok_or_else(|| Error::new("the session is closed"))?;
        input.write_all(text.as_bytes()).and_then(|()| input.flush()).attempt(|| "send to the SQL client".to_owned())
    }

    /// Waits for all that was sent; the rows of its results, or the first error.
    pub fn finish(&mut self) -> Result<Vec<Row>> {
        let marker = format!(">session-sent-{}<", self.sent);
        let mut text = Vec::new();
        let mut error = None;
        let mut in_result = false;
        loop {
            let start = text.len();
            let read = self.output.read_until(b'\n', &mut text).attempt(|| "read from the SQL client".to_owned())?;
            if read == 0 {
                self.input = None;
                let said = error.unwrap_or_else(|| String::from_utf8_lossy(&text).trim().to_owned());
                return Err(Error::new(format!("the SQL client ended: {said}")));
            }
            let line = String::from_utf8_lossy(&text[start..]);
            in_result = (in_result || line.starts_with("<resultset")) && !line.contains("</resultset>");
            if let (false, Some(message)) = (in_result, line.strip_prefix("ERROR ")) {
                // The client's own errors, 2000 to 2999, are about its connection. It would go on without one.
                if message.starts_with('2') && message.split(' ').next().is_some_and(|code| code.len() == 4) {
                    self.input = None;
                    return Err(Error::new(format!("the session is lost: {}", line.trim())));
                }
                error.get_or_insert_with(|| line.trim().to_owned());
            }
            if line.contains(&marker) {
                break;
            }
        }
        self.skip_line_of("</resultset>")?;
        match error {
            Some(error) => Err(Error::new(error)),
            None => {
                let mut rows = parse(&text)?;
                rows.retain(|row| !matches!(row.as_slice(), [Some(value)] if value.starts_with("session-sent-")));
                Ok(rows)
            }
        }
    }

    /// Whether the connection is gone, with whatever transaction it held.
    pub fn is_lost(&self) -> bool {
        self.input.is_none()
    }

    fn skip_line_of(&mut self, end: &str) -> Result {
        let mut line = String::new();
        while !line.contains(end) {
            line.clear();
            let read = self.output.read_line(&mut line).attempt(|| "read from the SQL client".to_owned())?;
            if read == 0 {
                self.input = None;
                return Err(Error::new("the SQL client ended"));
            }
        }
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Killed, not asked: its statement may be waiting for a lock. The server rolls its transaction back.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The rows of all results in the client's `--xml` output.
pub(crate) fn parse(xml: &[u8]) -> Result<Vec<Row>> {
    let text = String::from_utf8_lossy(xml);
    let mut rows: Vec<Row> = Vec::new();
    let mut rest = text.as_ref();
    let cut = || Error::new("the SQL client's XML ends in the middle of a field");
    while let Some(at) = rest.find("<row>").into_iter().chain(rest.find("<field ")).min() {
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("<row>") {
            rows.push(Row::new());
            rest = after;
            continue;
        }
        let (tag, after) = rest.split_once('>').ok_or_else(cut)?;
        let value = if tag.ends_with('/') {
            rest = after;
            None
        } else {
            let (value, after) = after.split_once("</field>").ok_or_else(cut)?;
            rest = after;
            Some(unescape(value))
        };
        rows.last_mut().ok_or_else(cut)?.push(value);
    }
    Ok(rows)
}

fn unescape(value: &str) -> String {
    if !value.contains('&') {
        return value.to_owned();
    }
    // The ampersand last: `&amp;lt;` is the text `&lt;`.
    value.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

fn shown(sql: &str) -> String {
    let mut shown: String = sql.chars().take(SHOWN_CHARS).collect();
    if shown.len() < sql.len() {
        shown.push('…');
    }
    shown
}

/// Runs a tool, such as `mysqlbinlog`, and returns its output.
pub(crate) fn run_tool(mut command: Command) -> Result<Vec<u8>> {
    let program = command.get_program().to_owned();
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let output = child.and_then(Child::wait_with_output).attempt(|| format!("run {}", program.display()))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(format!("{}: {}: {}", program.display(), output.status, said.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_the_clients_xml() {
        let xml = b"<?xml version=\"1.0\"?>\n\n<resultset statement=\"SELECT &lt;row&gt;\n\" xmlns:xsi=\"http://x\">\n  <row>\n\
            \t<field name=\"a&gt;b\">1\t2\n3</field>\n\t<field name=\"b\" xsi:nil=\"true\" />\n  </row>\n\
              <row>\n\t<field name=\"a\">&amp;lt;&quot;&lt;</field>\n\t<field name=\"b\"></field>\n  </row>\n</resultset>\n";
        let text = |text: &str| Some(text.to_owned());
        let expected = vec![vec![text("1\t2\n3"), None], vec![text("&lt;\"<"), text("")]];
        assert_eq!(parse(xml).unwrap(), expected);
    }

    #[test]
    fn a_cut_result_is_an_error() {
        for cut in ["<row>\n<field name=\"a\">1", "<row>\n<field name=\"a", "<field name=\"a\">1</field>"] {
            assert!(parse(cut.as_bytes()).is_err(), "{cut}");
        }
    }
}
