//! `headwater wait`: read-your-writes for scripts.
//!
//! Invariant: it succeeds only when the instance said that everything committed before the call is applied. Start at
//! [`Wait::run`].

use super::instance::{Instance, Unanswered};
use super::output::failure;
use super::{Global, Outcome};
use crate::config::Span;
use serde_json::Value;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Waits until every sink has applied all that was committed in the databases when this was called.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
It also waits for an instance that is still starting. Example:
  mysql shop < changes.sql && headwater wait --timeout 10s && redis-cli GET order:1

Exit status 1 when the time passes, or a sink has failed.")]
pub struct Wait {
    /// How long to wait: a number and ms, s, m or h.
    #[arg(long, value_name = "TIME", default_value = "60s")]
    timeout: Span,
}

/// How long between two tries of an instance that is not up yet.
const RETRY: Duration = Duration::from_millis(50);
/// How much longer than the instance the caller waits for its answer.
const GRACE: Duration = Duration::from_secs(5);

impl Wait {
    pub fn run(self, global: &Global) -> Outcome {
        let instance = Instance::of(global)?;
        let deadline = Instant::now() + self.timeout.0;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let path = format!("/wait?timeout={}ms", left.as_millis());
            let unanswered = match instance.post::<Value>(&path, &Value::Null, left + GRACE) {
                Ok(_) => return Ok(ExitCode::SUCCESS),
                Err(unanswered) => unanswered,
            };
            let again = matches!(unanswered, Unanswered::Away(_) | Unanswered::Refused(503, ..));
            if again && Instant::now() + RETRY < deadline {
                std::thread::sleep(RETRY);
                continue;
            }
            return Err(match unanswered {
                Unanswered::Away(error) => failure(
                    format!("no instance answered at {} within {}: {error}", instance.address(), self.timeout),
                    "Start one with `headwater run`, or name its configuration with -c FILE.",
                ),
                refused => instance.explain(refused),
            });
        }
    }
}
