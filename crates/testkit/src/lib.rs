//! Real servers and simulated failures for tests: databases, Redis, the Headwater binary, a proxy that cuts connections.
//!
//! Invariant: whatever a test starts ends with it. A dropped server is killed and its folder removed; when the test process
//! itself is killed, the kernel kills its servers, and the next run removes the folders it left.
//!
//! Start at [`Database`], [`Postgres`], [`Redis`] and [`Headwater`]. Nothing here sleeps to wait for an effect: see [`wait_until`].
//!
//! ```no_run
//! use headwater_testkit::{Database, Flavor, Redis};
//!
//! # fn main() -> headwater_testkit::Result {
//! let db = Database::start(Flavor::MySql, &["--binlog-row-image=MINIMAL"])?;
//! db.exec("CREATE DATABASE shop; CREATE TABLE shop.items (id INT PRIMARY KEY, name TEXT)");
//! let redis = Redis::start(&[])?;
//! assert_eq!(redis.call(&["DBSIZE"]).int(), 0);
//! # Ok(())
//! # }
//! ```

mod certificates;
mod client;
mod database;
mod error;
mod folder;
pub mod golden;
mod headwater;
mod http;
mod port;
mod postgres;
mod process;
mod programs;
mod proxy;
mod redis;
mod report;
mod resp;
mod template;
mod wait;
mod workload;

pub use certificates::Certificates;
pub use client::{Row, Session};
pub use database::{Database, PASSWORD, USER};
pub use error::{Error, Result};
pub use folder::TestFolder;
pub use headwater::{Headwater, Output};
pub use http::http_get;
pub use port::{Port, free_port};
pub use postgres::{Postgres, PostgresRelease, PostgresSession};
pub use programs::Flavor;
pub use proxy::Proxy;
pub use redis::Redis;
pub use report::{flavors, postgres_releases, say, seed, skip};
pub use resp::{Connection, Reply};
pub use wait::wait_until;
pub use workload::{Load, Workload};
