//! The load: the table `orders`, its rows from a fixed seed, wide rows for large transactions, and a paced writer.
//!
//! Invariant: the same call makes the same rows on every machine and every day. Start at [`ORDERS`].

use headwater_source::mysql::wire::{Connection, Options};
use headwater_testkit::{Database, Error, Result};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Rows of one transaction of a backlog.
pub const TRANSACTION_ROWS: u64 = 100;
/// Transactions that are handed to the SQL client at once.
const CLIENT_TRANSACTIONS: u64 = 500;
/// Rows from which a large table is doubled.
const SEED_ROWS: u64 = 1_000;
/// Bytes of one wide row, and rows of one statement that copies them: about 5 MB, which a source keeps in memory whole.
const WIDE_BYTES: u64 = 10_000;
const WIDE_ROWS: u64 = 500;
/// Connections of the paced writer from this pace on, so that one slow commit does not hold up the next.
const CONNECTIONS: usize = 4;
const ONE_CONNECTION_MAX: u64 = 500;

/// Makes the database `shop` and its table `orders`: about 107 bytes of log a row.
pub const ORDERS: &str = "CREATE DATABASE shop; CREATE TABLE shop.orders (id BIGINT PRIMARY KEY, customer_id INT, \
    status VARCHAR(20), total DECIMAL(10,2), note VARCHAR(100), created_at DATETIME(3));";

/// Makes the table `wide`, and one of the same shape to copy from that is in no log.
pub const WIDE: &str = "CREATE TABLE shop.wide (id BIGINT AUTO_INCREMENT PRIMARY KEY, body MEDIUMTEXT); \
    CREATE TABLE shop.seed (body MEDIUMTEXT);";

/// Numbers that look random and are the same every time (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// The values of row `id`, with their parentheses.
fn order(out: &mut String, id: u64) {
    let mut dice = Dice(id.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let status = ["new", "paid", "shipped", "done"][dice.below(4) as usize];
    let customer = dice.below(100_000);
    let (units, cents) = (dice.below(5_000), dice.below(100));
    let (month, day, minute, second, ms) =
        (1 + dice.below(12), 1 + dice.below(28), dice.below(60), dice.below(60), dice.below(1_000));
    let shelf = dice.below(97);
    let _infallible = write!(
        out,
        "({id},{customer},'{status}',{units}.{cents:02},'note {shelf} for order {id}, to be packed with care',\
         '2026-{month:02}-{day:02} 10:{minute:02}:{second:02}.{ms:03}')"
    );
}

/// Inserts rows `from..to` of `orders` in transactions of [`TRANSACTION_ROWS`].
pub fn backlog(database: &Database, from: u64, to: u64) -> Result {
    let mut sql = String::new();
    let mut id = from;
    while id < to {
        sql.clear();
        let end = to.min(id + CLIENT_TRANSACTIONS * TRANSACTION_ROWS);
        while id < end {
            sql.push_str("INSERT INTO shop.orders VALUES ");
            let last = end.min(id + TRANSACTION_ROWS);
            while id < last {
                order(&mut sql, id);
                id += 1;
                sql.push(if id < last { ',' } else { ';' });
            }
            sql.push('\n');
        }
        database.try_exec(&sql)?;
    }
    Ok(())
}

/// Fills `orders` with `rows` rows that are in no log: what a snapshot finds.
pub fn table(database: &Database, rows: u64) -> Result {
    let mut sql = "SET sql_log_bin = 0; INSERT INTO shop.orders VALUES ".to_owned();
    for id in 0..SEED_ROWS {
        order(&mut sql, id);
        sql.push(if id + 1 < SEED_ROWS { ',' } else { ';' });
    }
    let mut have = SEED_ROWS;
    while have < rows {
        let more = have.min(rows - have);
        let _infallible = writeln!(
            sql,
            "INSERT INTO shop.orders SELECT id + {have}, customer_id, status, total, note, created_at FROM shop.orders \
             WHERE id < {more};"
        );
        have += more;
    }
    database.try_exec(&sql)
}

/// Fills `seed`, so that [`wide`] has what to copy.
pub fn seed(database: &Database) -> Result {
    let row = format!("SUBSTRING(REPEAT(SHA2(RAND(), 256), {0}), 1, {WIDE_BYTES})", WIDE_BYTES / 64 + 1);
    let mut sql = format!("USE shop; SET sql_log_bin = 0; INSERT INTO shop.seed SELECT {row};\n");
    let mut have = 1;
    while have < WIDE_ROWS {
        let more = have.min(WIDE_ROWS - have);
        let _infallible =
            writeln!(sql, "INSERT INTO shop.seed SELECT {row} FROM (SELECT 1 FROM shop.seed LIMIT {more}) s;");
        have += more;
    }
    database.try_exec(&sql)
}

/// Copies all rows of `seed`.
const COPY: &str = "INSERT INTO shop.wide (body) SELECT body FROM shop.seed;\n";

/// Commits one transaction with about `bytes` bytes of wide rows; answers the number of rows.
pub fn wide(database: &Database, bytes: u64) -> Result<u64> {
    let copies = (bytes / (WIDE_BYTES * WIDE_ROWS)).max(1);
    database.try_exec(&format!("BEGIN;\n{}COMMIT;\n", COPY.repeat(copies as usize)))?;
    Ok(copies * WIDE_ROWS)
}

/// Makes the table `ballast`, which fills the log and no disk beside it.
pub const BALLAST: &str = "CREATE TABLE shop.ballast (body MEDIUMTEXT) ENGINE = BLACKHOLE;";

/// Puts about `bytes` bytes of wide rows into the log, in transactions of 5 MB.
pub fn ballast(database: &Database, bytes: u64) -> Result {
    let copies = (bytes / (WIDE_BYTES * WIDE_ROWS)).max(1);
    database.try_exec(&"INSERT INTO shop.ballast SELECT body FROM shop.seed;\n".repeat(copies as usize))
}

/// Runs statements over a connection of its own, one after the other.
pub type Statements = Box<dyn FnMut(&str) -> Result + Send>;

/// Statements for the database at `url`, without encryption.
pub fn statements(url: &str) -> Result<Statements> {
    let mut link = connect(url)?;
    Ok(Box::new(move |sql| link.execute(sql).map(|_| ()).map_err(|error| Error::new(format!("the load: {error}")))))
}

/// When each transaction of a paced load was sent, in nanoseconds since `clock`; 0 for none.
pub struct Sent {
    /// By number, from 0.
    pub at_ns: Vec<AtomicU64>,
    /// The row's id is this plus the number.
    pub first_id: u64,
}

/// Commits single-row transactions for `lasts` at `per_second`, each at its time whatever became of those before (an open
/// loop). A transaction is one INSERT that commits by itself; its time is taken just before it is sent.
///
/// `open` opens a connection.
pub fn paced(
    open: impl Fn() -> Result<Statements>,
    first_id: u64,
    per_second: u64,
    lasts: Duration,
    clock: Instant,
) -> Result<Sent> {
    let count = per_second * lasts.as_millis() as u64 / 1_000;
    let sent = Sent { at_ns: (0..count).map(|_| AtomicU64::new(0)).collect(), first_id };
    let connections = if per_second > ONE_CONNECTION_MAX { CONNECTIONS } else { 1 };
    let links: Vec<Statements> = (0..connections).map(|_| open()).collect::<Result<_>>()?;
    let began = Instant::now();
    std::thread::scope(|scope| {
        let writers: Vec<_> = links
            .into_iter()
            .enumerate()
            .map(|(number, link)| {
                let sent = &sent;
                scope.spawn(move || write(link, sent, number, connections, per_second, began, clock))
            })
            .collect();
        writers.into_iter().try_for_each(|writer| writer.join().map_err(|_| Error::new("a writer panicked"))?)
    })?;
    Ok(sent)
}

/// Sends transactions `number`, `number + step`, … at their times.
fn write(
    mut link: Statements,
    sent: &Sent,
    number: usize,
    step: usize,
    per_second: u64,
    began: Instant,
    clock: Instant,
) -> Result {
    let mut sql = String::new();
    for at in (number..sent.at_ns.len()).step_by(step) {
        sql.clear();
        sql.push_str("INSERT INTO shop.orders VALUES ");
        order(&mut sql, sent.first_id + at as u64);
        let due = began + Duration::from_nanos(at as u64 * 1_000_000_000 / per_second);
        if let Some(left) = due.checked_duration_since(Instant::now()) {
            std::thread::sleep(left);
        }
        sent.at_ns[at].store(clock.elapsed().as_nanos() as u64, Ordering::Release);
        link(&sql)?;
    }
    Ok(())
}

/// A connection to the database at `url`, without encryption.
pub fn connect(url: &str) -> Result<Connection> {
    let failed = |error: &dyn std::fmt::Display| Error::new(format!("connect to the database: {error}"));
    let mut options = Options::from_url(url).map_err(|error| failed(&error))?;
    options.tls.mode = headwater_source::mysql::wire::TlsMode::Disabled;
    options.read_timeout = None;
    Connection::connect(&options, 0).map_err(|error| failed(&error))
}

/// The server's log as it ends now: file and offset.
pub fn log_end(database: &Database) -> Result<(String, u64)> {
    let statement = if database.flavor().is_mariadb() { "SHOW MASTER STATUS" } else { "SHOW BINARY LOG STATUS" };
    let rows = database.try_query(statement)?;
    let row = rows.first().map(Vec::as_slice);
    match row {
        Some([Some(file), Some(offset), ..]) => Ok((file.clone(), offset.parse().unwrap_or(4))),
        _ => Err(Error::new("the database says no end of its log")),
    }
}
