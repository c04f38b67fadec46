//! The three processes: MariaDB, Redis and Headwater, each with a folder, a port and a password of its own.
//!
//! Invariant: they end with this value, and their folders with them. A kill is `kill -9`; what is killed comes back on the
//! same data. Start at [`Servers::start`].

use headwater_testkit::{Connection, Database, Error, Flavor, Headwater, Output, Redis, Result, Session};
use std::env;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// The configuration that the demo runs is the file that the reader copies.
const CONFIG: &str = include_str!("../headwater.yaml");
/// How long Headwater and Redis stay away after a kill: long enough to see the work pile up.
const DOWN: Duration = Duration::from_secs(1);
/// A shop that keeps its orders over a power failure. The demo's own kills ask for less.
const DURABLE: [&str; 2] = ["--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1"];

/// What can be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The product.
    Headwater,
    /// The cache.
    Redis,
    /// The database.
    Database,
}

/// The servers. Locked while one is being killed and restarted; whoever only watches uses the ports.
pub struct Servers {
    // Dropped first: it would log that the others went away.
    headwater: Mutex<Headwater>,
    redis: Mutex<Redis>,
    database: Mutex<Database>,
    /// Port of Headwater's status.
    pub http_port: u16,
    /// What the database and the cache are, such as `MariaDB 10.11.19`.
    pub title: String,
    redis_port: u16,
    cache_password: String,
    shop_password: String,
}

impl Servers {
    /// Starts the database and the cache, and prepares Headwater, which is not started yet.
    pub fn start() -> Result<Self> {
        let (shop_password, cache_password) = (password(), password());
        let database = Database::start(Flavor::MariaDb10, &DURABLE).or_else(|older| {
            Database::start(Flavor::MariaDb11, &DURABLE)
                .map_err(|newer| Error::new(format!("no MariaDB could be started.\n{older}\n{newer}")))
        })?;
        let redis = Redis::start(&["--requirepass", &cache_password])?;
        let mut headwater = Headwater::new(binary()?, "")?;
        let config = headwater.config_file();
        fs::write(&config, CONFIG).map_err(|error| Error::new(format!("write {}: {error}", config.display())))?;
        let http_port = headwater.http_port();
        headwater
            .env("HEADWATER_PORT", &http_port.to_string())
            .env("SHOP_PORT", &database.port().to_string())
            .env("SHOP_PASSWORD", &shop_password)
            .env("CACHE_PORT", &redis.port().to_string())
            .env("CACHE_PASSWORD", &cache_password);
        let version = database.version().split('-').next().unwrap_or_default();
        Ok(Self {
            http_port,
            title: format!("MariaDB {version}"),
            redis_port: redis.port(),
            headwater: Mutex::new(headwater),
            redis: Mutex::new(redis),
            database: Mutex::new(database),
            cache_password,
            shop_password,
        })
    }

    /// The password of the user `shop_cdc`.
    pub fn shop_password(&self) -> &str {
        &self.shop_password
    }

    /// The database, for statements.
    pub fn database(&self) -> MutexGuard<'_, Database> {
        lock(&self.database)
    }

    /// The cache, for comparing.
    pub fn redis(&self) -> MutexGuard<'_, Redis> {
        lock(&self.redis)
    }

    /// A connection to the database; `None` while it is down.
    pub fn session(&self) -> Option<Session> {
        self.database().session().ok()
    }

    /// A connection to the cache; an error while it is down. Needs no lock.
    pub fn cache(&self) -> Result<Connection> {
        let mut connection = Connection::open(self.redis_port)?;
        connection.call(&["AUTH", &self.cache_password])?;
        Ok(connection)
    }

    /// Starts Headwater without waiting for anything.
    pub fn launch(&self) -> Result {
        lock(&self.headwater).launch()
    }

    /// Runs a command of Headwater to its end.
    pub fn headwater(&self, arguments: &[&str]) -> Result<Output> {
        lock(&self.headwater).run(arguments)
    }

    /// Kills `target`, and starts it again.
    pub fn kill(&self, target: Target) -> Result {
        match target {
            Target::Headwater => {
                let mut headwater = lock(&self.headwater);
                headwater.kill9();
                thread::sleep(DOWN);
                headwater.launch()
            }
            Target::Redis => {
                let mut redis = self.redis();
                redis.kill9();
                thread::sleep(DOWN);
                redis.restart()
            }
            Target::Database => {
                let mut database = self.database();
                database.kill9();
                database.restart()
            }
        }
    }

    /// An error with the end of its log when Headwater has ended although nobody killed it.
    pub fn look_after(&self) -> Result {
        // Locked by whoever is killing it: then it is down on purpose.
        let Ok(mut headwater) = self.headwater.try_lock() else { return Ok(()) };
        if headwater.is_running() {
            return Ok(());
        }
        let log = headwater.log();
        let lines: Vec<&str> = log.lines().rev().take(20).collect();
        let end: Vec<&str> = lines.into_iter().rev().collect();
        Err(Error::new(format!("headwater ended by itself; the end of its log:\n{}", end.join("\n"))))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn password() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// Headwater lies where cargo has put the demo.
fn binary() -> Result<PathBuf> {
    let own = env::current_exe().map_err(|error| Error::new(format!("ask where the demo lies: {error}")))?;
    let binary = own.with_file_name("headwater");
    if binary.is_file() {
        return Ok(binary);
    }
    Err(Error::new(format!("{} is missing; build it with: cargo build --release -p headwater", binary.display())))
}
