//! Whatever the text, following it never panics, and every definition that results can be stored and used.

use proptest::prelude::*;

use super::fuzz_ddl;

/// Statements to mutate: one of every kind, with the awkward parts of the grammar.
const SEEDS: &[&str] = &[
    "CREATE TABLE a (id INT UNSIGNED NOT NULL AUTO_INCREMENT COMMENT 'x, y)', e ENUM('a','it''s') DEFAULT 'a', \
     d DECIMAL(10,2) DEFAULT -1.5 CHECK (d > 0), PRIMARY KEY (id), UNIQUE KEY u (e(3), d)) DEFAULT CHARSET=gbk",
    "CREATE OR REPLACE TABLE h (x LONGTEXT CHECK (json_valid(`x`)), p BLOB UNIQUE, s TIMESTAMP(6) AS ROW START, \
     e TIMESTAMP(6) AS ROW END, PERIOD FOR SYSTEM_TIME (s, e)) WITH SYSTEM VERSIONING",
    "ALTER TABLE t ADD COLUMN (x TEXT(99) COLLATE utf16_bin, UNIQUE (x(2))), MODIFY a VARCHAR(70000) AFTER id, \
     CHANGE b c CHAR(5) BYTE FIRST, DROP PRIMARY KEY, ALTER a SET DEFAULT (1 + 2), RENAME COLUMN id TO di",
    "ALTER TABLE t CONVERT TO CHARACTER SET utf32, ADD SYSTEM VERSIONING, ORDER BY a",
    "RENAME TABLE t TO u, u TO `v``w`",
    "CREATE TABLE l LIKE t /*!50100 PARTITION BY HASH (id) */",
    "CREATE UNIQUE INDEX i USING BTREE ON t (a(3), b) COMMENT 'x'",
    "DROP TABLE IF EXISTS a, `t` /* generated */",
    "CREATE DATABASE d2 DEFAULT CHARACTER SET = 'utf8' COLLATE utf8_bin",
];

/// A seed with pieces cut out, doubled, or replaced by other text.
fn mutated() -> impl Strategy<Value = String> {
    let edit = (
        any::<prop::sample::Index>(),
        0..12usize,
        prop_oneof![Just(String::new()), "[(),'`\"/*!#.=@ -]{1,3}", ".{0,4}"],
    );
    (prop::sample::select(SEEDS), prop::collection::vec(edit, 1..6)).prop_map(|(seed, edits)| {
        let mut text: Vec<char> = seed.chars().collect();
        for (at, length, with) in edits {
            let at = at.index(text.len() + 1);
            let end = (at + length).min(text.len());
            text.splice(at..end, with.chars());
        }
        text.into_iter().collect()
    })
}

proptest! {
    #[test]
    fn arbitrary_text(text in "\\PC{0,200}") {
        fuzz_ddl(&text);
    }

    #[test]
    fn mutated_statements(statements in prop::collection::vec(mutated(), 1..5)) {
        fuzz_ddl(&statements.join("\n"));
    }
}
