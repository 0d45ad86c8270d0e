//! The live view as it is drawn, at any size of the terminal.

use super::rows::{Column, Pane, megabytes, short, time};
use super::state::{Mode, Top};
use crate::admin::tables::{clean, duration, plural};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Clear, Paragraph, Row, Sparkline, Table};

/// From this width on there are all columns.
pub const WIDE: u16 = 130;

/// Lines of the graph; none where the terminal has fewer lines than this.
const GRAPH: u16 = 3;
const LOW: u16 = 16;

const BAD: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
const HEAD: Style = Style::new().add_modifier(Modifier::BOLD);
const FAINT: Style = Style::new().add_modifier(Modifier::DIM);
const CHOSEN: Style = Style::new().add_modifier(Modifier::REVERSED);

const HELP: [&str; 11] = [
    "1 2 3, Tab     cores, LUNs, sessions",
    "up down, j k   select; PgUp PgDn Home End",
    "< >            sort by the column before, behind",
    "r              turn the order round",
    "/              show what has this text; Esc: all",
    "l              graph: commands, or latency",
    "d              drop the selected session",
    "q, Ctrl-C      end",
    "",
    "Rates and means are of the last second; the 50%",
    "and 99% of cores are since the server began.",
];

/// Draws all of it.
pub fn draw(frame: &mut Frame<'_>, top: &mut Top) {
    let area = frame.area();
    let graph = if area.height < LOW { 0 } else { GRAPH };
    let parts = [1, 1, graph, 1].map(Constraint::Length);
    let [title, state, graph, tabs, table, foot] =
        Layout::vertical([parts[0], parts[1], parts[2], parts[3], Constraint::Min(1), Constraint::Length(1)])
            .areas(area);
    // One is the head.
    top.fit(usize::from(table.height.saturating_sub(1)));
    frame.render_widget(title_line(top), title);
    frame.render_widget(state_line(top), state);
    if graph.height > 0 {
        draw_graph(frame, top, graph);
    }
    frame.render_widget(tabs_line(top), tabs);
    draw_table(frame, top, table);
    frame.render_widget(foot_line(top), foot);
    if top.mode == Mode::Help {
        draw_help(frame, area);
    }
}

fn title_line(top: &Top) -> Line<'static> {
    let Some(sample) = &top.last else { return Line::styled(format!("ringsan at {}", top.server), HEAD) };
    let status = &sample.status;
    let totals = top.rates.as_ref().filter(|rates| rates.seconds.is_some()).map(super::rates::Rates::totals);
    let now = totals.map_or_else(String::new, |totals| {
        format!(
            "  {} commands/s  read {} MB/s  write {} MB/s",
            short(totals.commands_per_s),
            megabytes(totals.read_bytes_per_s),
            megabytes(totals.written_bytes_per_s)
        )
    });
    let up = duration(status.uptime_s);
    Line::from(vec![
        Span::styled(format!("ringsan {}", clean(&status.version)), HEAD),
        format!("  up {up}{now}").into(),
    ])
}

/// Whether all is well, and if not, what is wrong.
fn state_line(top: &Top) -> Line<'static> {
    if let Some(why) = &top.lost {
        return Line::styled(format!("NO ANSWER, trying again: {why}"), BAD);
    }
    let Some(sample) = &top.last else { return Line::raw("") };
    match sample.status.problems.as_slice() {
        [] => Line::styled(format!("all is well at {}", top.server), FAINT),
        [problem] => Line::styled(format!("NOT WELL: {}", clean(problem)), BAD),
        [problem, more @ ..] => Line::styled(format!("NOT WELL (+{}): {}", more.len(), clean(problem)), BAD),
    }
}

fn draw_graph(frame: &mut Frame<'_>, top: &Top, area: Rect) {
    let [label, graph] = Layout::horizontal([Constraint::Length(16), Constraint::Min(1)]).areas(area);
    let values = top.history.iter().rev().take(graph.width.into());
    let values = values.map(|totals| if top.shows_latency { totals.mean_us } else { totals.commands_per_s });
    // The newest is at the right edge.
    let mut values: Vec<u64> = values.map(|value| value.round() as u64).collect();
    values.resize(graph.width.into(), 0);
    values.reverse();
    let (last, most) = (values.last().copied().unwrap_or(0) as f64, values.iter().max().copied().unwrap_or(0) as f64);
    let text = if top.shows_latency {
        ["mean latency".to_owned(), format!("now  {}", time(last)), format!("most {}", time(most))]
    } else {
        ["commands/s".to_owned(), format!("now  {}", short(last)), format!("most {}", short(most))]
    };
    frame.render_widget(Paragraph::new(text.map(Line::from).to_vec()).style(FAINT), label);
    frame.render_widget(Sparkline::default().data(&values).style(Style::new().fg(Color::Cyan)), graph);
}

fn tabs_line(top: &Top) -> Line<'static> {
    let mut spans = Vec::new();
    for (number, pane) in Pane::ALL.into_iter().enumerate() {
        let count = top.rates.as_ref().map_or(0, |rates| match pane {
            Pane::Cores => rates.cores.len(),
            Pane::Luns => rates.luns.len(),
            Pane::Sessions => rates.sessions.len(),
        });
        let style = if pane == top.pane { CHOSEN } else { Style::new() };
        spans.push(Span::styled(format!(" {} {} ({count}) ", number + 1, pane.word()), style));
        spans.push(" ".into());
    }
    if let Some(column) = top.sorted_by() {
        let arrow = if top.looks().is_falling { '▼' } else { '▲' };
        spans.push(Span::styled(format!(" by {} {arrow}", column.head), FAINT));
    }
    if !top.filter.is_empty() {
        let shown = top.lines().len();
        spans.push(format!("  with '{}': {shown} line{}", top.filter, plural(shown)).into());
    }
    let silent = top.rates.as_ref().map_or(0, |rates| rates.silent_cores.len());
    if silent > 0 && top.pane == Pane::Sessions {
        spans.push(Span::styled(format!("  without those of {silent} silent core{}", plural(silent)), BAD));
    }
    Line::from(spans)
}

/// The columns that there is room for, with their numbers.
pub fn columns(pane: Pane, width: u16) -> Vec<(usize, &'static Column)> {
    let all = pane.columns().iter().enumerate();
    all.filter(|(_, column)| width >= WIDE || !column.is_extra).collect()
}

fn draw_table(frame: &mut Frame<'_>, top: &Top, area: Rect) {
    let columns = columns(top.pane, area.width);
    let fixed: u16 = columns.iter().map(|(_, column)| column.width + 1).sum::<u16>().saturating_sub(1);
    let sharing = columns.iter().filter(|(_, column)| column.width == 0).count() as u16;
    let share = area.width.saturating_sub(fixed).checked_div(sharing).unwrap_or(0).max(4);
    let width = |column: &Column| if column.width == 0 { share } else { column.width };
    let looks = top.looks();
    let head = columns.iter().map(|(number, column)| {
        let style = if *number == looks.sort { HEAD.add_modifier(Modifier::UNDERLINED) } else { HEAD };
        cell(column.head, column, width(column)).style(style)
    });
    let room = usize::from(area.height.saturating_sub(1));
    let shown = top.lines().iter().enumerate().skip(looks.first).take(room);
    let rows = shown.map(|(at, line)| {
        let cells = columns.iter().map(|(number, column)| {
            cell(line.cells.get(*number).map_or("", |cell| cell.text.as_str()), column, width(column))
        });
        let style = if line.is_bad { BAD } else { Style::new() };
        Row::new(cells).style(if top.selected() == Some(at) { style.patch(CHOSEN) } else { style })
    });
    let widths: Vec<Constraint> = columns.iter().map(|(_, column)| Constraint::Length(width(column))).collect();
    frame.render_widget(Table::new(rows, widths).header(Row::new(head)).column_spacing(1), area);
}

/// A cell. Of a name that is too long its end is shown: that is where names differ.
fn cell(text: &str, column: &Column, width: u16) -> Cell<'static> {
    let width = usize::from(width);
    let too_long = Line::raw(text).width() > width;
    let text = if too_long && !column.is_number {
        // As many characters as columns, or more where some are wide: those are cut off at the end.
        let keep = text.chars().count().saturating_sub(width.saturating_sub(1)).max(1);
        std::iter::once('…').chain(text.chars().skip(keep)).collect()
    } else {
        text.to_owned()
    };
    // Numbers to the right, and the LUN and TSIH that are sorted as names are.
    let is_right = column.is_number || matches!(column.head, "LUN" | "TSIH" | "CORE");
    let line = Line::raw(text);
    Cell::from(if is_right { line.right_aligned() } else { line })
}

fn foot_line(top: &Top) -> Line<'static> {
    match &top.mode {
        Mode::Filter => Line::styled(format!("show what has: {}_   Enter: go on, Esc: all", top.filter), HEAD),
        Mode::Confirm(tsih, initiator) => Line::styled(format!("drop session {tsih} of {initiator}? y/n"), BAD),
        _ => match &top.note {
            Some(note) => Line::styled(note.clone(), HEAD),
            None => {
                Line::styled("1-3 panes  ↑↓ select  < > sort  r turn  / filter  l graph  d drop  ? help  q end", FAINT)
            }
        },
    }
}

fn draw_help(frame: &mut Frame<'_>, area: Rect) {
    let (width, height) = (area.width.min(52), area.height.min(HELP.len() as u16 + 2));
    let at = Rect::new((area.width - width) / 2, (area.height - height) / 2, width, height);
    frame.render_widget(Clear, at);
    let lines: Vec<Line<'_>> = HELP.iter().map(|line| Line::from(format!(" {line}"))).collect();
    frame.render_widget(Paragraph::new(lines).block(ratatui::widgets::Block::bordered().title(" keys ")), at);
}
