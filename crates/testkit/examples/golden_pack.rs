//! Packs captures for the repository: `golden_pack FOLDER… TARGET`, each FOLDER a database's captures (`…/mysql`, with a
//! folder for each scenario), TARGET `tests/golden`. Writes TARGET/mysql and so on. Never changes what it reads.

use headwater_testkit::{Error, Result, golden};
use std::path::PathBuf;

fn main() -> Result {
    let mut folders: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let target = folders.pop().filter(|_| !folders.is_empty());
    let target = target.ok_or_else(|| Error::new("usage: golden_pack FOLDER… TARGET"))?;
    for folder in folders {
        let kind = folder.file_name().ok_or_else(|| Error::new("a folder ends with the database's name"))?;
        let to = target.join(kind);
        std::fs::create_dir_all(&to).map_err(|error| Error::new(format!("make {}: {error}", to.display())))?;
        golden::pack(&folder, &to, |line| println!("{line}"))?;
    }
    Ok(())
}
