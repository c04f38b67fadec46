//! Statements about tables and databases, from text to what they ask for.
//!
//! Everything else is [`Statement::NotTables`], known by its first words, without reading on. Invariant: a parser here
//! either understands what a statement does to columns and keys, or fails; it never guesses. Start at [`parse`].

use super::alter;
use super::column::WrittenColumn;
use super::create;
use super::cursor::{Cursor, Parsed, SyntaxError, WrittenName};
use super::lexer::{Dialect, Lexer, TokenKind};
use super::table::{Key, KeyPart, Period};
use super::types::Context;

#[derive(Clone, Debug)]
pub(crate) enum Statement {
    NotTables,
    CreateTable(CreateTable),
    AlterTable { table: WrittenName, actions: Vec<Action> },
    RenameTables(Vec<(WrittenName, WrittenName)>),
    DropTables(Vec<WrittenName>),
    TruncateTable(WrittenName),
    CreateDatabase { name: String, charset: Option<String>, if_not_exists: bool },
    AlterDatabase { name: Option<String>, charset: Option<String> },
    DropDatabase(String),
}

#[derive(Clone, Debug)]
pub(crate) struct CreateTable {
    pub table: WrittenName,
    pub if_not_exists: bool,
    pub body: CreateBody,
}

#[derive(Clone, Debug)]
pub(crate) enum CreateBody {
    Definition(Definition),
    Like(WrittenName),
    Sequence,
}

/// What stands between the parentheses of CREATE TABLE, and the options behind them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Definition {
    pub columns: Vec<WrittenColumn>,
    pub keys: Vec<Key>,
    pub periods: Vec<Period>,
    pub options: TableOptions,
}

/// The options that matter here.
#[derive(Clone, Debug, Default)]
pub(crate) struct TableOptions {
    pub charset: Option<String>,
    pub versioned: bool,
    pub sequence: bool,
}

/// One action of ALTER TABLE.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    AddColumn {
        column: WrittenColumn,
        place: Place,
        if_not_exists: bool,
    },
    /// MODIFY and CHANGE.
    ChangeColumn {
        old: String,
        column: WrittenColumn,
        place: Place,
        if_exists: bool,
    },
    DropColumn {
        column: String,
        if_exists: bool,
    },
    RenameColumn {
        old: String,
        new: String,
        if_exists: bool,
    },
    SetDefault {
        column: String,
        default: Option<String>,
    },
    SetHidden {
        column: String,
        hidden: bool,
    },
    /// One whose name is taken is left out: the server accepts that with IF NOT EXISTS alone.
    AddKey(Key),
    /// An index, or a constraint that may be one.
    DropKey(String),
    RenameKey {
        old: String,
        new: String,
    },
    AddPeriod(Period),
    DropPeriod(String),
    RenameTable(WrittenName),
    Convert {
        charset: Option<String>,
    },
    DefaultCharset {
        charset: Option<String>,
    },
    Versioning(bool),
    /// A partition becomes a table of the same shape.
    PartitionToTable(WrittenName),
    /// A table becomes a partition.
    TableToPartition(WrittenName),
    /// Rows come or go by partition or tablespace, without row events.
    MoveRows,
}

/// Where a column goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Where it was, or at the end.
    Unsaid,
    First,
    After(String),
}

/// What a statement is about, when it cannot be understood.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub kind: &'static str,
    pub tables: Vec<WrittenName>,
    pub error: SyntaxError,
}

/// Words that may stand between CREATE, ALTER or DROP and the kind of object.
const ADORNMENTS: &[&str] =
    &["OR", "REPLACE", "ONLINE", "OFFLINE", "IGNORE", "UNIQUE", "FULLTEXT", "SPATIAL", "VECTOR"];
/// So many words tell what a statement is about.
const HEAD_WORDS: usize = 8;

/// Where MariaDB's `SET STATEMENT variable = value … FOR` ends and the statement itself begins; 0 without it.
fn statement_start(text: &str, dialect: Dialect) -> usize {
    let mut tokens = Lexer::new(text, dialect);
    let mut is = |word: &str| {
        let kind = tokens.next().map(|token| token.kind);
        matches!(kind, Some(TokenKind::Word(found)) if found.eq_ignore_ascii_case(word))
    };
    if !is("SET") || !is("STATEMENT") {
        return 0;
    }
    let for_word = tokens.find(|token| matches!(token.kind, TokenKind::Word(word) if word.eq_ignore_ascii_case("FOR")));
    for_word.map_or(0, |token| token.end)
}

/// The kind of statement that begins like this, or `None` when no table is concerned.
pub(crate) fn kind(text: &str, dialect: Dialect) -> Option<&'static str> {
    let text = &text[statement_start(text, dialect)..];
    let mut words = Lexer::new(text, dialect).take(HEAD_WORDS).map(|token| match token.kind {
        TokenKind::Word(word) => word.to_ascii_uppercase(),
        _ => String::new(),
    });
    let verb = words.next()?;
    if verb == "TRUNCATE" {
        return Some("TRUNCATE TABLE");
    }
    let object = words.find(|word| !ADORNMENTS.contains(&word.as_str()))?;
    Some(match (verb.as_str(), object.as_str()) {
        ("CREATE", "TABLE") => "CREATE TABLE",
        ("CREATE", "SEQUENCE") => "CREATE SEQUENCE",
        ("CREATE", "INDEX") => "CREATE INDEX",
        ("CREATE", "DATABASE" | "SCHEMA") => "CREATE DATABASE",
        ("ALTER", "TABLE") => "ALTER TABLE",
        ("ALTER", "DATABASE" | "SCHEMA") => "ALTER DATABASE",
        ("DROP", "TABLE" | "TABLES") => "DROP TABLE",
        ("DROP", "SEQUENCE") => "DROP SEQUENCE",
        ("DROP", "INDEX") => "DROP INDEX",
        ("DROP", "DATABASE" | "SCHEMA") => "DROP DATABASE",
        ("RENAME", "TABLE" | "TABLES") => "RENAME TABLE",
        _ => return None,
    })
}

/// Reads one statement.
pub(crate) fn parse(text: &str, context: Context<'_>) -> Result<Statement, Failure> {
    let dialect = Dialect::new(context.server, context.session);
    let Some(kind) = kind(text, dialect) else { return Ok(Statement::NotTables) };
    let start = statement_start(text, dialect);
    let mut cursor = Cursor::new(&text[start..], dialect);
    let mut tables = Vec::new();
    let parsed = parse_kind(&mut cursor, context, kind, &mut tables);
    parsed.map_err(|SyntaxError { expected, position }| {
        let error = SyntaxError { expected, position: position + start };
        Failure { kind, tables, error }
    })
}

fn parse_kind(
    cursor: &mut Cursor<'_>,
    context: Context<'_>,
    kind: &'static str,
    tables: &mut Vec<WrittenName>,
) -> Parsed<Statement> {
    cursor.step();
    let replace = cursor.eat(&["OR", "REPLACE"]);
    if kind == "TRUNCATE TABLE" {
        cursor.eat_any(&["TABLE"]);
        return Ok(Statement::TruncateTable(named(cursor, tables)?));
    }
    let mut unique = false;
    while cursor.sees_any(ADORNMENTS) {
        unique |= cursor.sees_any(&["UNIQUE"]);
        cursor.step();
    }
    cursor.step();
    let conditional = cursor.eat_if_exists();
    match kind {
        "CREATE TABLE" => create::parse_create(cursor, context, conditional, tables),
        "CREATE SEQUENCE" => {
            let table = named(cursor, tables)?;
            Ok(Statement::CreateTable(CreateTable { table, if_not_exists: conditional, body: CreateBody::Sequence }))
        }
        "CREATE INDEX" => create::parse_index(cursor, unique, replace, tables),
        "DROP INDEX" => {
            let name = cursor.name()?;
            if !cursor.eat_any(&["ON"]) {
                return cursor.expected("ON");
            }
            Ok(Statement::AlterTable { table: named(cursor, tables)?, actions: vec![Action::DropKey(name)] })
        }
        "ALTER TABLE" => {
            let table = named(cursor, tables)?;
            Ok(Statement::AlterTable { table, actions: alter::parse_actions(cursor, context)? })
        }
        "DROP TABLE" | "DROP SEQUENCE" => parse_list(cursor, tables).map(Statement::DropTables),
        "RENAME TABLE" => parse_rename(cursor, tables),
        "DROP DATABASE" => Ok(Statement::DropDatabase(cursor.name()?)),
        "CREATE DATABASE" => {
            let name = cursor.name()?;
            let charset = parse_database_options(cursor)?;
            Ok(Statement::CreateDatabase { name, charset, if_not_exists: conditional })
        }
        _ => {
            let options = ["CHARACTER", "CHARSET", "COLLATE", "DEFAULT", "COMMENT", "ENCRYPTION", "READ", "UPGRADE"];
            let name = if cursor.sees_any(&options) { None } else { Some(cursor.name()?) };
            Ok(Statement::AlterDatabase { name, charset: parse_database_options(cursor)? })
        }
    }
}

/// A table's name, noted for the error should one follow.
pub(crate) fn named(cursor: &mut Cursor<'_>, tables: &mut Vec<WrittenName>) -> Parsed<WrittenName> {
    let table = cursor.table()?;
    tables.push(table.clone());
    Ok(table)
}

fn parse_list(cursor: &mut Cursor<'_>, tables: &mut Vec<WrittenName>) -> Parsed<Vec<WrittenName>> {
    loop {
        named(cursor, tables)?;
        if !cursor.eat_symbol(b',') {
            return Ok(tables.clone());
        }
    }
}

fn parse_rename(cursor: &mut Cursor<'_>, tables: &mut Vec<WrittenName>) -> Parsed<Statement> {
    let mut renames = Vec::new();
    loop {
        let from = named(cursor, tables)?;
        skip_wait(cursor)?;
        if !cursor.eat_any(&["TO"]) {
            return cursor.expected("TO");
        }
        renames.push((from, named(cursor, tables)?));
        if !cursor.eat_symbol(b',') {
            return Ok(Statement::RenameTables(renames));
        }
    }
}

/// MariaDB's WAIT n and NOWAIT.
pub(crate) fn skip_wait(cursor: &mut Cursor<'_>) -> Parsed<()> {
    if cursor.eat_any(&["WAIT"]) {
        cursor.number()?;
    }
    cursor.eat_any(&["NOWAIT"]);
    Ok(())
}

fn parse_database_options(cursor: &mut Cursor<'_>) -> Parsed<Option<String>> {
    let mut charset = None;
    while cursor.peek().is_some() {
        if let Some(found) = parse_charset(cursor)? {
            charset = found.or(charset);
        } else {
            cursor.skip_one()?;
        }
    }
    Ok(charset)
}

/// A CHARACTER SET or COLLATE option, if one begins here; the inner `None` means the default.
pub(crate) fn parse_charset(cursor: &mut Cursor<'_>) -> Parsed<Option<Option<String>>> {
    let before_default = cursor.sees_any(&["DEFAULT"]);
    let ahead = usize::from(before_default);
    let set = cursor.sees_word(ahead, "CHARACTER") || cursor.sees_word(ahead, "CHAR");
    let set = set && cursor.sees_word(ahead + 1, "SET");
    let collate = cursor.sees_word(ahead, "COLLATE");
    if !set && !collate && !cursor.sees_word(ahead, "CHARSET") {
        return Ok(None);
    }
    for _ in 0..ahead + 1 + usize::from(set) {
        cursor.step();
    }
    cursor.charset_value(collate).map(Some)
}

/// The parenthesised columns of an index. An expression makes it an index without columns.
pub(crate) fn parse_key_parts(cursor: &mut Cursor<'_>) -> Parsed<Vec<KeyPart>> {
    cursor.symbol(b'(', "the columns of an index")?;
    let mut parts = Vec::new();
    let mut expression = false;
    loop {
        if cursor.sees_symbol(b'(') {
            expression = true;
        } else {
            let column = cursor.name()?;
            let mut prefix = None;
            if cursor.eat_symbol(b'(') {
                prefix = u32::try_from(cursor.number()?).ok();
                cursor.symbol(b')', "`)`")?;
            }
            parts.push(KeyPart { column, prefix });
        }
        // ASC, DESC, WITHOUT OVERLAPS.
        cursor.skip_item()?;
        if !cursor.eat_symbol(b',') {
            cursor.symbol(b')', "`)` after the columns of an index")?;
            return Ok(if expression { Vec::new() } else { parts });
        }
    }
}
