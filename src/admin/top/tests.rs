//! The live view fed with what a server might tell and with keys, and drawn on a terminal of memory.

use super::draw::draw;
use super::rates::{Rates, Sample};
use super::rows::{Id, Pane, megabytes, short, time};
use super::state::{Key, Mode, Top, Wish};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::{Value, json};

const TARGET: &str = "iqn.2026-11.io.ringsan:disks";

/// What a server tells that has `luns` units, each with so many reads of 4 KiB that took 50 us each, a hundred more of the last.
fn sample(at_s: u64, luns: u16, reads: u64) -> Sample {
    let lun = |number: u16| {
        let reads = if number + 1 == luns { reads * 2 } else { reads };
        json!({
            "lun": number, "kind": "ram", "size_bytes": 1 << 30, "block_bytes": 512, "readonly": false, "thin": false,
            "serial": "", "naa": number.to_string(), "hung": 0, "commands": [
                {"kind": "read", "commands": reads, "bytes": reads * 4096, "took_us": reads * 50},
                {"kind": "write", "commands": 0, "bytes": 0, "took_us": 0},
                {"kind": "flush", "commands": 7, "bytes": 0, "took_us": 7000},
                {"kind": "other", "commands": 0, "bytes": 0, "took_us": 0},
            ],
        })
    };
    let luns: Vec<Value> = (0..luns).map(lun).collect();
    let counters = json!({
        "accepted": 0, "refused": 0, "logins": 0, "failed_logins": 0, "commands": reads, "read_bytes": reads * 4096,
        "written_bytes": 0, "digest_errors": 0, "medium_faults": 0, "moved_in": 0, "overdue": 0, "out_of_receive_buffers": 0,
    });
    let latency = json!([{
        "kind": "read", "commands": reads, "mean_us": 50, "p50_us": 48, "p99_us": 1250, "p999_us": 2000, "max_us": 3000,
    }]);
    let status = json!({
        "version": "0.1.0", "since": 100, "uptime_s": at_s, "generation": 1, "healthy": true, "problems": [],
        "cores": [{
            "core": 0, "answers": true, "busy": 730, "sessions": 2, "connections": 2, "free_buffer_bytes": 0,
            "counters": counters, "latency": latency,
        }],
        "portals": [],
        "targets": [{
            "name": TARGET, "portal_groups": [], "groups_only": false, "users": [], "luns": luns, "groups": [],
        }],
    });
    let session = |tsih: u16, initiator: &str, tasks: usize| {
        json!({
            "tsih": tsih, "kind": "normal", "initiator": initiator, "isid": "00", "target": TARGET, "portal_group": 1,
            "core": 0, "lost": false, "luns": 1, "open_tasks": tasks, "keys": {},
            "connections": [{"cid": 0, "peer": format!("192.0.2.{tsih}:5000"), "portal": "192.0.2.1:3260", "keys": {}}],
        })
    };
    let sessions =
        [session(1, "iqn.2026-11.com.example:one", 3), session(2, "iqn.2026-11.com.example:\u{1b}[2Jtwo\u{202e}", 32)];
    let sessions = json!({"sessions": sessions, "silent_cores": []});
    Sample {
        at_us: at_s * 1_000_000,
        status: serde_json::from_value(status).unwrap(),
        sessions: serde_json::from_value(sessions).unwrap(),
    }
}

/// A view of a server that was asked at two moments, of which the later one is two seconds after the first.
fn top(luns: u16) -> Top {
    let mut top = Top::new("/run/ringsan/control.sock");
    top.take(sample(10, luns, 1000));
    top.take(sample(12, luns, 3000));
    top
}

fn keys(top: &mut Top, keys: &str) -> Wish {
    keys.chars().fold(Wish::Nothing, |_, key| top.key(Key::Char(key)))
}

/// What is on a terminal of this size, a text for each line.
fn drawn(top: &mut Top, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, top)).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    let lines: Vec<String> = (0..height).map(line).collect();
    let is_unclean = |c: char| c.is_control() || c == '\u{202e}';
    assert!(!lines.iter().any(|line| line.contains(is_unclean)), "{lines:#?}");
    lines
}

#[test]
fn rates_are_differences_over_the_time_between() {
    let rates = Rates::between(Some(&sample(10, 3, 1000)), &sample(12, 3, 3000));
    assert_eq!(rates.seconds, Some(2.0));
    assert_eq!(rates.cores[0].commands_per_s, Some(1000.0));
    assert_eq!(rates.cores[0].read_bytes_per_s, Some(4_096_000.0));
    let read = &rates.luns[2].by_kind[0];
    assert_eq!((rates.luns[2].commands_per_s, read.bytes_per_s, read.mean_us), (Some(2000.0), 8_192_000.0, Some(50.0)));
    assert_eq!(rates.luns[2].by_kind[2].mean_us, None, "there were no flushes in between");
    assert_eq!(rates.totals().mean_us, 50.0);
}

#[test]
fn what_began_anew_has_no_rate() {
    let (before, now) = (sample(10, 2, 1000), sample(12, 2, 3000));
    assert_eq!(Rates::between(None, &now).luns[0].commands_per_s, None);
    let mut again = before.clone();
    again.status.since = 99;
    assert_eq!(Rates::between(Some(&again), &now).cores[0].commands_per_s, None, "the server was started anew");
    let mut other = before.clone();
    other.status.targets[0].luns[0].naa = "another".to_owned();
    let rates = Rates::between(Some(&other), &now);
    assert_eq!((rates.luns[0].commands_per_s, rates.luns[1].commands_per_s), (None, Some(2000.0)), "another disk");
    let mut more = before.clone();
    more.status.targets[0].luns[0].commands[0].commands = 5000;
    assert_eq!(Rates::between(Some(&more), &now).luns[0].commands_per_s, None, "fewer than before");
    let mut silent = before;
    silent.status.cores[0].answers = false;
    assert_eq!(Rates::between(Some(&silent), &now).cores[0].commands_per_s, None, "it told of nothing then");
}

#[test]
fn lines_are_sorted_and_filtered_and_the_selection_stays_with_its_line() {
    let mut top = top(12);
    assert_eq!(top.lines()[0].id, Id::Lun(TARGET.to_owned(), 11), "the busiest is first");
    keys(&mut top, "<r");
    assert_eq!((top.sorted_by().unwrap().head, &top.lines()[0].id), ("LUN", &Id::Lun(TARGET.to_owned(), 11)));
    assert_eq!(top.selected(), Some(0), "nobody has moved");
    top.key(Key::Down);
    keys(&mut top, "r");
    assert_eq!((top.lines()[0].id.clone(), top.selected()), (Id::Lun(TARGET.to_owned(), 0), Some(10)));
    assert_eq!(top.lines()[10].id, Id::Lun(TARGET.to_owned(), 10), "what was selected is where it went");
    keys(&mut top, "<<<<");
    assert_eq!(top.sorted_by().unwrap().head, "TARGET", "there is nothing before");
    keys(&mut top, ">>>>>>>>>>>>>>>>>>>>>>>>>>>");
    assert_eq!(top.sorted_by().unwrap().head, "SIZE", "nor behind");
    keys(&mut top, "3/TWO");
    assert_eq!(top.mode, Mode::Filter);
    assert_eq!(top.lines().len(), 1);
    keys(&mut top, "q");
    assert_eq!(top.lines().len(), 0, "q is a letter there");
    top.key(Key::Backspace);
    top.key(Key::Enter);
    assert_eq!((top.mode.clone(), top.lines().len()), (Mode::Look, 1));
    top.key(Key::Esc);
    assert_eq!(top.lines().len(), 2);
    keys(&mut top, &format!("/{}", "x".repeat(1000)));
    assert_eq!(top.filter.len(), 64);
    assert_eq!(top.key(Key::Interrupt), Wish::Quit);
}

#[test]
fn a_session_is_dropped_only_after_a_yes() {
    let mut top = top(1);
    assert_eq!(keys(&mut top, "d"), Wish::Nothing);
    assert!(top.note.as_ref().is_some_and(|note| note.contains("select a session")), "{:?}", top.note);
    assert_eq!(keys(&mut top, "3d"), Wish::Nothing);
    assert!(matches!(top.mode, Mode::Confirm(2, _)), "that with most tasks is first: {:?}", top.mode);
    let asked = drawn(&mut top, 80, 24).pop().unwrap();
    assert!(asked.starts_with("drop session 2 of iqn.2026-11.com.example:\u{fffd}[2Jtwo\u{fffd}? y/n"), "{asked}");
    // What comes meanwhile changes nothing of what was asked.
    let mut sessions = sample(13, 1, 3000);
    sessions.sessions.sessions.remove(1);
    top.take(sessions);
    assert_eq!(keys(&mut top, "n"), Wish::Nothing);
    assert_eq!((keys(&mut top, "dy"), top.mode.clone()), (Wish::Drop(1), Mode::Look));
    assert_eq!(keys(&mut top, "y"), Wish::Nothing);
    // None is left.
    let mut none = sample(14, 1, 3000);
    none.sessions.sessions.clear();
    top.take(none);
    assert_eq!((keys(&mut top, "dy"), top.selected()), (Wish::Nothing, None));
    drawn(&mut top, 80, 24);
}

#[test]
fn it_is_drawn_at_any_size() {
    for luns in [0, 3, 300] {
        for (width, height) in [(80, 24), (200, 50), (1, 1), (10, 3), (40, 12), (300, 5)] {
            let mut top = top(luns);
            for pane in "123?x".chars() {
                keys(&mut top, &pane.to_string());
                drawn(&mut top, width, height);
            }
            top.key(Key::End);
            top.lose("no ringsan answers");
            drawn(&mut top, width, height);
        }
    }
    drawn(&mut Top::new("none"), 80, 24);
}

#[test]
fn eighty_columns_show_what_matters() {
    let mut top = top(3);
    let lines = drawn(&mut top, 80, 24);
    assert!(
        lines[0].starts_with("ringsan 0.1.0  up 12 s  1.0k commands/s  read 4.1 MB/s  write 0.0 MB/s"),
        "{lines:#?}"
    );
    assert!(lines[1].starts_with("all is well at /run/ringsan/control.sock"), "{lines:#?}");
    assert!(
        lines[2].starts_with("commands/s") && lines[3].starts_with("now  1.0k") && lines[4].contains('█'),
        "{lines:#?}"
    );
    assert!(lines[5].starts_with(" 1 cores (1)   2 LUNs (3)   3 sessions (2)   by CMD/S ▼"), "{lines:#?}");
    assert!(lines[6].ends_with("LUN   CMD/S RD MB/S WR MB/S   READ  WRITE  FLUSH"), "{lines:#?}");
    assert!(
        lines[7].starts_with(TARGET) && lines[7].ends_with("2    2.0k     8.2     0.0   50us      -      -"),
        "{lines:#?}"
    );
    keys(&mut top, "1");
    let lines = drawn(&mut top, 80, 24);
    assert!(
        lines[7].contains("███████░░░  73%     2    1.0k     4.1     0.0   48us  1.2ms      -      -"),
        "{lines:#?}"
    );
    keys(&mut top, "3l");
    let lines = drawn(&mut top, 80, 24);
    assert!(lines[2].starts_with("mean latency") && lines[3].starts_with("now  50us"), "{lines:#?}");
    assert!(lines[8].contains("example:one") && lines[8].contains("192.0.2.1:5000"), "{lines:#?}");
    // A name that has no room shows its end.
    let mut long = sample(14, 3, 3000);
    long.sessions.sessions[0].initiator = format!("iqn.2026-11.com.example:{}-end", "x".repeat(200));
    top.take(long);
    let lines = drawn(&mut top, 80, 24);
    assert!(lines[8].contains("…xxx") && lines[8].contains("x-end "), "{lines:#?}");
}

#[test]
fn a_long_list_scrolls_with_the_selection() {
    let mut top = top(300);
    keys(&mut top, "<");
    let shown = |top: &mut Top| {
        let lines = drawn(top, 200, 50);
        let number = |line: &String| line.split_whitespace().nth(1).unwrap().parse::<u16>().unwrap();
        (number(&lines[7]), number(&lines[48]))
    };
    top.key(Key::Home);
    assert_eq!(shown(&mut top), (0, 41));
    top.key(Key::PageDown);
    assert_eq!(shown(&mut top), (1, 42));
    top.key(Key::End);
    assert_eq!(shown(&mut top), (258, 299));
    top.key(Key::Up);
    assert_eq!((shown(&mut top), top.selected()), ((258, 299), Some(298)));
    // The terminal gets smaller: the selection stays in sight.
    drawn(&mut top, 80, 24);
    assert_eq!(top.looks().first, 283);
    // Fewer are there than were looked at.
    top.take(sample(14, 3, 3000));
    assert_eq!((top.selected(), top.looks().first), (Some(2), 0));
    let page = drawn(&mut top, 80, 24);
    assert!(page[7].starts_with(TARGET) && page[10].trim().is_empty(), "{page:#?}");
}

#[test]
fn who_does_not_answer_is_said_and_what_was_known_stays() {
    let mut top = top(3);
    top.lose("no ringsan answers at \u{9b}x");
    let lines = drawn(&mut top, 80, 24);
    assert!(lines[1].starts_with("NO ANSWER, trying again: no ringsan answers at \u{fffd}x"), "{lines:#?}");
    assert!(lines[7].starts_with(TARGET), "{lines:#?}");
    top.take(sample(13, 3, 4000));
    assert!(drawn(&mut top, 80, 24)[1].starts_with("all is well"));
    for at in 14..2000 {
        top.take(sample(at, 1, 4000));
    }
    assert!(top.history.len() <= 600, "it is not kept for ever");
}

#[test]
fn figures_keep_to_their_columns() {
    assert_eq!(
        [0.0, 999.4, 999.9, 12_345.0, 999_949.0, 2_000_000.0].map(short),
        ["0", "999", "1.0k", "12.3k", "999.9k", "2.0M"]
    );
    assert_eq!([85.0, 1250.0, 999_960.0, 61e6].map(time), ["85us", "1.2ms", "1.0s", "61.0s"]);
    assert_eq!([0.0, 12_340_000.0, 12_345e6].map(megabytes), ["0.0", "12.3", "12345"]);
    for pane in Pane::ALL {
        let columns = super::draw::columns(pane, 80);
        let width: u16 = columns.iter().map(|(_, column)| column.width + 1).sum();
        let sharing = columns.iter().filter(|(_, column)| column.width == 0).count() as u16;
        assert!(width - 1 + sharing * 20 <= 80, "{pane:?}: {width}");
        assert!(columns.len() < super::draw::columns(pane, 200).len());
    }
}
