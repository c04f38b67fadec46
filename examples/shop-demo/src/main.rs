//! The demo: a shop on MariaDB under load, its cache in Redis, Headwater between them, and kills whenever you like.
//!
//! Invariant: it succeeds only when the whole cache equals the whole database at the end, and leaves nothing behind:
//! no process, no folder, no changed terminal. Start at [`demo`].

mod hand;
mod load;
mod picture;
mod purchase;
mod screen;
mod servers;
mod shop;
mod terminal;
mod verdict;

use hand::Hand;
use headwater_testkit::{Error, Result};
use load::Load;
use picture::Observer;
use servers::{Servers, Target};
use std::env;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use terminal::{Terminal, asked_to_end, pause, say};

/// Set to a number, the demo runs for that many seconds without anyone pressing keys.
const SECONDS: &str = "DEMO_SECONDS";
/// The same where there is no terminal.
const SECONDS_DEFAULT: u64 = 20;
/// Less is no demo: two kills have to fit in.
const SECONDS_MIN: u64 = 8;
/// Between two pictures.
const PICTURE_EVERY: Duration = Duration::from_millis(200);
/// How long Headwater may take to apply what was committed last.
const CATCH_UP: &str = "120s";
/// Added to a signal's number in the exit status, as shells do.
const SIGNALLED: u8 = 128;

/// Who is looking.
enum Form {
    Live,
    Unattended(Duration),
}

/// How the demo ended.
enum End {
    Equal,
    Unequal,
    Signal(i32),
}

fn main() -> ExitCode {
    terminal::watch_signals();
    match demo() {
        Ok(End::Equal) => ExitCode::SUCCESS,
        Ok(End::Unequal) => ExitCode::FAILURE,
        Ok(End::Signal(signal)) => ExitCode::from(SIGNALLED.saturating_add(u8::try_from(signal).unwrap_or(0))),
        Err(error) => {
            headwater_testkit::say(&format!("demo: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn demo() -> Result<End> {
    let form = form()?;
    say("demo: starting private MariaDB and Redis servers, and filling the shop");
    let servers = Arc::new(Servers::start()?);
    shop::create(&servers.database(), servers.shop_password())?;
    if let Some(signal) = asked_to_end() {
        return Ok(End::Signal(signal));
    }
    say("demo: the shop opens; Headwater reads what is there while customers order");
    let mut load = Load::start(&servers);
    let mut hand = Hand::new(&servers);
    servers.launch()?;
    let mut observer = Observer::new(&servers);
    match form {
        Form::Live => live(&servers, &load, &hand, &mut observer)?,
        Form::Unattended(time) => unattended(&servers, &load, &hand, &mut observer, time)?,
    }
    hand.finish()?;
    if !load.finish() {
        return Err(Error::new("a thread of the load has panicked"));
    }
    match asked_to_end() {
        Some(signal) => {
            say("demo: ended early; nothing was compared");
            Ok(End::Signal(signal))
        }
        None => judge(&servers, &load, &hand),
    }
}

fn form() -> Result<Form> {
    match env::var(SECONDS) {
        Ok(text) => match text.parse() {
            Ok(seconds) if seconds >= SECONDS_MIN => Ok(Form::Unattended(Duration::from_secs(seconds))),
            _ => Err(Error::new(format!("{SECONDS} is `{text}`; write a whole number from {SECONDS_MIN} on"))),
        },
        Err(_) if terminal::is_there() => Ok(Form::Live),
        Err(_) => Ok(Form::Unattended(Duration::from_secs(SECONDS_DEFAULT))),
    }
}

/// Draws until `q` is pressed.
fn live(servers: &Servers, load: &Load, hand: &Hand, observer: &mut Observer) -> Result {
    let cannot = |error| Error::new(format!("cannot use this terminal: {error}; {SECONDS}=20 does without one"));
    let terminal = Terminal::take().map_err(cannot)?;
    while asked_to_end().is_none() && !hand.has_failed() {
        let picture = observer.look(load);
        let text = screen::draw(&picture, &observer.samples, hand, &servers.title, terminal.size());
        terminal.show(&text).map_err(cannot)?;
        match terminal.key(PICTURE_EVERY) {
            Some(b'k') => hand.kill(Target::Headwater),
            Some(b'r') => hand.kill(Target::Redis),
            Some(b'd') => hand.kill(Target::Database),
            Some(b'q') => break,
            _ => {}
        }
        servers.look_after()?;
    }
    Ok(())
}

/// Prints a line a second for `time`; kills Headwater after a third of it, and Redis after two.
fn unattended(servers: &Servers, load: &Load, hand: &Hand, observer: &mut Observer, time: Duration) -> Result {
    let start = Instant::now();
    let mut kills = [(time / 3, Target::Headwater), (time * 2 / 3, Target::Redis)].into_iter().peekable();
    while start.elapsed() < time && asked_to_end().is_none() && !hand.has_failed() {
        pause(Duration::from_secs(1));
        if let Some((_, target)) = kills.next_if(|(due, _)| start.elapsed() >= *due) {
            say(&format!("demo: kill -9 {}", screen::name(target)));
            hand.kill(target);
        }
        say(&screen::line(&observer.look(load), hand));
        servers.look_after()?;
    }
    Ok(())
}

/// Waits until all is applied, compares, and prints the verdict.
fn judge(servers: &Servers, load: &Load, hand: &Hand) -> Result<End> {
    say("demo: the shop has closed; waiting until the cache has all that was committed");
    let waited = servers.headwater(&["wait", "--timeout", CATCH_UP])?;
    if let Some(signal) = asked_to_end() {
        return Ok(End::Signal(signal));
    }
    if waited.status != Some(0) {
        return Err(Error::new(format!("`headwater wait` ended with status {:?}: {}", waited.status, waited.stderr)));
    }
    let verdict = verdict::compare(&servers.database(), &servers.redis())?;
    let kills = [Target::Headwater, Target::Redis, Target::Database].map(|target| (hand.kills(target), target));
    let kills: Vec<_> = kills.iter().map(|(count, target)| format!("{} {count}", screen::name(*target))).collect();
    say("");
    say(&format!("  transactions written   {:>9}", load.committed()));
    say(&format!("  kills survived         {:>9}", kills.join(", ")));
    say(&format!("  keys compared          {:>9}   computed from the database by SQL alone", verdict.keys));
    say(&format!("  missing                {:>9}", verdict.missing));
    say(&format!("  different              {:>9}", verdict.different));
    say(&format!("  phantom                {:>9}", verdict.phantom));
    say(&format!("  pages compared         {:>9}   put there by the shop, dropped by Headwater", verdict.pages));
    verdict.examples.iter().for_each(|example| say(&format!("  {example}")));
    say("");
    if verdict.is_equal() {
        say("  EQUAL: the cache holds exactly what the database says.");
        return Ok(End::Equal);
    }
    say("  NOT EQUAL: this is a defect of Headwater; please report it with the lines above.");
    Ok(End::Unequal)
}
