//! Which databases, tables and columns are captured.
//!
//! Invariant: the server's own databases are never captured, whatever a pattern says. Start at [`Filter::captures`].

/// The server's own databases.
const SYSTEM_DATABASES: [&str; 4] = ["mysql", "sys", "information_schema", "performance_schema"];

/// The validated choice.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    include: Vec<Pattern<2>>,
    exclude: Vec<Pattern<2>>,
    columns_include: Vec<Pattern<3>>,
    columns_exclude: Vec<Pattern<3>>,
}

/// Names of `N` parts, joined by dots, each with `*` (anything) and `?` (one character).
#[derive(Clone, Debug)]
struct Pattern<const N: usize>([String; N]);

/// A pattern cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {pattern:?} is not of the form {form}; put a name that contains a dot into `backquotes`")]
pub struct BadPattern {
    key: &'static str,
    pattern: String,
    form: &'static str,
}

impl Filter {
    /// Reads the patterns of a configuration. An empty `tables` means every table.
    pub fn new(
        tables: &[String],
        exclude_tables: &[String],
        columns: &[String],
        exclude_columns: &[String],
    ) -> Result<Self, BadPattern> {
        let include = match tables {
            [] => parse("tables", &["*.*".to_owned()])?,
            tables => parse("tables", tables)?,
        };
        Ok(Filter {
            include,
            exclude: parse("exclude_tables", exclude_tables)?,
            columns_include: parse("columns", columns)?,
            columns_exclude: parse("exclude_columns", exclude_columns)?,
        })
    }

    /// Whether the table's changes are wanted.
    pub fn captures(&self, database: &str, table: &str) -> bool {
        !is_system(database)
            && self.include.iter().any(|pattern| pattern.matches([database, table]))
            && !self.exclude.iter().any(|pattern| pattern.matches([database, table]))
    }

    /// Whether any table of the database could be wanted, now or after a rename.
    pub fn touches(&self, database: &str) -> bool {
        !is_system(database) && self.include.iter().any(|pattern| matches(&pattern.0[0], database))
    }

    /// The databases that [`Self::touches`] accepts, as a text that is the same for the same choice.
    pub fn scope(&self) -> String {
        let mut databases: Vec<&str> = self.include.iter().map(|pattern| pattern.0[0].as_str()).collect();
        databases.sort_unstable();
        databases.dedup();
        databases.join("\n")
    }

    /// What is wanted, as pairs of patterns of a database and a table.
    pub fn wanted(&self) -> impl Iterator<Item = [&str; 2]> {
        self.include.iter().map(|Pattern([database, table])| [&**database, &**table])
    }

    /// Whether the column is left out of the rows of a captured table. `columns` narrows only the tables it names.
    pub fn excludes_column(&self, database: &str, table: &str, column: &str) -> bool {
        let narrowed = || self.columns_include.iter().filter(|p| matches(&p.0[0], database) && matches(&p.0[1], table));
        (narrowed().next().is_some() && !narrowed().any(|pattern| matches(&pattern.0[2], column)))
            || self.columns_exclude.iter().any(|pattern| pattern.matches([database, table, column]))
    }
}

fn is_system(database: &str) -> bool {
    SYSTEM_DATABASES.iter().any(|name| name.eq_ignore_ascii_case(database))
}

fn parse<const N: usize>(key: &'static str, texts: &[String]) -> Result<Vec<Pattern<N>>, BadPattern> {
    let form = if N == 2 { "database.table" } else { "database.table.column" };
    let bad = |text: &String| BadPattern { key, pattern: text.clone(), form };
    texts.iter().map(|text| Pattern::parse(text).ok_or_else(|| bad(text))).collect()
}

impl<const N: usize> Pattern<N> {
    fn parse(text: &str) -> Option<Self> {
        let mut parts: [String; N] = std::array::from_fn(|_| String::new());
        let mut at = 0;
        let mut quoted = false;
        for c in text.trim().chars() {
            match c {
                '`' => quoted = !quoted,
                '.' if !quoted => at += 1,
                c => parts.get_mut(at)?.push(c),
            }
        }
        (!quoted && at == N - 1 && parts.iter().all(|part| !part.is_empty())).then_some(Pattern(parts))
    }

    fn matches(&self, names: [&str; N]) -> bool {
        self.0.iter().zip(names).all(|(pattern, name)| matches(pattern, name))
    }
}

/// Whether `name` fits `pattern`. Only the last `*` is tried again, so the work is at most the product of the lengths.
fn matches(pattern: &str, name: &str) -> bool {
    let (mut pattern, mut name) = (pattern, name);
    let mut retry: Option<(&str, &str)> = None;
    loop {
        if let Some(after) = pattern.strip_prefix('*') {
            retry = Some((after, name));
            pattern = after;
            continue;
        }
        let (mut p, mut n) = (pattern.chars(), name.chars());
        match (p.next(), n.next()) {
            (None, None) => return true,
            (Some(wanted), Some(seen)) if wanted == '?' || wanted == seen => {
                (pattern, name) = (p.as_str(), n.as_str());
                continue;
            }
            _ => {}
        }
        // The last star takes one more character.
        let Some((after, from)) = retry else { return false };
        let mut rest = from.chars();
        if rest.next().is_none() {
            return false;
        }
        retry = Some((after, rest.as_str()));
        (pattern, name) = (after, rest.as_str());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn globs_match_as_a_shell_would() {
        for (pattern, name, fits) in [
            ("*", "", true),
            ("*", "orders", true),
            ("or*", "orders", true),
            ("*rs", "orders", true),
            ("*r*r*", "orders", true),
            ("*r*r*r", "orders", false),
            ("o?ders", "orders", true),
            ("o?ders", "oders", false),
            ("orders", "Orders", false),
            ("größe*", "größen", true),
            ("", "a", false),
            ("a", "", false),
            ("a*b", "a", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn tables_are_included_then_excluded() {
        let filter = Filter::new(&texts(&["shop.*", "`a.b`.c"]), &texts(&["shop.tmp_*"]), &[], &[]).unwrap();
        for (database, table, captured) in
            [("shop", "orders", true), ("shop", "tmp_1", false), ("a.b", "c", true), ("other", "orders", false)]
        {
            assert_eq!(filter.captures(database, table), captured, "{database}.{table}");
        }
        assert!(filter.touches("shop") && !filter.touches("other"));
        let all = Filter::new(&[], &[], &[], &[]).unwrap();
        assert!(all.captures("x", "y") && !all.captures("mysql", "user") && !all.touches("sys"));
    }

    #[test]
    fn columns_are_narrowed_only_where_named() {
        let filter =
            Filter::new(&[], &[], &texts(&["shop.users.id", "shop.users.name"]), &texts(&["*.*.password"])).unwrap();
        for (table, column, excluded) in
            [("users", "id", false), ("users", "mail", true), ("orders", "mail", false), ("orders", "password", true)]
        {
            assert_eq!(filter.excludes_column("shop", table, column), excluded, "{table}.{column}");
        }
    }

    #[test]
    fn a_bad_pattern_is_named() {
        for bad in ["", "orders", "a.b.c", "a.", ".b", "`a.b"] {
            let error = Filter::new(&texts(&[bad]), &[], &[], &[]).unwrap_err().to_string();
            assert!(error.contains("database.table"), "{error}");
        }
    }
}
