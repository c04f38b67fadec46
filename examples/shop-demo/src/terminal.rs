//! The terminal and the signals: keys as they are pressed, a screen of our own, and both given back however the demo ends.
//!
//! Invariant: the terminal is as it was after the end, after a panic and after a signal. Start at [`Terminal::take`].

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{self, LocalModes, OptionalActions, Termios};
use std::io::{self, IsTerminal, Write};
use std::panic;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Once, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// Ctrl-C, which is no signal while we read single keys.
const CTRL_C: u8 = 3;
/// The other screen, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// Width and height where the terminal does not tell.
const SIZE_DEFAULT: (usize, usize) = (100, 40);

static SIGNAL: AtomicI32 = AtomicI32::new(0);
static BEFORE: OnceLock<Termios> = OnceLock::new();
static TAKEN: AtomicBool = AtomicBool::new(false);

extern "C" fn note(signal: libc::c_int) {
    SIGNAL.store(signal, Ordering::Release);
}

/// From now on SIGINT, SIGTERM and SIGHUP ask for an end in order instead of ending the process.
pub fn watch_signals() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler stores one atomic and nothing else. `action` is a plain C struct, for which zero is valid.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = note as *const () as libc::sighandler_t;
            action.sa_flags = libc::SA_RESTART;
            libc::sigemptyset(&mut action.sa_mask);
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
    }
}

/// The signal that asked for the end, if one did.
pub fn asked_to_end() -> Option<i32> {
    Some(SIGNAL.load(Ordering::Acquire)).filter(|signal| *signal != 0)
}

/// Waits for `time`, or less when a signal asks for the end.
pub fn pause(time: Duration) {
    const LOOK: Duration = Duration::from_millis(20);
    let end = Instant::now() + time;
    while asked_to_end().is_none() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        thread::sleep(left.min(LOOK));
    }
}

/// Whether there is someone to look and to press keys.
pub fn is_there() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Prints a line; nobody reading it is no reason to stop.
pub fn say(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// The terminal, in our hands until dropped.
pub struct Terminal(());

impl Terminal {
    /// Takes the terminal: keys come one by one without echo, and the screen is another one.
    pub fn take() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let print = panic::take_hook();
            // A message on the other screen would vanish with it.
            panic::set_hook(Box::new(move |panicked| {
                give_back();
                print(panicked);
            }));
        });
        let mut raw = termios::tcgetattr(io::stdin())?;
        BEFORE.get_or_init(|| raw.clone());
        raw.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
        TAKEN.store(true, Ordering::Release);
        termios::tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        write_out(ENTER)?;
        Ok(Self(()))
    }

    /// The next key, or `None` when none is pressed for `wait`. Ctrl-C and a terminal that is gone are signals.
    pub fn key(&self, wait: Duration) -> Option<u8> {
        let stdin = io::stdin();
        let timeout = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        let mut asked = [PollFd::new(&stdin, PollFlags::IN)];
        if !poll(&mut asked, Some(&timeout)).is_ok_and(|ready| ready > 0) {
            return None;
        }
        let mut key = [0];
        match rustix::io::read(&stdin, &mut key) {
            Ok(1) if key[0] == CTRL_C => note(libc::SIGINT),
            Ok(1) => return Some(key[0]),
            Err(rustix::io::Errno::INTR) => {}
            _ => note(libc::SIGHUP),
        }
        None
    }

    /// Columns and rows.
    pub fn size(&self) -> (usize, usize) {
        match termios::tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
            _ => SIZE_DEFAULT,
        }
    }

    /// Shows `text` as the whole screen.
    pub fn show(&self, text: &str) -> io::Result<()> {
        write_out(text)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    if TAKEN.swap(false, Ordering::AcqRel) {
        let _ = write_out(LEAVE);
        if let Some(before) = BEFORE.get() {
            let _ = termios::tcsetattr(io::stdin(), OptionalActions::Drain, before);
        }
    }
}

fn write_out(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
