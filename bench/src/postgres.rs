//! What the benchmarks of PostgreSQL share: the table `orders`, a backlog of it, a source, connections and slots.
//!
//! Invariant: nothing here is encrypted, as on no other side of a comparison. Start at [`source`].

use crate::load::Statements;
use headwater_source::postgres::wire::{Connection, Options, Role, TlsMode};
use headwater_testkit::{Error, Postgres, Result};

/// The database that every server has.
pub const DATABASE: &str = "postgres";

/// The slot and the publication of the source.
pub const SLOT: &str = "headwater_shop";

/// Makes the schema `shop` and its table `orders`: about 230 bytes of log a row.
pub const ORDERS: &str = "CREATE SCHEMA shop; CREATE TABLE shop.orders (id bigint PRIMARY KEY, customer_id int, \
    status varchar(20), total numeric(10,2), note varchar(100), created_at timestamp(3));";

/// A source `shop` that reads `tables` of `postgres`, and no rows that are there already.
pub fn source(postgres: &Postgres, tables: &str) -> String {
    let url = postgres.url(DATABASE);
    format!(
        "sources:\n  shop:\n    postgres: {{ url: \"{url}\", tables: [\"{tables}\"], snapshot: never, tls: {{ mode: disable }} }}\n"
    )
}

/// The load of a backlog, made by the server itself: transactions of 100 rows.
pub fn backlog(rows: u64) -> String {
    format!(
        "DO $$ BEGIN FOR part IN 0..{} LOOP INSERT INTO shop.orders SELECT n, n * 37 % 5000, (ARRAY['new','paid','shipped'])[1 + n % 3], \
         (n * 13 % 90000) / 100.0, 'please leave it at the door of number ' || n, timestamp '2026-01-01' + n * interval '7.123 s' \
         FROM generate_series(part * 100::bigint, part * 100::bigint + 99) n; COMMIT; END LOOP; END $$",
        rows / 100 - 1
    )
}

/// Statements for the database at `url`.
pub fn statements(url: &str) -> Result<Statements> {
    let mut connection = connect(url, Role::Session)?;
    Ok(Box::new(move |sql| connection.execute(sql).map_err(|error| Error::new(format!("the load: {error}")))))
}

/// A connection to the database at `url`.
pub fn connect(url: &str, role: Role) -> Result<Connection> {
    let failed = |error: &dyn std::fmt::Display| Error::new(format!("connect to the database: {error}"));
    let mut options = Options::from_url(url).map_err(|error| failed(&error))?;
    options.tls.mode = TlsMode::Disabled;
    options.read_timeout = None;
    options.role = role;
    Connection::connect(&options, 0).map_err(|error| failed(&error))
}
