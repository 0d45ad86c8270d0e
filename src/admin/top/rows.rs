//! The tables of the live view as texts: which columns there are, and what is in them.

use super::rates::{CoreRates, KindRates, LunRates, Rates, SessionRow};
use crate::admin::tables::clean;
use ringsan::config::size::Bytes;
use std::cmp::Ordering;

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pane {
    Cores,
    Luns,
    Sessions,
}

impl Pane {
    /// In the order of their numbers.
    pub const ALL: [Pane; 3] = [Pane::Cores, Pane::Luns, Pane::Sessions];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Pane::Cores => "cores",
            Pane::Luns => "LUNs",
            Pane::Sessions => "sessions",
        }
    }

    /// Its columns.
    pub fn columns(self) -> &'static [Column] {
        match self {
            Pane::Cores => CORES,
            Pane::Luns => LUNS,
            Pane::Sessions => SESSIONS,
        }
    }

    /// The column that it is sorted by at first.
    pub fn first_sort(self) -> usize {
        match self {
            Pane::Cores => 0,
            Pane::Luns => 2,
            Pane::Sessions => 4,
        }
    }
}

/// A column.
#[derive(Debug)]
pub struct Column {
    pub head: &'static str,
    /// Characters; 0: an equal part of what the others leave.
    pub width: u16,
    /// It is shown where there is room only.
    pub is_extra: bool,
    /// Sorted by it, the largest comes first.
    pub is_number: bool,
}

const fn text(head: &'static str, width: u16) -> Column {
    Column { head, width, is_extra: false, is_number: false }
}

const fn number(head: &'static str, width: u16) -> Column {
    Column { head, width, is_extra: false, is_number: true }
}

const fn extra(of: Column) -> Column {
    Column { is_extra: true, ..of }
}

const CORES: &[Column] = &[
    Column { is_number: false, ..number("CORE", 4) },
    number("BUSY", 15),
    number("SESS", 5),
    number("CMD/S", 7),
    number("RD MB/S", 7),
    number("WR MB/S", 7),
    number("RD 50%", 6),
    number("RD 99%", 6),
    number("WR 50%", 6),
    number("WR 99%", 6),
    extra(number("FL 50%", 6)),
    extra(number("FL 99%", 6)),
    extra(number("CONN", 5)),
];

const LUNS: &[Column] = &[
    text("TARGET", 0),
    Column { is_number: false, ..number("LUN", 5) },
    number("CMD/S", 7),
    number("RD MB/S", 7),
    number("WR MB/S", 7),
    number("READ", 6),
    number("WRITE", 6),
    number("FLUSH", 6),
    extra(number("OTHER", 6)),
    extra(number("RD/S", 7)),
    extra(number("WR/S", 7)),
    extra(number("FL/S", 7)),
    extra(number("HUNG", 5)),
    extra(text("KIND", 6)),
    extra(number("SIZE", 9)),
];

const SESSIONS: &[Column] = &[
    Column { is_number: false, ..number("TSIH", 5) },
    text("INITIATOR", 0),
    text("TARGET", 0),
    text("PEER", 21),
    number("TASKS", 5),
    extra(number("CORE", 4)),
    extra(number("LUNS", 5)),
    extra(text("USER", 16)),
];

/// What a line is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Id {
    Core(usize),
    Lun(String, u16),
    Session(u16),
}

/// What a cell is sorted by.
#[derive(Debug, Clone, PartialEq)]
pub enum By {
    Number(f64),
    Text(String),
}

impl By {
    /// Texts come before numbers, which a column does not mix.
    pub fn order(&self, other: &By) -> Ordering {
        match (self, other) {
            (By::Number(one), By::Number(other)) => one.total_cmp(other),
            (By::Text(one), By::Text(other)) => one.cmp(other),
            (By::Text(_), By::Number(_)) => Ordering::Less,
            (By::Number(_), By::Text(_)) => Ordering::Greater,
        }
    }
}

/// A cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// What is shown: nothing that a terminal would act on.
    pub text: String,
    pub by: By,
}

impl Cell {
    fn text(text: &str) -> Cell {
        Cell { text: clean(text), by: By::Text(text.to_lowercase()) }
    }

    /// A number that may not be known.
    fn number(value: Option<f64>, show: impl FnOnce(f64) -> String) -> Cell {
        Cell { by: By::Number(value.unwrap_or(f64::NEG_INFINITY)), text: value.map_or_else(|| "-".to_owned(), show) }
    }

    fn count(value: usize) -> Cell {
        Cell { text: value.to_string(), by: By::Number(value as f64) }
    }
}

/// A line.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    pub id: Id,
    /// As many as there are columns.
    pub cells: Vec<Cell>,
    /// Something is wrong there.
    pub is_bad: bool,
}

impl Line {
    /// Whether a part of what it shows is `filter`, in small letters.
    pub fn has(&self, filter: &str) -> bool {
        self.cells.iter().any(|cell| cell.text.to_lowercase().contains(filter))
    }
}

/// All lines of a pane, in the order of the server.
pub fn lines(pane: Pane, rates: &Rates) -> Vec<Line> {
    match pane {
        Pane::Cores => rates.cores.iter().map(core).collect(),
        Pane::Luns => rates.luns.iter().map(lun).collect(),
        Pane::Sessions => rates.sessions.iter().map(session).collect(),
    }
}

/// A number of up to five characters: 999, 12.3k, 1.2M.
pub fn short(value: f64) -> String {
    match value {
        v if v < 999.5 => format!("{v:.0}"),
        v if v < 999_950.0 => format!("{:.1}k", v / 1e3),
        v if v < 999_950_000.0 => format!("{:.1}M", v / 1e6),
        v => format!("{:.1}G", v / 1e9),
    }
}

/// A time of up to six characters: 85us, 1.2ms, 61.0s.
pub fn time(us: f64) -> String {
    match us {
        us if us < 999.5 => format!("{us:.0}us"),
        us if us < 999_950.0 => format!("{:.1}ms", us / 1e3),
        us => format!("{:.1}s", us / 1e6),
    }
}

/// Bytes as millions of them.
pub fn megabytes(bytes: f64) -> String {
    match bytes / 1e6 {
        mb if mb < 9999.95 => format!("{mb:.1}"),
        mb => format!("{mb:.0}"),
    }
}

/// How much of ten is full, and the figure.
fn bar(percent: f64) -> String {
    let full = (percent.clamp(0.0, 100.0) / 10.0).round() as usize;
    format!("{}{} {percent:3.0}%", "█".repeat(full), "░".repeat(10 - full))
}

fn core(core: &CoreRates) -> Line {
    let took = |kind: &str, of: fn(&ringsan::mgmt::view::Latency) -> u64| {
        let found = core.latency_since_start.iter().find(|latency| latency.kind == kind);
        Cell::number(found.map(|latency| of(latency) as f64), time)
    };
    let mut busy = Cell::number(core.busy_percent, bar);
    if !core.answers {
        busy.text = "SILENT".to_owned();
    }
    let cells = vec![
        Cell::count(core.core),
        busy,
        Cell::count(core.sessions),
        Cell::number(core.commands_per_s, short),
        Cell::number(core.read_bytes_per_s, megabytes),
        Cell::number(core.written_bytes_per_s, megabytes),
        took("read", |of| of.p50_us),
        took("read", |of| of.p99_us),
        took("write", |of| of.p50_us),
        took("write", |of| of.p99_us),
        took("flush", |of| of.p50_us),
        took("flush", |of| of.p99_us),
        Cell::count(core.connections),
    ];
    Line { id: Id::Core(core.core), cells, is_bad: !core.answers }
}

fn lun(lun: &LunRates) -> Line {
    let of = |kind: &str| lun.by_kind.iter().find(|of| of.kind == kind);
    let rate = |kind, what: fn(&KindRates) -> f64| of(kind).map(what);
    let mean = |kind| Cell::number(of(kind).and_then(|of| of.mean_us), time);
    let cells = vec![
        Cell::text(&lun.target),
        Cell::count(lun.lun.into()),
        Cell::number(lun.commands_per_s, short),
        Cell::number(rate("read", |of| of.bytes_per_s), megabytes),
        Cell::number(rate("write", |of| of.bytes_per_s), megabytes),
        mean("read"),
        mean("write"),
        mean("flush"),
        mean("other"),
        Cell::number(rate("read", |of| of.commands_per_s), short),
        Cell::number(rate("write", |of| of.commands_per_s), short),
        Cell::number(rate("flush", |of| of.commands_per_s), short),
        Cell::number(Some(lun.hung as f64), short),
        Cell::text(&lun.kind),
        Cell { text: Bytes(lun.size_bytes).to_string(), by: By::Number(lun.size_bytes as f64) },
    ];
    Line { id: Id::Lun(lun.target.clone(), lun.lun), cells, is_bad: lun.hung > 0 }
}

fn session(session: &SessionRow) -> Line {
    let cells = vec![
        Cell::count(session.tsih.into()),
        Cell::text(&session.initiator),
        Cell::text(&session.target),
        Cell::text(&session.peer),
        Cell::count(session.open_tasks),
        Cell::count(session.core),
        Cell::count(session.luns),
        Cell::text(session.user.as_deref().unwrap_or("-")),
    ];
    Line { id: Id::Session(session.tsih), cells, is_bad: false }
}
