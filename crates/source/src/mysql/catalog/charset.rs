//! Names of character sets, as DDL writes them.
//!
//! Only names and widths live here; decoding text is `decode`'s. Invariant: a name that leaves this module is canonical
//! (`utf8` has become `utf8mb3`) and in lower case.

/// Every character set of either server, with the most bytes that one character takes.
const CHARSETS: &[(&str, u32)] = &[
    ("armscii8", 1),
    ("ascii", 1),
    ("big5", 2),
    ("binary", 1),
    ("cp1250", 1),
    ("cp1251", 1),
    ("cp1256", 1),
    ("cp1257", 1),
    ("cp850", 1),
    ("cp852", 1),
    ("cp866", 1),
    ("cp932", 2),
    ("dec8", 1),
    ("eucjpms", 3),
    ("euckr", 2),
    ("gb18030", 4),
    ("gb2312", 2),
    ("gbk", 2),
    ("geostd8", 1),
    ("greek", 1),
    ("hebrew", 1),
    ("hp8", 1),
    ("keybcs2", 1),
    ("koi8r", 1),
    ("koi8u", 1),
    ("latin1", 1),
    ("latin2", 1),
    ("latin5", 1),
    ("latin7", 1),
    ("macce", 1),
    ("macroman", 1),
    ("sjis", 2),
    ("swe7", 1),
    ("tis620", 1),
    ("ucs2", 2),
    ("ujis", 3),
    ("utf16", 4),
    ("utf16le", 4),
    ("utf32", 4),
    ("utf8mb3", 3),
    ("utf8mb4", 4),
];

/// The canonical name of a character set; unknown names are only lower-cased.
pub(crate) fn canonical(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    if name == "utf8" { "utf8mb3".to_owned() } else { name }
}

/// The character set of a collation. `None` for `DEFAULT` and for MariaDB's collations without one (`uca1400_ai_ci`),
/// which keep the character set of their surroundings.
pub(crate) fn of_collation(collation: &str) -> Option<String> {
    let prefix = canonical(collation.split('_').next().unwrap_or_default());
    CHARSETS.iter().any(|(name, _)| *name == prefix).then_some(prefix)
}

/// The most bytes that one character takes; 1 for an unknown character set.
pub(crate) fn bytes_per_character(name: &str) -> u32 {
    CHARSETS.iter().find(|(known, _)| *known == name).map_or(1, |(_, bytes)| *bytes)
}

#[cfg(test)]
mod tests {
    use super::of_collation;

    #[test]
    fn collations() {
        let cases = [
            ("utf8mb4_0900_ai_ci", Some("utf8mb4")),
            ("utf8_general_ci", Some("utf8mb3")),
            ("LATIN1_bin", Some("latin1")),
            ("binary", Some("binary")),
            ("uca1400_ai_ci", None),
            ("default", None),
        ];
        for (collation, charset) in cases {
            assert_eq!(of_collation(collation).as_deref(), charset, "{collation}");
        }
    }
}
