//! `ringsan top`: what a running server does, each second, on the terminal; once and as a table where there is none.
//!
//! `rates` makes differences of what the server tells, `rows` makes texts of them, `state` is what is looked at, without
//! clock, terminal and server, and `draw` draws it. The terminal is left as it was found at any end but kill -9, and SIGHUP, which says
//! that it is gone: by a key, by a signal, by an error, and by a panic (ratatui's hook, for the release build unwinds nothing).

mod draw;
mod feed;
mod rates;
mod rows;
mod state;
#[cfg(test)]
mod tests;

use super::tables;
use crate::cli::{Ask, Output, TopArgs};
use feed::{Feed, Told};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use rates::Rates;
use ringsan::mgmt::client::ClientError;
use rows::Pane;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGINT, SIGQUIT, SIGTERM};
use state::{Key, Top, Wish};
use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use thiserror::Error;

/// How long a key is waited for before it is looked what else there is.
const KEY: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Why it ended.
#[derive(Debug, Error)]
pub enum TopError {
    /// The server is not there, or says no.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The terminal does not do what is wanted.
    #[error("terminal: {0}")]
    Terminal(#[from] io::Error),
}

/// `ringsan top`. Returns what is to be printed.
///
/// # Errors
/// The server is not there at the start, or the terminal fails.
pub fn run(args: &TopArgs) -> Result<String, TopError> {
    if args.once || args.ask.output != Output::Table || !io::stdout().is_terminal() {
        return Ok(once(&args.ask)?);
    }
    let (client, epoch) = (args.ask.client(), Instant::now());
    let mut top = Top::new(&client.place());
    // Said as an error as long as the terminal is as it was.
    top.take(feed::sample(&client, epoch)?);
    let over = Arc::new(AtomicBool::new(false));
    // Not SIGHUP: crossterm reads on and on where a terminal was, and this would never see it.
    for signal in [SIGTERM, SIGINT, SIGQUIT] {
        signal_hook::flag::register(signal, Arc::clone(&over))?;
    }
    let feed = Feed::start(client, epoch)?;
    let mut screen = Screen(ratatui::try_init().inspect_err(|_| leave())?);
    watch(&mut screen.0, &mut top, (&feed, &keyboard()?), &over)?;
    Ok(String::new())
}

/// The terminal while it is ours.
struct Screen(DefaultTerminal);

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.0.show_cursor();
        leave();
    }
}

fn leave() {
    // A terminal that is gone needs nothing.
    let _ = ratatui::try_restore();
}

/// Where keys come from, which is where crossterm has them from.
fn keyboard() -> io::Result<OwnedFd> {
    let stdin = io::stdin();
    if stdin.is_terminal() { stdin.as_fd().try_clone_to_owned() } else { Ok(File::open("/dev/tty")?.into()) }
}

/// Waits for a key, for not too long. False: the terminal is gone.
fn wait_for_key(keyboard: &OwnedFd) -> io::Result<bool> {
    let mut polled = [PollFd::new(keyboard, PollFlags::IN)];
    match poll(&mut polled, Some(&KEY)) {
        // Another size, or the end.
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(polled.iter().all(|of| !of.revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL)))
}

/// Shows it until a key or a signal ends it, or its terminal goes.
fn watch(
    terminal: &mut DefaultTerminal,
    top: &mut Top,
    (feed, keyboard): (&Feed, &OwnedFd),
    over: &AtomicBool,
) -> io::Result<()> {
    while !over.load(Ordering::Relaxed) {
        loop {
            match feed.next() {
                Ok(Some(Told::Sample(sample))) => top.take(*sample),
                Ok(Some(Told::Lost(why))) => top.lose(&why),
                Ok(Some(Told::Dropped(tsih, Ok(())))) => top.tell(&format!("session {tsih} was dropped")),
                Ok(Some(Told::Dropped(tsih, Err(why)))) => top.tell(&format!("session {tsih}: {why}")),
                Ok(None) => break,
                Err(()) => return Err(io::Error::other("the thread that asks the server has ended")),
            }
        }
        terminal.draw(|frame| draw::draw(frame, top))?;
        if !wait_for_key(keyboard)? {
            return Ok(());
        }
        if !event::poll(Duration::ZERO)? {
            continue;
        }
        // Whoever has a key held down does not have each one drawn.
        loop {
            if let Event::Key(pressed) = event::read()?
                && pressed.kind != KeyEventKind::Release
                && let Some(key) = key(pressed.code, pressed.modifiers)
            {
                match top.key(key) {
                    Wish::Quit => return Ok(()),
                    Wish::Drop(tsih) if !feed.drop_session(tsih) => {
                        top.tell("the server does not answer: try it again")
                    }
                    Wish::Drop(_) | Wish::Nothing => {}
                }
            }
            if over.load(Ordering::Relaxed) || !event::poll(Duration::ZERO)? {
                break;
            }
        }
    }
    Ok(())
}

/// What a key is to the view, if it is anything.
fn key(code: KeyCode, modifiers: KeyModifiers) -> Option<Key> {
    Some(match code {
        KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => Key::Interrupt,
        KeyCode::Char(_) if modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) => return None,
        KeyCode::Char(c) => Key::Char(c),
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Esc,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Tab | KeyCode::Right => Key::Next,
        KeyCode::BackTab | KeyCode::Left => Key::Previous,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        _ => return None,
    })
}

/// What the server did in one second.
fn once(ask: &Ask) -> Result<String, ClientError> {
    let (client, epoch) = (ask.client(), Instant::now());
    let before = feed::sample(&client, epoch)?;
    std::thread::sleep(feed::EVERY);
    let rates = Rates::between(Some(&before), &feed::sample(&client, epoch)?);
    Ok(ask.shown(&rates, printed))
}

/// All of it as tables, busiest first.
fn printed(rates: &Rates) -> String {
    let table = |pane: Pane| {
        let head: Vec<&str> = pane.columns().iter().map(|column| column.head).collect();
        let mut lines = rows::lines(pane, rates);
        let by = pane.first_sort();
        if pane.columns().get(by).is_some_and(|column| column.is_number) {
            lines.sort_by(|one, other| other.cells[by].by.order(&one.cells[by].by));
        }
        tables::table(&head, lines.into_iter().map(|line| line.cells.into_iter().map(|cell| cell.text).collect()))
    };
    let mut text = Pane::ALL.map(table).join("\n");
    for core in &rates.silent_cores {
        text += &format!("core {core} does not answer: its sessions are not shown\n");
    }
    text
}
