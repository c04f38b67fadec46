//! What the lexer makes of the awkward corners of SQL text.

use expect_test::{Expect, expect};

use super::super::server::{Server, Session, sql_mode};
use super::{Dialect, Lexer, TokenKind};

fn check(text: &str, mariadb: bool, mode: u64, expected: Expect) {
    let server = Server { mariadb, version: if mariadb { 101_119 } else { 80_036 } };
    let session = Session { sql_mode: mode, ..Session::default() };
    let tokens: Vec<String> = Lexer::new(text, Dialect::new(server, &session))
        .map(|token| match token.kind {
            TokenKind::Word(word) => word.to_owned(),
            TokenKind::Name(name) => format!("`{name}`"),
            TokenKind::Text(text) => format!("{text:?}"),
            TokenKind::Bits => format!("bits {}", &text[token.start..token.end]),
            TokenKind::Number(number) => format!("#{number}"),
            TokenKind::Variable => "variable".to_owned(),
            TokenKind::Symbol(symbol) => char::from(symbol).to_string(),
            TokenKind::Broken => "BROKEN".to_owned(),
        })
        .collect();
    expected.assert_eq(&tokens.join(" | "));
}

#[test]
fn names_and_strings() {
    check("`a``b` . \"x\"", false, 0, expect![[r#"`a`b` | . | "x""#]]);
    check("\"x\"\"y\"", false, sql_mode::ANSI_QUOTES, expect![[r#"`x"y`"#]]);
    check(r"'it''s' 'a\'b\n\%' 'é\é'", false, 0, expect![[r#""it's" | "a'b\n\\%" | "éé""#]]);
    check(r"'a\' 'b'", false, sql_mode::NO_BACKSLASH_ESCAPES, expect![[r#""a\\" | "b""#]]);
    check("_utf8mb4'x' N'y' n'z'", false, 0, expect![[r#"_utf8mb4 | "x" | "y" | "z""#]]);
    check("größe$1 @a @@b.c", false, 0, expect!["größe$1 | variable | variable | . | c"]);
}

#[test]
fn numbers_and_bits() {
    check("1 1.5 .5 1e10 1.5e-3 1st 12abc", false, 0, expect!["#1 | #1.5 | #.5 | #1e10 | #1.5e-3 | 1st | 12abc"]);
    check(
        "x'0aF' 0x1F b'101' 0b11 0xzz",
        false,
        0,
        expect!["bits x'0aF' | bits 0x1F | bits b'101' | bits 0b11 | 0xzz"],
    );
    check("db.1 db.1a `d`.2", false, 0, expect!["db | . | 1 | db | . | 1a | `d` | . | 2"]);
}

#[test]
fn comments() {
    check("a -- b\nc # d\ne /* f */ g --1", false, 0, expect!["a | c | e | g | - | - | #1"]);
    check("a /*!50100 b */ /*!99999 c */ /*!d*/ /*M!100100 e */ f", false, 0, expect!["a | b | d | f"]);
    check("a /*!50100 b */ /*!50701 c */ /*!99999 d */ /*M!100100 e */ /*M! f*/", true, 0, expect!["a | b | e | f"]);
    check("a /*!80023 INVISIBLE */ b /* c */ d", false, 0, expect!["a | INVISIBLE | b | d"]);
    check("/*! a /* b */ c */ d", false, 0, expect!["a | c | d"]);
}

#[test]
fn what_never_ends() {
    check("a 'b", false, 0, expect!["a | BROKEN"]);
    check("a `b", false, 0, expect!["a | BROKEN"]);
    check("a /* b", false, 0, expect!["a | BROKEN"]);
    check("a 'b\\", false, 0, expect!["a | BROKEN"]);
    check("x'", false, 0, expect!["BROKEN"]);
}
