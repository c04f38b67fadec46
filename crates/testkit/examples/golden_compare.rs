//! Compares records with a packed scenario: `golden_compare KIND/NAME RECORDS.jsonl`, RECORDS as `headwater topics dump`
//! writes them. Prints each difference and the counts; ends with status 1 when there is a difference.

use headwater_testkit::{Error, Result, golden};

fn main() -> Result {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ([id, file], Some((kind, name))) = (arguments.as_slice(), arguments.first().and_then(|id| id.split_once('/')))
    else {
        return Err(Error::new("usage: golden_compare KIND/NAME RECORDS.jsonl"));
    };
    let text = std::fs::read_to_string(file).map_err(|error| Error::new(format!("read {file}: {error}")))?;
    let scenario = golden::scenario(&golden::folder(), kind, name)?;
    let report = golden::compare(&scenario, &golden::Record::from_lines(&text)?, &[])?;
    report.differences.iter().for_each(|difference| println!("{difference}"));
    println!("{id}: {}", report.counts);
    std::process::exit(i32::from(!report.is_equal()))
}
