//! Scenarios that are not run on a server, each with the reason.

use super::lane::Server;
use headwater_testkit::PostgresRelease;

/// Kind, release of PostgreSQL, scenario, and why it is not run there.
const APART: &[(&str, PostgresRelease, &str, &str)] = &[
    ("postgresql", PostgresRelease::V15, "types_pgvector", "the distribution has no pgvector for 15; it is run on 18"),
    (
        "postgresql",
        PostgresRelease::V18,
        "types_generated",
        "18 refuses to update a table under REPLICA IDENTITY FULL whose generated columns are not published",
    ),
];

/// Why the scenario is not run on this server, if it is not.
pub fn reason(kind: &str, server: Server, scenario: &str) -> Option<&'static str> {
    let Server::Postgres(on) = server else { return None };
    let found = APART.iter().find(|(of, release, name, _)| (*of, *release, *name) == (kind, on, scenario));
    found.map(|(.., why)| *why)
}
