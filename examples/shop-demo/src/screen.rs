//! Drawing: a picture becomes the lines of a screen, or one line a second where nobody looks. Pure.
//!
//! Invariant: no line is longer than the screen is wide, so that nothing wraps and nothing flickers. Start at [`draw`] and
//! [`line`].

use crate::hand::Hand;
use crate::picture::{Picture, Sample};
use crate::servers::Target;
use serde_json::Value;
use std::time::Duration;

/// How long a change stays marked.
const FRESH: Duration = Duration::from_millis(700);

const PLAIN: &str = "0";
const DIM: &str = "2";
const BOLD: &str = "1";
const GOOD: &str = "32";
const BAD: &str = "1;31";
const MARKED: &str = "1;33";

/// A line of the screen: pieces of text, each with its style.
type Line = Vec<(&'static str, String)>;

/// The whole screen, ready to be written, for a terminal of `size` columns and rows.
pub fn draw(picture: &Picture, samples: &[Sample], hand: &Hand, title: &str, size: (usize, usize)) -> String {
    let mut lines: Vec<Line> = vec![
        vec![
            (BOLD, format!(" A shop on {title}, kept in step in Redis by Headwater")),
            (DIM, format!("   {}", clock(picture.elapsed))),
        ],
        vec![],
    ];
    lines.extend(parts(picture));
    lines.push(vec![]);
    lines.extend(stages(picture));
    lines.push(vec![]);
    lines.push(vec![(DIM, format!("  {:<34}{:<30}{}", "a key of the cache", "before its last change", "now"))]);
    lines.extend(samples.iter().map(sample));
    lines.push(vec![]);
    lines.extend(footer(hand));
    // A small terminal loses the empty lines first: the keys at the bottom must stay.
    while lines.len() > size.1
        && let Some(at) = lines.iter().position(Vec::is_empty)
    {
        lines.remove(at);
    }
    render(&lines, size)
}

/// One line for a second in which nobody looks.
pub fn line(picture: &Picture, hand: &Hand) -> String {
    let readable = picture.readable_ms.map_or("–".to_owned(), |[p50, p99]| format!("p50 {p50:.1}  p99 {p99:.1} ms"));
    let busy = hand.busy().map(|target| format!("   kill -9 {}", name(target))).unwrap_or_default();
    format!(
        "{:>4} s  {:>4.0} tx/s  source {:<12} sink {:<10} behind {:>6} changes   commit → readable {readable:<23} {:>6} keys{busy}",
        picture.elapsed.as_secs(),
        picture.rate,
        state(&picture.source),
        state(&picture.sink),
        number(&picture.sink["lag_changes"]),
        picture.keys.map_or("–".to_owned(), |keys| keys.to_string()),
    )
}

/// What people call a target.
pub fn name(target: Target) -> &'static str {
    match target {
        Target::Headwater => "Headwater",
        Target::Redis => "Redis",
        Target::Database => "the database",
    }
}

fn parts(picture: &Picture) -> Vec<Line> {
    let (source, sink) = (&picture.source, &picture.sink);
    let mut source_line = part("source", state(source));
    source_line.push((PLAIN, format!("{:>8} changes/s", number(&source["rate_changes_per_s"]))));
    source_line.push((DIM, format!("   at {}", source["position"].as_str().unwrap_or("–"))));
    let snapshot: Option<(u64, u64)> = serde_json::from_value(source["snapshot_rows"].clone()).ok();
    if let Some((read, all)) = snapshot.filter(|_| source["state"] == "snapshotting") {
        source_line.push((MARKED, format!("   snapshot {read} of about {all} rows")));
    }
    let mut sink_line = part("sink", state(sink));
    sink_line.push((PLAIN, format!("{:>8} changes/s", number(&sink["rate_changes_per_s"]))));
    let behind = sink["lag_changes"].as_u64().unwrap_or(0);
    let style = if behind > 1_000 { MARKED } else { PLAIN };
    sink_line.push((style, format!("   behind by {behind} changes, {} ms", number(&sink["lag_ms"]))));
    sink_line.push((DIM, format!("   dead letters {}", number(&sink["dead_letters"]))));
    let mut lines = vec![
        vec![
            (BOLD, format!("  {:<10}", "load")),
            (GOOD, format!("{:<14}", if picture.rate > 0.0 { "writing" } else { "held up" })),
            (PLAIN, format!("{:>8.0} transactions/s", picture.rate)),
            (DIM, format!("   {} committed", picture.committed)),
        ],
        source_line,
        vec![
            (BOLD, format!("  {:<10}", "journal")),
            (PLAIN, format!("{:<14}", mib(&source["journal_bytes"]))),
            (PLAIN, format!("{:>8} changes", number(&source["sequence"]))),
            (DIM, format!("   on disk up to {}", number(&source["durable_sequence"]))),
        ],
        sink_line,
        vec![
            (BOLD, format!("  {:<10}", "cache")),
            picture.keys.map_or((BAD, format!("{:<14}", "down")), |_| (GOOD, format!("{:<14}", "up"))),
            (PLAIN, format!("{:>8} keys", picture.keys.map_or("–".to_owned(), |keys| keys.to_string()))),
        ],
    ];
    for (who, part) in [("source", source), ("sink", sink)] {
        if let Some(error) = part["error"].as_str() {
            lines.push(vec![(BAD, format!("  {who}: {}", error.lines().next().unwrap_or_default()))]);
        }
    }
    lines
}

fn part(what: &str, state: &str) -> Line {
    let style = match state {
        "streaming" | "following" => GOOD,
        "snapshotting" | "starting" | "connecting" => MARKED,
        _ => BAD,
    };
    vec![(BOLD, format!("  {what:<10}")), (style, format!("{state:<14}"))]
}

fn stages(picture: &Picture) -> Vec<Line> {
    let stage = |name: &str| serde_json::from_value(picture.sink["stages"][name].clone()).ok();
    vec![
        vec![(DIM, format!("  {:<34}{:>12}{:>12}", "the way of a change", "p50", "p99"))],
        // The numbers of `/status` would be an average of half a second, and say nothing.
        vec![
            (PLAIN, format!("  {:<34}", "commit → received")),
            (DIM, "MariaDB's log tells whole seconds only".to_owned()),
        ],
        times_line("received → journal", stage("receive_to_journal_ms"), ""),
        times_line("journal → cache", stage("journal_to_sink_ms"), ""),
        times_line("commit → readable in the cache", picture.readable_ms, "seen by a customer of the shop"),
    ]
}

fn times_line(label: &str, times: Option<[f64; 2]>, note: &str) -> Line {
    let shown = |at: usize| times.map_or("–".to_owned(), |times| format!("{:.2} ms", times[at]));
    vec![(PLAIN, format!("  {label:<34}{:>12}{:>12}", shown(0), shown(1))), (DIM, format!("   {note}"))]
}

fn sample(sample: &Sample) -> Line {
    let fresh = sample.changed.is_some_and(|changed| changed.elapsed() < FRESH);
    vec![
        (PLAIN, format!("  {:<34}", sample.label)),
        (DIM, format!("{:<30}", sample.before)),
        (if fresh { MARKED } else { PLAIN }, sample.now.clone()),
    ]
}

fn footer(hand: &Hand) -> Vec<Line> {
    let kills = |target| format!("{} {}", name(target), hand.kills(target));
    let survived = [Target::Headwater, Target::Redis, Target::Database].map(kills).join(",  ");
    let mut keys: Line = vec![(PLAIN, "  kill -9 and restart:".to_owned())];
    for (key, what) in [("k", "Headwater"), ("r", "Redis"), ("d", "the database")] {
        keys.push((BOLD, format!("  {key} ")));
        keys.push((PLAIN, what.to_owned()));
    }
    keys.push((BOLD, "  q ".to_owned()));
    keys.push((PLAIN, "stop and compare".to_owned()));
    let mut survived = vec![(PLAIN, format!("  kills survived:  {survived}"))];
    if let Some(target) = hand.busy() {
        survived.push((BAD, format!("     {} was killed and is coming back", name(target))));
    }
    vec![survived, vec![], keys]
}

fn render(lines: &[Line], (columns, rows): (usize, usize)) -> String {
    let mut out = String::from("\x1b[H");
    for (number, line) in lines.iter().take(rows).enumerate() {
        if number > 0 {
            out.push_str("\r\n");
        }
        let mut left = columns;
        for (style, text) in line {
            // Control characters would move the cursor.
            let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(left).collect();
            left -= text.chars().count();
            out.push_str(&format!("\x1b[{style}m{text}\x1b[0m"));
        }
        out.push_str("\x1b[K");
    }
    out.push_str("\x1b[J");
    out
}

fn state(part: &Value) -> &str {
    part["state"].as_str().unwrap_or("down")
}

fn number(value: &Value) -> String {
    value.as_f64().map_or("–".to_owned(), |number| format!("{number:.0}"))
}

fn mib(value: &Value) -> String {
    value.as_f64().map_or("–".to_owned(), |bytes| format!("{:.1} MiB", bytes / f64::from(1 << 20)))
}

fn clock(elapsed: Duration) -> String {
    format!("{:02}:{:02}", elapsed.as_secs() / 60, elapsed.as_secs() % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_wider_or_higher_than_the_screen() {
        let lines: Vec<Line> =
            vec![vec![(BOLD, "عطر\t".to_owned()), (DIM, "abcdef".to_owned())], vec![], vec![(PLAIN, "x".to_owned())]];
        for (size, expected) in
            [((80, 24), "عطر abcdef\r\n\r\nx"), ((6, 24), "عطر ab\r\n\r\nx"), ((80, 1), "عطر abcdef")]
        {
            let mut seen = render(&lines, size);
            for code in ["\x1b[H", "\x1b[J", "\x1b[K", "\x1b[0m", "\x1b[1m", "\x1b[2m"] {
                seen = seen.replace(code, "");
            }
            assert_eq!(seen, expected, "{size:?}");
        }
    }
}
