//! The live view without clock, terminal and server: it is given what the server tells and which keys are pressed.

use super::rates::{Rates, Sample, Totals};
use super::rows::{Column, Id, Line, Pane, lines};
use crate::admin::tables::clean;
use std::collections::VecDeque;

/// Characters of a filter, at most.
const FILTER_CHARS: usize = 64;

/// Moments that the graph remembers, at most: more than any terminal has columns.
const HISTORY: usize = 600;

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    Char(char),
    Enter,
    Esc,
    Backspace,
    Next,
    Previous,
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    /// Ctrl-C.
    Interrupt,
}

/// What a key asks for that the view cannot do itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    Nothing,
    Quit,
    /// That a session is dropped.
    Drop(u16),
}

/// What the keys mean now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    Look,
    /// A filter is being written.
    Filter,
    /// It was asked whether this session is to be dropped, of this initiator.
    Confirm(u16, String),
    /// What the keys do is shown.
    Help,
}

/// How a pane is looked at.
#[derive(Debug, Clone)]
pub struct Looks {
    /// The number of the column that it is sorted by.
    pub sort: usize,
    /// The largest is first.
    pub is_falling: bool,
    /// What was moved to: it stays selected wherever it comes to stand.
    selected: Option<Id>,
    /// Where that was last.
    at: usize,
    /// The first line that is shown.
    pub first: usize,
}

/// The view.
pub struct Top {
    /// The socket of the server.
    pub server: String,
    pub pane: Pane,
    pub mode: Mode,
    pub filter: String,
    /// The graph is of the mean latency, else of commands.
    pub shows_latency: bool,
    /// What came of the last thing that was asked for.
    pub note: Option<String>,
    /// Why the server does not answer, if it does not.
    pub lost: Option<String>,
    pub last: Option<Sample>,
    pub rates: Option<Rates>,
    pub history: VecDeque<Totals>,
    looks: [Looks; 3],
    lines: Vec<Line>,
    /// Lines of the table that there is room for; whoever draws says it.
    pub room: usize,
}

impl Top {
    /// For the server at this socket.
    pub fn new(server: &str) -> Top {
        let looks = |pane: Pane| {
            let sort = pane.first_sort();
            let is_falling = pane.columns().get(sort).is_some_and(|column| column.is_number);
            Looks { sort, is_falling, selected: None, at: 0, first: 0 }
        };
        Top {
            server: clean(server),
            pane: Pane::Luns,
            mode: Mode::Look,
            filter: String::new(),
            shows_latency: false,
            note: None,
            lost: None,
            last: None,
            rates: None,
            history: VecDeque::new(),
            looks: Pane::ALL.map(looks),
            lines: Vec::new(),
            room: 1,
        }
    }

    /// Takes what the server tells.
    pub fn take(&mut self, sample: Sample) {
        let rates = Rates::between(self.last.as_ref(), &sample);
        if rates.seconds.is_some() {
            self.history.push_back(rates.totals());
            if self.history.len() > HISTORY {
                self.history.pop_front();
            }
        }
        self.lost = None;
        self.rates = Some(rates);
        self.last = Some(sample);
        self.arrange();
    }

    /// The server does not answer. What it told last stays to be seen.
    pub fn lose(&mut self, why: &str) {
        self.lost = Some(clean(why));
    }

    /// Says what came of something.
    pub fn tell(&mut self, what: &str) {
        self.note = Some(clean(what));
    }

    /// What is shown of the pane: sorted, and what the filter leaves.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// How the pane is looked at.
    pub fn looks(&self) -> &Looks {
        &self.looks[self.pane as usize]
    }

    fn looks_mut(&mut self) -> &mut Looks {
        &mut self.looks[self.pane as usize]
    }

    /// The column that the pane is sorted by.
    pub fn sorted_by(&self) -> Option<&'static Column> {
        self.pane.columns().get(self.looks().sort)
    }

    /// The number of the selected line among those that are shown.
    pub fn selected(&self) -> Option<usize> {
        let at = self.looks().at;
        (at < self.lines.len()).then_some(at)
    }

    /// Has the lines as filter and order want them, and the selection where its line is now.
    fn arrange(&mut self) {
        let mut lines = self.rates.as_ref().map(|rates| lines(self.pane, rates)).unwrap_or_default();
        let filter = self.filter.to_lowercase();
        if !filter.is_empty() {
            lines.retain(|line| line.has(&filter));
        }
        let Looks { sort, is_falling, .. } = *self.looks();
        lines.sort_by(|one, other| {
            let (Some(one), Some(other)) = (one.cells.get(sort), other.cells.get(sort)) else {
                return std::cmp::Ordering::Equal;
            };
            if is_falling { other.by.order(&one.by) } else { one.by.order(&other.by) }
        });
        self.lines = lines;
        let found = self.looks().selected.as_ref().and_then(|id| self.lines.iter().position(|line| line.id == *id));
        self.stand_at(found.unwrap_or(self.looks().at));
    }

    /// Moves to the line with this number, or the last one. It stays selected wherever it goes; the first one does not: who is
    /// there looks at what is first.
    fn move_to(&mut self, at: usize) {
        self.stand_at(at);
        let at = self.looks().at;
        let id = self.lines.get(at).filter(|_| at > 0).map(|line| line.id.clone());
        self.looks_mut().selected = id;
    }

    /// Stands at the line with this number, or the last one, and has it in sight.
    fn stand_at(&mut self, at: usize) {
        let at = at.min(self.lines.len().saturating_sub(1));
        let room = self.room.max(1);
        let most = self.lines.len().saturating_sub(room);
        let looks = self.looks_mut();
        looks.at = at;
        looks.first = looks.first.clamp((at + 1).saturating_sub(room), at).min(most);
    }

    /// Is told how many lines there is room for.
    pub fn fit(&mut self, room: usize) {
        self.room = room.max(1);
        let at = self.looks().at;
        self.stand_at(at);
    }

    /// Takes a key.
    pub fn key(&mut self, key: Key) -> Wish {
        if key == Key::Interrupt {
            return Wish::Quit;
        }
        self.note = None;
        match self.mode.clone() {
            Mode::Confirm(tsih, _) => {
                self.mode = Mode::Look;
                if matches!(key, Key::Char('y' | 'Y')) {
                    self.tell(&format!("session {tsih} is being dropped"));
                    return Wish::Drop(tsih);
                }
                self.tell("nothing was dropped");
            }
            Mode::Help => self.mode = Mode::Look,
            Mode::Filter => self.filter_key(key),
            Mode::Look => return self.look_key(key),
        }
        Wish::Nothing
    }

    fn filter_key(&mut self, key: Key) {
        match key {
            Key::Char(c) if !c.is_control() && self.filter.chars().count() < FILTER_CHARS => self.filter.push(c),
            Key::Backspace => {
                self.filter.pop();
            }
            Key::Enter => self.mode = Mode::Look,
            Key::Esc => {
                self.mode = Mode::Look;
                self.filter.clear();
            }
            _ => return,
        }
        self.arrange();
    }

    fn look_key(&mut self, key: Key) -> Wish {
        let (at, room) = (self.looks().at, self.room);
        match key {
            Key::Char('q') => return Wish::Quit,
            Key::Char('?' | 'h') => self.mode = Mode::Help,
            Key::Char('/') => self.mode = Mode::Filter,
            Key::Char('l') => self.shows_latency = !self.shows_latency,
            Key::Char('d') => self.ask_to_drop(),
            Key::Char('<' | ',') => self.sort_by(self.looks().sort.checked_sub(1)),
            Key::Char('>' | '.') => self.sort_by(Some(self.looks().sort + 1)),
            Key::Char('r') => {
                self.looks_mut().is_falling ^= true;
                self.arrange();
            }
            Key::Char(digit @ '1'..='3') => self.show(digit as usize - '1' as usize),
            Key::Next => self.show((self.pane as usize + 1) % Pane::ALL.len()),
            Key::Previous => self.show((self.pane as usize + Pane::ALL.len() - 1) % Pane::ALL.len()),
            Key::Up | Key::Char('k') => self.move_to(at.saturating_sub(1)),
            Key::Down | Key::Char('j') => self.move_to(at + 1),
            Key::PageUp => self.move_to(at.saturating_sub(room)),
            Key::PageDown => self.move_to(at + room),
            Key::Home => self.move_to(0),
            Key::End => self.move_to(usize::MAX),
            Key::Esc if !self.filter.is_empty() => {
                self.filter.clear();
                self.arrange();
            }
            _ => {}
        }
        Wish::Nothing
    }

    fn show(&mut self, number: usize) {
        if let Some(pane) = Pane::ALL.get(number) {
            self.pane = *pane;
            self.arrange();
        }
    }

    /// Sorts by the column with this number, if there is one: numbers from the largest, the rest from the first.
    fn sort_by(&mut self, number: Option<usize>) {
        let Some((number, column)) = number.and_then(|at| Some((at, self.pane.columns().get(at)?))) else { return };
        let looks = self.looks_mut();
        (looks.sort, looks.is_falling) = (number, column.is_number);
        self.arrange();
    }

    fn ask_to_drop(&mut self) {
        let selected = self.selected().and_then(|at| self.lines.get(at));
        let Some(Id::Session(tsih)) = selected.map(|line| &line.id) else {
            return self.tell("select a session to drop it: 3, then the arrow keys");
        };
        let tsih = *tsih;
        let sessions = self.rates.iter().flat_map(|rates| &rates.sessions);
        let initiator = sessions.into_iter().find(|session| session.tsih == tsih).map(|of| clean(&of.initiator));
        self.mode = Mode::Confirm(tsih, initiator.unwrap_or_default());
    }
}
