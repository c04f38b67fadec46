//! The fastest readers of a log that were found, reading a backlog to nothing, as a process of their own:
//! `mysql URL FILE POSITION ROWS` decodes rows, `postgres PORT USER SLOT PUBLICATION ROWS` reads frames alone.
//!
//! Invariant: it does nothing with a row but count it, and ends with the row that completes the count, so that its wall
//! and processor time, which the parent takes, are the crate's alone.

use mysql_binlog_connector_rust::binlog_client::{BinlogClient, StartPosition};
use mysql_binlog_connector_rust::event::event_data::EventData;
use pgwire_replication::client::ReplicationEvent;
use pgwire_replication::{ReplicationClient, ReplicationConfig, TlsConfig};
use std::str::FromStr;

/// Our number among the server's replicas; Headwater and the other readers use others.
const SERVER_ID: u64 = 4_713;
/// How pgoutput's message of a new row begins.
const INSERT: u8 = b'I';

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let read = runtime.map_err(|error| error.to_string()).and_then(|runtime| runtime.block_on(read(&arguments)));
    if let Err(error) = read {
        eprintln!("headwater-bench-peers: {error}");
        std::process::exit(1);
    }
    // Without the goodbyes: the parent stops its clock when this process ends.
    std::process::exit(0);
}

async fn read(arguments: &[&str]) -> Result<(), String> {
    match arguments {
        ["mysql", url, file, position, rows] => {
            let start = StartPosition::BinlogPosition((*file).to_owned(), number(position)?);
            read_mysql(url, start, number(rows)?).await
        }
        ["postgres", port, user, slot, publication, rows] => {
            let config = ReplicationConfig::new("127.0.0.1", *user, "", "postgres", *slot, *publication)
                .with_port(number(port)?)
                .with_tls(TlsConfig::disabled());
            read_postgres(config, number(rows)?).await
        }
        _ => Err("usage: mysql URL FILE POSITION ROWS | postgres PORT USER SLOT PUBLICATION ROWS".to_owned()),
    }
}

fn number<N: FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("{text} is no number"))
}

async fn read_mysql(url: &str, start: StartPosition, rows: u64) -> Result<(), String> {
    let mut client = BinlogClient::new(url, SERVER_ID, start);
    let mut stream = client.connect().await.map_err(|error| error.to_string())?;
    let mut seen = 0;
    while seen < rows {
        let (_, event) = stream.read().await.map_err(|error| error.to_string())?;
        if let EventData::WriteRows(event) = event {
            seen += event.rows.len() as u64;
        }
    }
    Ok(())
}

async fn read_postgres(config: ReplicationConfig, rows: u64) -> Result<(), String> {
    let mut client = ReplicationClient::connect(config).await.map_err(|error| error.to_string())?;
    let mut seen = 0;
    while seen < rows {
        match client.recv().await.map_err(|error| error.to_string())? {
            Some(ReplicationEvent::XLogData { data, .. }) => seen += u64::from(data.first() == Some(&INSERT)),
            Some(_) => {}
            None => return Err("the server ended the stream".to_owned()),
        }
    }
    Ok(())
}
