//! The fastest reader of MySQL's log that was found, decoding a backlog to nothing: `URL FILE POSITION ROWS`.
//!
//! Invariant: it does nothing with a row but count it, and ends with the row that completes the count, so that its wall
//! and processor time, which the parent takes, are the crate's alone.

use mysql_binlog_connector_rust::binlog_client::{BinlogClient, StartPosition};
use mysql_binlog_connector_rust::event::event_data::EventData;

/// Our number among the server's replicas; Headwater and the other readers use others.
const SERVER_ID: u64 = 4_713;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, file, position, rows] = arguments.as_slice() else {
        eprintln!("usage: headwater-bench-peers URL FILE POSITION ROWS");
        std::process::exit(2);
    };
    let (Ok(position), Ok(rows)) = (position.parse(), rows.parse()) else {
        eprintln!("POSITION and ROWS are numbers");
        std::process::exit(2);
    };
    let start = StartPosition::BinlogPosition(file.clone(), position);
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let read = runtime.map_err(|error| error.to_string()).and_then(|runtime| runtime.block_on(read(url, start, rows)));
    if let Err(error) = read {
        eprintln!("headwater-bench-peers: {error}");
        std::process::exit(1);
    }
    // Without the goodbyes: the parent stops its clock when this process ends.
    std::process::exit(0);
}

async fn read(url: &str, start: StartPosition, rows: u64) -> Result<(), String> {
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
