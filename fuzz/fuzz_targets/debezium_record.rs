//! Any text as a record of Debezium: an error, or a change that makes records again.
#![no_main]

use headwater_format::debezium::options::Connector;
use headwater_format::debezium::{Options, Place, Records, Rendering, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, &[u8], &[u8])| {
    let (postgres, key, value) = input;
    let connector = if postgres { Connector::Postgresql } else { Connector::Mysql };
    let options = Options { prefix: "shop".into(), connector, ..Options::default() };
    let Ok(event) = parse::event(Some(key), value, None, &options) else { return };
    let Ok(rendering) = Rendering::new(options) else { return };
    let Some(change) = event.change() else { return };
    let header = event.header();
    let mut out = Records::default();
    rendering.table_of(&event).records(&change, &mut Place { header: &header, order: event.order }, &mut out);
});
