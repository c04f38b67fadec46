//! A seeded stream of transactions over a small shop: several tables at once, key changes, deletes, roll-backs, DDL. The
//! database is the truth that everything is compared with, so a statement that fails or a commit whose outcome a kill left
//! open spoils nothing: no statement counts on an earlier one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::client::{Client, Session};

/// Keys are drawn from ranges this small so that transactions meet on the same rows.
const CUSTOMERS: u32 = 50;
const PRODUCTS: u32 = 40;
const ORDERS: u32 = 500;
const LINES: u32 = 6;
const STATEMENTS_MAX: u32 = 6;
/// Columns `extra_0` and so on, which DDL adds and drops; no other column ever changes.
const EXTRA_COLUMNS: u32 = 4;
/// Between two attempts to reach a server that is down.
const RECONNECT_PAUSE: Duration = Duration::from_millis(20);

const TEXTS: [&str; 6] = ["new", "päid ✓", "😀 sent", "it''s \\\\ \\n back", "", "NULL"];

/// Makes transactions for the tables `customers`, `products`, `orders`, `order_items` and `ledger` of one database.
///
/// Each transaction that commits adds one row `(writer, number)` to `ledger`, its numbers rising: proof that each one arrived
/// once, and in order.
#[derive(Debug)]
pub struct Workload {
    database: String,
    writer: u64,
    number: u64,
    ddl_per_mille: u32,
    random: StdRng,
}

impl Workload {
    /// Transactions decided by `seed` alone. `writer` tells workloads that run side by side apart in `ledger`.
    pub fn new(database: &str, writer: u64, seed: u64) -> Self {
        Self { database: database.to_owned(), writer, number: 0, ddl_per_mille: 0, random: StdRng::seed_from_u64(seed) }
    }

    /// Makes so many of a thousand transactions DDL: columns `extra_N` of `orders` come, change and go, tables are replaced.
    pub fn with_ddl(mut self, per_mille: u32) -> Self {
        self.ddl_per_mille = per_mille;
        self
    }

    /// Creates the database, its tables and their first rows.
    pub fn setup(&self) -> String {
        let mut sql = format!("CREATE DATABASE {0} CHARACTER SET utf8mb4; USE {0};\n{TABLES}", self.database);
        let rows = |count: u32, row: &dyn Fn(u32) -> String| (0..count).map(row).collect::<Vec<_>>().join(",");
        let customers = rows(CUSTOMERS, &|id| format!("({id}, 'customer {id}', {id}.5)"));
        let products = rows(PRODUCTS, &|id| format!("('sku-{id}', {id}, {id}.99)"));
        sql.push_str(&format!("INSERT INTO customers VALUES {customers};\nINSERT INTO products VALUES {products};\n"));
        sql
    }

    /// The next transaction, or DDL.
    pub fn next_sql(&mut self) -> String {
        if self.random.random_range(0..1_000) < self.ddl_per_mille {
            return self.ddl();
        }
        self.number += 1;
        let mut sql = format!("BEGIN; INSERT INTO ledger VALUES ({}, {});\n", self.writer, self.number);
        for _ in 0..self.random.random_range(1..=STATEMENTS_MAX) {
            sql.push_str(&self.statement());
            sql.push_str(";\n");
        }
        match self.random.random_range(0..100) {
            0..3 => sql.push_str("ROLLBACK;\n"),
            3..6 => {
                let undone = self.statement();
                sql.push_str(&format!("SAVEPOINT s; {undone}; ROLLBACK TO s; COMMIT;\n"));
            }
            _ => sql.push_str("COMMIT;\n"),
        }
        sql
    }

    fn statement(&mut self) -> String {
        let order = self.random.random_range(0..ORDERS);
        let other = self.random.random_range(0..ORDERS);
        let line = self.random.random_range(0..LINES);
        let sku = self.random.random_range(0..PRODUCTS);
        let customer = self.random.random_range(0..CUSTOMERS);
        let quantity = self.random.random_range(-5..100);
        let cents = self.random.random_range(0..1_000_000_000_u64);
        let text = TEXTS[self.random.random_range(0..TEXTS.len())];
        let amount = format!("{}.{:02}", cents / 100, cents % 100);
        match self.random.random_range(0..12) {
            0..3 => format!(
                "INSERT INTO orders (id, customer_id, status, total) VALUES ({order}, {customer}, '{text}', {amount}) \
                 ON DUPLICATE KEY UPDATE status = VALUES(status), total = VALUES(total)"
            ),
            3..6 => format!("REPLACE INTO order_items VALUES ({order}, {line}, 'sku-{sku}', {quantity})"),
            6 => format!("UPDATE orders SET status = '{text}', customer_id = NULLIF({customer}, 0) WHERE id = {order}"),
            // A changed key: the old key's data must go, the new key's come.
            7 => format!("UPDATE IGNORE orders SET id = {other} WHERE id = {order}"),
            8 => format!("UPDATE IGNORE order_items SET order_id = {other}, line = {line} WHERE order_id = {order}"),
            9 => format!("DELETE FROM order_items WHERE order_id IN ({order}, {other})"),
            10 => format!("DELETE FROM orders WHERE id = {order}"),
            _ => format!(
                "UPDATE customers SET balance = balance + {amount} WHERE id = {customer}; \
                 UPDATE products SET stock = stock + {quantity}, price = {amount} WHERE sku = 'sku-{sku}'"
            ),
        }
    }

    fn ddl(&mut self) -> String {
        let column = self.random.random_range(0..EXTRA_COLUMNS);
        let other = self.random.random_range(0..EXTRA_COLUMNS);
        let order = self.random.random_range(0..ORDERS);
        match self.random.random_range(0..6) {
            0 => format!(
                "ALTER TABLE orders ADD COLUMN extra_{column} INT NOT NULL DEFAULT {order} AFTER customer_id;\n"
            ),
            1 => format!("ALTER TABLE orders ADD COLUMN extra_{column} VARCHAR(40) DEFAULT 'ä' FIRST;\n"),
            2 => format!("ALTER TABLE orders DROP COLUMN extra_{column};\n"),
            3 => format!("ALTER TABLE orders MODIFY COLUMN extra_{column} BIGINT NULL AFTER status;\n"),
            4 => format!("ALTER TABLE orders RENAME COLUMN extra_{column} TO extra_{other};\n"),
            _ => format!(
                "DROP TABLE IF EXISTS scratch; CREATE TABLE scratch (id INT PRIMARY KEY, c{column} TEXT); \
                 INSERT INTO scratch VALUES ({order}, 'x'); TRUNCATE TABLE scratch;\n"
            ),
        }
    }
}

const TABLES: &str = "
CREATE TABLE customers (id INT UNSIGNED PRIMARY KEY, name VARCHAR(80) NOT NULL, balance DECIMAL(30,4) NOT NULL);
CREATE TABLE products (sku VARCHAR(32) PRIMARY KEY, stock BIGINT NOT NULL, price DECIMAL(20,2) NOT NULL);
CREATE TABLE orders (id BIGINT UNSIGNED PRIMARY KEY, customer_id INT UNSIGNED, status VARCHAR(40) NOT NULL,
  total DECIMAL(20,2) NOT NULL, created DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6));
CREATE TABLE order_items (order_id BIGINT UNSIGNED NOT NULL, line INT NOT NULL, sku VARCHAR(32) NOT NULL,
  quantity INT NOT NULL, PRIMARY KEY (order_id, line));
CREATE TABLE ledger (writer BIGINT UNSIGNED NOT NULL, number BIGINT UNSIGNED NOT NULL, PRIMARY KEY (writer, number));
";

/// A workload that runs against a server until it is stopped, over all kills and restarts of the server.
#[derive(Debug)]
pub struct Load {
    stopping: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    writer: Option<JoinHandle<Workload>>,
}

impl Load {
    pub(crate) fn start(client: Client, workload: Workload, per_second: u32) -> Self {
        let (stopping, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stop, count) = (Arc::clone(&stopping), Arc::clone(&done));
        let writer = thread::spawn(move || write(&client, workload, per_second, &stop, &count));
        Self { stopping, done, writer: Some(writer) }
    }

    /// Transactions done so far, those included that rolled back or ended in an error of SQL.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Ends after the transaction that is under way; the workload can go on in another load. `None` if the writer panicked.
    pub fn stop(mut self) -> Option<Workload> {
        self.stopping.store(true, Ordering::Relaxed);
        self.writer.take()?.join().ok()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        // Waits for nothing: a failed test may have left its server hanging, and the writer with it.
    }
}

fn write(client: &Client, mut workload: Workload, per_second: u32, stop: &AtomicBool, done: &AtomicU64) -> Workload {
    let pace = Duration::from_secs(1).checked_div(per_second).unwrap_or_default();
    let mut next = Instant::now();
    let mut session: Option<Session> = None;
    while !stop.load(Ordering::Relaxed) {
        let Some(open) = &mut session else {
            let select = format!("USE {}", workload.database);
            session = Session::open(client).ok().and_then(|mut new| new.exec(&select).is_ok().then_some(new));
            if session.is_none() {
                thread::sleep(RECONNECT_PAUSE);
            }
            continue;
        };
        // Errors of SQL are part of the load: a column that exists already, a deadlock.
        let _ = open.exec(&workload.next_sql());
        if open.is_lost() {
            session = None;
            next = Instant::now();
        } else {
            done.fetch_add(1, Ordering::Relaxed);
        }
        next += pace;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    workload
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_every_statement() {
        let sql = |seed| {
            let mut workload = Workload::new("d", 1, seed).with_ddl(100);
            (0..200).map(|_| workload.next_sql()).collect::<String>()
        };
        assert_eq!(sql(7), sql(7));
        assert_ne!(sql(7), sql(8));
        for part in ["ROLLBACK TO", "UPDATE IGNORE orders SET id", "DELETE", "RENAME COLUMN", "TRUNCATE"] {
            assert!(sql(7).contains(part), "{part}");
        }
    }
}
