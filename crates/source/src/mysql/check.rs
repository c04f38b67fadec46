//! `check`: what a server lacks before its log can be followed safely, each with the exact statement that mends it.
//!
//! Invariant: it only asks; nothing is changed on the server. Start at [`check`].

use super::access;
use super::config::{Options, SnapshotMode};
use super::server::Server;
use super::start;
use super::wire::Connection;
use crate::{Finding, Severity};

/// The least time that a log should be kept: a weekend in which nobody looks.
const LOG_KEPT_SECONDS_MIN: u64 = 3 * 86_400;

/// The highest level at which the compressor never looks back over more than 8 MB.
const ZSTD_LEVEL_MAX: u64 = 19;

/// Connects to every server of the configuration and lists what was found.
pub fn check(options: &Options) -> Vec<Finding> {
    let mut findings = Vec::new();
    for host in 0..options.connection.hosts.len() {
        let mut only = options.clone();
        only.connection.hosts = vec![options.connection.hosts[host].clone()];
        let before = findings.len();
        check_server(&only, &mut findings);
        if options.connection.hosts.len() > 1 {
            for finding in &mut findings[before..] {
                finding.what = format!("{}: {}", only.connection.hosts[0], finding.what);
            }
        }
    }
    findings
}

fn check_server(options: &Options, findings: &mut Vec<Finding>) {
    let (mut connection, server) = match start::connect(options, &mut 0) {
        Ok(found) => found,
        Err(error) => {
            let mend = error.hint_text().unwrap_or_default().to_owned();
            findings.push(Finding { severity: Severity::Error, what: error.to_string(), mend });
            return;
        }
    };
    if let Err(error) = start::require(options, &server) {
        let mend = error.hint_text().unwrap_or_default().to_owned();
        findings.push(Finding { severity: Severity::Error, what: error.message().to_owned(), mend });
    }
    settings(&server, findings);
    privileges(options, &mut connection, &server, findings);
    tables(options, &mut connection, &server, findings);
    connection.close();
}

fn warn(findings: &mut Vec<Finding>, what: impl Into<String>, mend: impl Into<String>) {
    findings.push(Finding { severity: Severity::Warning, what: what.into(), mend: mend.into() });
}

fn settings(server: &Server, findings: &mut Vec<Finding>) {
    if server.number("sync_binlog") != Some(1) {
        warn(
            findings,
            format!(
                "sync_binlog is {}: after a power failure the server may have lost transactions that were already read",
                server.variable("sync_binlog")
            ),
            "SET GLOBAL sync_binlog = 1; and sync_binlog=1 in the server's [mysqld] section",
        );
    }
    if server.number("innodb_flush_log_at_trx_commit") != Some(1) {
        warn(
            findings,
            format!(
                "innodb_flush_log_at_trx_commit is {}: after a power failure the server may have lost transactions that were \
                 already read",
                server.variable("innodb_flush_log_at_trx_commit")
            ),
            "SET GLOBAL innodb_flush_log_at_trx_commit = 1; and the same in the server's [mysqld] section",
        );
    }
    let seconds = server.number("binlog_expire_logs_seconds").unwrap_or(0);
    let days = server.variable("expire_logs_days").parse::<f64>().unwrap_or(0.0);
    let kept = if seconds > 0 { seconds } else { (days * 86_400.0) as u64 };
    if kept > 0 && kept < LOG_KEPT_SECONDS_MIN {
        warn(
            findings,
            format!(
                "the log is kept for {:.1} hours: a longer pause of this source could not be made up for",
                kept as f64 / 3600.0
            ),
            "SET GLOBAL binlog_expire_logs_seconds = 604800; and the same in the server's [mysqld] section",
        );
    }
    if !server.variable("binlog_row_metadata").eq_ignore_ascii_case("FULL") {
        warn(
            findings,
            "binlog_row_metadata is not FULL: the names of columns come from following the DDL, and a statement that is not \
             understood stops the source",
            "SET GLOBAL binlog_row_metadata = 'FULL'; and binlog_row_metadata=FULL in the server's [mysqld] section",
        );
    }
    if !server.has_gtids() {
        warn(
            findings,
            "GTIDs are off: after a failover to another server the source cannot go on by itself",
            "turn on gtid_mode and enforce_gtid_consistency, step by step, as the server's manual says",
        );
    }
    let level = server.number("binlog_transaction_compression_level_zstd").unwrap_or(0);
    if server.is_on("binlog_transaction_compression") && level > ZSTD_LEVEL_MAX {
        warn(
            findings,
            format!(
                "binlog_transaction_compression_level_zstd is {level}: to read a transaction of more than 8 MB takes up to \
                 128 MB of memory"
            ),
            format!("SET GLOBAL binlog_transaction_compression_level_zstd = {ZSTD_LEVEL_MAX};"),
        );
    }
    if server.variable("binlog_checksum").eq_ignore_ascii_case("NONE") {
        warn(
            findings,
            "binlog_checksum is NONE: a damaged log may go unnoticed",
            "SET GLOBAL binlog_checksum = 'CRC32';",
        );
    }
}

fn privileges(options: &Options, connection: &mut Connection, server: &Server, findings: &mut Vec<Finding>) {
    let grants = match connection.query("SHOW GRANTS") {
        Ok(result) => result,
        Err(error) => return warn(findings, format!("the user's privileges cannot be listed: {error}"), ""),
    };
    let lines: Vec<String> = grants
        .rows
        .iter()
        .filter_map(|row| row.first()?.as_deref())
        .map(|line| String::from_utf8_lossy(line).to_uppercase())
        .collect();
    let user = access::grantee(connection).unwrap_or_else(|_| "the_user".to_owned());
    for Need { names, why, optional } in needs(options, server) {
        if !names.iter().any(|name| has_globally(&lines, name)) {
            let severity = if optional { Severity::Warning } else { Severity::Error };
            let what = format!("the privilege {} is missing: {why}", names[0]);
            findings.push(Finding { severity, what, mend: format!("GRANT {} ON *.* TO {user};", names[0]) });
        }
    }
}

struct Need {
    /// Any one of them is enough; the first is the one to grant.
    names: &'static [&'static str],
    why: &'static str,
    optional: bool,
}

fn needs(options: &Options, server: &Server) -> Vec<Need> {
    let mut needs = vec![Need {
        names: if server.is_mariadb { &["REPLICATION SLAVE", "REPLICATION REPLICA"] } else { &["REPLICATION SLAVE"] },
        why: "the server sends its log to replicas only",
        optional: false,
    }];
    needs.push(Need {
        names: match server.is_mariadb {
            true => &["BINLOG MONITOR", "REPLICATION CLIENT"],
            false => &["REPLICATION CLIENT"],
        },
        why: "the end of the log cannot be asked for",
        optional: false,
    });
    if !server.is_mariadb {
        needs.push(Need {
            names: &["XA_RECOVER_ADMIN"],
            why: "XA transactions that are prepared at the first start cannot be seen, and would be missed",
            optional: true,
        });
    }
    // MariaDB says by itself where a consistent snapshot stands in its log.
    if options.snapshot != SnapshotMode::Never && !server.is_mariadb {
        needs.push(Need {
            names: &["LOCK TABLES"],
            why: "a snapshot locks a table without a key, and any table while GTIDs are off, for some milliseconds",
            optional: server.has_gtids(),
        });
    }
    needs
}

fn has_globally(lines: &[String], privilege: &str) -> bool {
    lines.iter().filter(|line| line.contains(" ON *.* ")).any(|line| {
        let granted = line.strip_prefix("GRANT ").and_then(|line| line.split(" ON *.* ").next()).unwrap_or_default();
        granted.split(',').map(str::trim).any(|name| name == privilege || name == "ALL PRIVILEGES" || name == "ALL")
    })
}

/// What the user may not read; answers whether there is anything.
fn denied_tables(options: &Options, connection: &mut Connection, findings: &mut Vec<Finding>) -> bool {
    let denied = match access::unreadable(connection, options.filter.wanted()) {
        Ok(denied) => denied,
        Err(error) => {
            warn(findings, format!("whether the tables may be read cannot be asked: {error}"), "");
            return false;
        }
    };
    let is_any = !denied.is_empty();
    for access::Unreadable { tables, mend } in denied {
        let what = format!("the user may not read {tables}: rows that exist already would be missed");
        findings.push(Finding { severity: Severity::Error, what, mend });
    }
    is_any
}

/// Tables that can be seen are tables that may be read in one way or another; what cannot be seen is not there for us.
fn tables(options: &Options, connection: &mut Connection, server: &Server, findings: &mut Vec<Finding>) {
    let result = match connection.query(
        "SELECT t.TABLE_SCHEMA AS d, t.TABLE_NAME AS t, EXISTS (SELECT 1 FROM information_schema.STATISTICS s WHERE \
         s.TABLE_SCHEMA = t.TABLE_SCHEMA AND s.TABLE_NAME = t.TABLE_NAME AND s.NON_UNIQUE = 0) AS k FROM \
         information_schema.TABLES t WHERE t.TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')",
    ) {
        Ok(result) => result,
        Err(error) => return warn(findings, format!("the tables cannot be listed: {error}"), ""),
    };
    let mut captured = 0;
    let mut keyless = Vec::new();
    for row in 0..result.rows.len() {
        let (Some(database), Some(table)) = (result.text(row, "d"), result.text(row, "t")) else { continue };
        if options.filter.captures(database, table) {
            captured += 1;
            if result.text(row, "k") == Some("0") {
                keyless.push(format!("{database}.{table}"));
            }
        }
    }
    if server.leaves_out_computed() {
        let computed = connection.query(
            "SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) AS t, TABLE_SCHEMA AS d, TABLE_NAME AS n FROM \
             information_schema.COLUMNS WHERE EXTRA LIKE '%GENERATED' GROUP BY 1, 2, 3",
        );
        let rows = computed.unwrap_or_default();
        let name = |row: usize| Some((rows.text(row, "t")?, rows.text(row, "d")?, rows.text(row, "n")?));
        let of_ours = (0..rows.rows.len()).filter_map(name).filter(|(_, d, n)| options.filter.captures(d, n));
        let names: Vec<&str> = of_ours.map(|(name, ..)| name).collect();
        if !names.is_empty() {
            warn(
                findings,
                format!(
                    "computed columns are left out, because the server logs them in inserts only: {}",
                    names.join(", ")
                ),
                "compute them where they are read, or make them ordinary columns",
            );
        }
    }
    let is_denied = denied_tables(options, connection, findings);
    if captured == 0 && !is_denied {
        let what = format!("no table that is captured exists on {} yet", server.title());
        warn(findings, what, "compare the names under `tables:` with SHOW TABLES");
    }
    if !keyless.is_empty() && !server.is_mariadb && options.snapshot != SnapshotMode::Never {
        warn(
            findings,
            format!("no unique key: {}; each is locked for some milliseconds when it is read", keyless.join(", ")),
            "ALTER TABLE … ADD PRIMARY KEY (…), or accept the lock",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_read_as_servers_print_them() {
        let lines = |lines: &[&str]| lines.iter().map(|line| line.to_uppercase()).collect::<Vec<_>>();
        let all = lines(&["GRANT ALL PRIVILEGES ON *.* TO `cdc`@`%` WITH GRANT OPTION"]);
        let some = lines(&[
            "GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `cdc`@`%`",
            "GRANT XA_RECOVER_ADMIN ON *.* TO `cdc`@`%`",
            "GRANT LOCK TABLES ON `shop`.* TO `cdc`@`%`",
        ]);
        for (lines, privilege, expected) in [
            (&all, "REPLICATION SLAVE", true),
            (&some, "REPLICATION SLAVE", true),
            (&some, "XA_RECOVER_ADMIN", true),
            (&some, "LOCK TABLES", false),
            (&some, "REPLICATION", false),
        ] {
            assert_eq!(has_globally(lines, privilege), expected, "{privilege}");
        }
    }
}
