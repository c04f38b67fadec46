//! Which databases, tables and columns are captured.
//!
//! A pattern is a name of parts joined by dots, each with `*` and `?`, or a regular expression between slashes, of Java's kind,
//! that has to fit the whole name. Invariant: the server's own databases are never captured, whatever a pattern says. Start at
//! [`Filter::captures`].

use headwater_format::pattern::Pattern as Expression;

/// What a configuration says of it. What is empty chooses everything, or leaves out nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choice<'a> {
    /// Databases (MySQL) or schemas (PostgreSQL) to capture.
    pub databases: &'a [String],
    /// Databases to leave out.
    pub exclude_databases: &'a [String],
    /// Tables to capture.
    pub tables: &'a [String],
    /// Tables to leave out.
    pub exclude_tables: &'a [String],
    /// Columns to capture, of the tables that they name.
    pub columns: &'a [String],
    /// Columns to leave out.
    pub exclude_columns: &'a [String],
}

/// The validated choice.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    system: &'static [&'static str],
    databases: Vec<Pattern<1>>,
    exclude_databases: Vec<Pattern<1>>,
    tables: Vec<Pattern<2>>,
    exclude_tables: Vec<Pattern<2>>,
    columns: Vec<Pattern<3>>,
    exclude_columns: Vec<Pattern<3>>,
}

/// A choice of names that have one part, whatever is in it.
#[derive(Clone, Debug, Default)]
pub struct Names {
    include: Vec<Pattern<1>>,
    exclude: Vec<Pattern<1>>,
}

/// Fits names of `N` parts.
#[derive(Clone, Debug)]
enum Pattern<const N: usize> {
    /// Each part with `*` (anything) and `?` (one character).
    Parts([String; N]),
    /// The parts joined by dots.
    Regex(Expression),
}

/// A pattern cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {pattern:?} {fault}")]
pub struct BadPattern {
    key: &'static str,
    pattern: String,
    fault: String,
}

impl BadPattern {
    /// The same, of the setting `key`.
    pub fn under(self, key: &'static str) -> Self {
        BadPattern { key, ..self }
    }
}

impl Names {
    /// Reads the patterns of two settings: what is wanted, all of them when empty, and what is not.
    pub fn new(include: (&'static str, &[String]), exclude: (&'static str, &[String])) -> Result<Self, BadPattern> {
        let one = |key, text: &String| match text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) {
            Some(expression) if !expression.is_empty() => {
                Pattern::regex(expression).map_err(|fault| BadPattern { key, pattern: text.clone(), fault })
            }
            _ => Ok(Pattern::Parts([text.clone()])),
        };
        let all = |(key, texts): (_, &[String])| -> Result<Vec<_>, BadPattern> {
            texts.iter().map(|text| one(key, text)).collect()
        };
        Ok(Names { include: all(include)?, exclude: all(exclude)? })
    }

    /// Whether the name is wanted.
    pub fn takes(&self, name: &str) -> bool {
        (self.include.is_empty() || any(&self.include, [name])) && !any(&self.exclude, [name])
    }
}

impl Filter {
    /// Reads the patterns of a configuration. `system`: the server's own databases.
    pub fn new(choice: Choice<'_>, system: &'static [&'static str]) -> Result<Self, BadPattern> {
        Ok(Filter {
            system,
            databases: parse("databases", choice.databases)?,
            exclude_databases: parse("exclude_databases", choice.exclude_databases)?,
            tables: parse("tables", choice.tables)?,
            exclude_tables: parse("exclude_tables", choice.exclude_tables)?,
            columns: parse("columns", choice.columns)?,
            exclude_columns: parse("exclude_columns", choice.exclude_columns)?,
        })
    }

    /// Whether the table's changes are wanted.
    pub fn captures(&self, database: &str, table: &str) -> bool {
        self.captures_database(database)
            && (self.tables.is_empty() || any(&self.tables, [database, table]))
            && !any(&self.exclude_tables, [database, table])
    }

    /// The place of the first pattern of tables that fits: tables are read in the order in which they are named.
    pub fn place(&self, database: &str, table: &str) -> usize {
        self.tables.iter().position(|pattern| pattern.fits([database, table])).unwrap_or(self.tables.len())
    }

    /// Whether any table of the database could be wanted, now or after a rename.
    pub fn touches(&self, database: &str) -> bool {
        let could = |pattern: &Pattern<2>| match pattern {
            Pattern::Parts([of, _]) => matches(of, database),
            Pattern::Regex(_) => true,
        };
        self.captures_database(database) && (self.tables.is_empty() || self.tables.iter().any(could))
    }

    fn captures_database(&self, database: &str) -> bool {
        !self.system.iter().any(|name| name.eq_ignore_ascii_case(database))
            && (self.databases.is_empty() || any(&self.databases, [database]))
            && !any(&self.exclude_databases, [database])
    }

    /// The databases that [`Self::touches`] accepts, as a text that is the same for the same choice.
    pub fn scope(&self) -> String {
        let mut scope: Vec<String> = match &self.tables[..] {
            [] => vec!["*".to_owned()],
            tables => tables.iter().map(|pattern| pattern.database().to_owned()).collect(),
        };
        scope.sort_unstable();
        scope.dedup();
        // Said apart from the tables, so that a choice without databases reads as it always did.
        scope.extend(self.databases.iter().map(|pattern| format!("in {}", pattern.text())));
        scope.extend(self.exclude_databases.iter().map(|pattern| format!("not in {}", pattern.text())));
        scope.join("\n")
    }

    /// The whole choice of tables, as a text that is the same for the same choice.
    pub fn choice(&self) -> String {
        fn all<const N: usize>(what: &str, patterns: &[Pattern<N>], into: &mut Vec<String>) {
            into.extend(patterns.iter().map(|pattern| format!("{what} {}", pattern.text())));
        }
        let mut choice = Vec::new();
        all("in", &self.databases, &mut choice);
        all("not in", &self.exclude_databases, &mut choice);
        all("table", &self.tables, &mut choice);
        all("not table", &self.exclude_tables, &mut choice);
        choice.sort_unstable();
        choice.join("\n")
    }

    /// What is wanted, as pairs of patterns of a database and a table. They may fit more than is captured where regular
    /// expressions choose.
    pub fn wanted(&self) -> impl Iterator<Item = [&str; 2]> {
        let databases: Vec<&str> = match &self.databases[..] {
            [] => vec!["*"],
            databases => databases.iter().map(Pattern::database).collect(),
        };
        let pairs: Vec<[&str; 2]> = match &self.tables[..] {
            [] => databases.iter().map(|&database| [database, "*"]).collect(),
            tables => tables
                .iter()
                .flat_map(|pattern| match pattern {
                    Pattern::Parts([database, table]) => vec![[&**database, &**table]],
                    Pattern::Regex(_) => databases.iter().map(|&database| [database, "*"]).collect(),
                })
                .collect(),
        };
        pairs.into_iter()
    }

    /// Whether the column is left out of the rows of a captured table. `columns` narrows only the tables it names.
    pub fn excludes_column(&self, database: &str, table: &str, column: &str) -> bool {
        let names = [database, table, column];
        let names_table = |pattern: &&Pattern<3>| match pattern {
            Pattern::Parts([of, named, _]) => matches(of, database) && matches(named, table),
            // A regular expression cannot be asked for a table alone: it narrows every table, as Debezium's do.
            Pattern::Regex(_) => true,
        };
        let narrowed = || self.columns.iter().filter(names_table);
        (narrowed().next().is_some() && !narrowed().any(|pattern| pattern.fits(names)))
            || any(&self.exclude_columns, names)
    }
}

fn any<const N: usize>(patterns: &[Pattern<N>], names: [&str; N]) -> bool {
    patterns.iter().any(|pattern| pattern.fits(names))
}

fn parse<const N: usize>(key: &'static str, texts: &[String]) -> Result<Vec<Pattern<N>>, BadPattern> {
    let bad = |text: &String, fault| BadPattern { key, pattern: text.clone(), fault };
    texts.iter().map(|text| Pattern::parse(text).map_err(|fault| bad(text, fault))).collect()
}

impl<const N: usize> Pattern<N> {
    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        match text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) {
            Some(expression) if !expression.is_empty() => Self::regex(expression),
            _ => Self::parts(text).ok_or_else(|| {
                let form = ["database", "database.table", "database.table.column"][(N - 1).min(2)];
                format!(
                    "is not of the form {form}; put a name that contains a dot into `backquotes`, a regular \
                     expression between slashes"
                )
            }),
        }
    }

    /// An expression that has to fit the whole name, upper and lower case alike.
    fn regex(expression: &str) -> Result<Self, String> {
        let built = Expression::new(expression, true);
        built.map(Pattern::Regex).map_err(|why| format!("is no regular expression that can be used here: {why}"))
    }

    fn parts(text: &str) -> Option<Self> {
        let mut parts: [String; N] = std::array::from_fn(|_| String::new());
        let mut at = 0;
        let mut quoted = false;
        for c in text.chars() {
            match c {
                '`' => quoted = !quoted,
                '.' if !quoted => at += 1,
                c => parts.get_mut(at)?.push(c),
            }
        }
        (!quoted && at == N - 1 && parts.iter().all(|part| !part.is_empty())).then_some(Pattern::Parts(parts))
    }

    fn fits(&self, names: [&str; N]) -> bool {
        match self {
            Pattern::Parts(parts) => parts.iter().zip(names).all(|(pattern, name)| matches(pattern, name)),
            Pattern::Regex(regex) => regex.is_match(&names.join(".")),
        }
    }

    /// The pattern of the database alone.
    fn database(&self) -> &str {
        match self {
            Pattern::Parts(parts) => &parts[0],
            Pattern::Regex(_) => "*",
        }
    }

    fn text(&self) -> String {
        match self {
            Pattern::Parts(parts) => parts.join("."),
            Pattern::Regex(regex) => format!("^(?:{})$", regex.text()),
        }
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
#[path = "filter_tests.rs"]
mod tests;
