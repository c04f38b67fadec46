//! The scenarios whose records are equal to Debezium's, by server: what is here stays equal.

/// MySQL.
pub const MYSQL: &[&str] = &[];

/// MariaDB.
pub const MARIADB: &[&str] = &[];

/// PostgreSQL, on every release.
pub const POSTGRESQL: &[&str] = &[];

/// Equal on 15, where the captures were made.
pub const POSTGRESQL_15: &[&str] = &["ddl_tables", "mode_skip_without_change"];

/// Equal on 18.
pub const POSTGRESQL_18: &[&str] = &[];
