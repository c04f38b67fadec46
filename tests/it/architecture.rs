//! The shape of the repository, checked as a test: which crate may depend on which, and what every file must look like.
//!
//! Invariant: a rule that is written in ARCHITECTURE.md or CONTRIBUTING.md and can be checked is checked here. Start at
//! [`ALLOWED`].

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What each crate may use of ours, outside tests. What is not here is forbidden.
const ALLOWED: &[(&str, &[&str])] = &[
    ("headwater-model", &[]),
    ("headwater-journal", &[]),
    ("headwater-format", &["headwater-model"]),
    ("headwater-source", &["headwater-format", "headwater-model"]),
    ("headwater-sink", &["headwater-format", "headwater-model"]),
    ("headwater-store", &["headwater-model"]),
    ("headwater-view", &["headwater-model"]),
    (
        "headwater-engine",
        &["headwater-model", "headwater-format", "headwater-journal", "headwater-store", "headwater-view"],
    ),
    ("headwater-serve", &["headwater-engine", "headwater-format"]),
    ("headwater-testkit", &[]),
];

/// Crates at the top, which may use everything.
const TOPS: &[&str] = &["headwater", "headwater-bench", "headwater-shop-demo"];

/// Lines of one source file.
const FILE_LINES_MAX: usize = 600;

/// Words that name nothing: a file or module is called after what it holds.
const EMPTY_NAMES: &[&str] = &["utils", "util", "helpers", "helper", "common", "manager", "misc"];

/// Macros that leave work undone, built from parts so that this file does not hold them.
const UNFINISHED: &[&str] = &[concat!("todo", "!("), concat!("unimplemented", "!("), concat!("#[ign", "ore")];

/// What belongs to one machine and not to the project.
const FOREIGN: &[&str] = &[concat!("/wo", "rk/"), concat!("/var/", "tmp"), concat!("/ho", "me/")];

fn root() -> PathBuf {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_folder.ancestors().nth(2).expect("the repository").to_path_buf()
}

#[test]
fn no_crate_depends_on_what_it_must_not_know() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let mut faults = Vec::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let name = package["name"].as_str().expect("a name");
        if TOPS.contains(&name) {
            continue;
        }
        let Some(may) = allowed.get(name) else {
            faults.push(format!("{name} is a new crate: say in tests/it/architecture.rs what it may use"));
            continue;
        };
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let other = dependency["name"].as_str().expect("a name");
            let for_tests = dependency["kind"] == "dev";
            if other.starts_with("headwater") && !for_tests && !may.contains(&other) {
                faults.push(format!("{name} must not depend on {other}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Every file below `folder` that ends with `extension`, as path from the root and text.
fn files(folder: &Path, extension: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            if path.is_dir() && !hidden && entry.file_name() != "target" {
                folders.push(path);
            } else if path.extension().is_some_and(|seen| seen == extension) {
                let text = std::fs::read_to_string(&path).expect("readable text");
                found.push((path.strip_prefix(root()).expect("below the root").to_path_buf(), text));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn every_source_file_says_what_it_is_and_keeps_within_its_limits() {
    let mut faults = Vec::new();
    for (path, text) in files(&root(), "rs") {
        let name = path.display();
        if !text.starts_with("//!") {
            faults.push(format!("{name} does not open with //!"));
        }
        if text.lines().count() > FILE_LINES_MAX {
            faults.push(format!("{name} has more than {FILE_LINES_MAX} lines"));
        }
        let parts = path.iter().map(|part| part.to_string_lossy().trim_end_matches(".rs").to_string());
        if let Some(part) = parts.into_iter().find(|part| EMPTY_NAMES.contains(&part.as_str())) {
            faults.push(format!("{name}: `{part}` says nothing of what it holds"));
        }
        if let Some(word) = UNFINISHED.iter().find(|word| text.contains(**word)) {
            faults.push(format!("{name} holds {word}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn nothing_speaks_of_the_machine_it_was_written_on() {
    let mut faults = Vec::new();
    for extension in ["rs", "md", "toml", "yaml", "yml", "json", "sh"] {
        for (path, text) in files(&root(), extension) {
            for word in FOREIGN.iter().filter(|word| text.contains(**word)) {
                faults.push(format!("{} holds {word}", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_make_target_that_is_named_exists() {
    let makefile = std::fs::read_to_string(root().join("Makefile")).expect("the Makefile");
    let targets: Vec<&str> = makefile
        .lines()
        .filter(|line| !line.starts_with(['\t', ' ', '#', '.']))
        .filter_map(|line| line.split_once(':').filter(|(_, rest)| !rest.starts_with('=')).map(|(name, _)| name))
        .flat_map(str::split_whitespace)
        .collect();
    let mut faults = Vec::new();
    for (path, text) in files(&root(), "md") {
        for words in code(&text) {
            let named = words.windows(2).filter(|pair| pair[0] == "make").map(|pair| pair[1]);
            for name in named.filter(|name| !targets.contains(name)) {
                faults.push(format!("{}: there is no target `{name}`", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The words of every piece of code in a page: what stands between backticks, and the lines of blocks up to a comment.
fn code(page: &str) -> Vec<Vec<&str>> {
    let mut found = Vec::new();
    let mut in_block = false;
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if in_block {
            found.push(line.split_whitespace().take_while(|word| !word.starts_with('#')).collect());
        } else {
            found.extend(line.split('`').skip(1).step_by(2).map(|span| span.split_whitespace().collect()));
        }
    }
    found
}

#[test]
fn every_link_between_the_pages_leads_somewhere() {
    let mut faults = Vec::new();
    for (path, text) in files(&root(), "md") {
        for target in text.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(target, _)| target)) {
            let file = target.split('#').next().unwrap_or_default();
            let elsewhere = file.is_empty() || file.contains("://") || file.contains(' ');
            let folder = root().join(path.parent().expect("a folder"));
            if !elsewhere && !folder.join(file).exists() {
                faults.push(format!("{}: {target} is not there", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
