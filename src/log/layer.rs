//! Between `tracing` and what is written: which lines there are, in the log and among the events.

use super::Spool;
use super::bound::Bound;
use super::record::{KIND, Record};
use crate::events::Events;
use crate::panics::Mutex;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// Says what is said of the filter itself.
const OWN: &str = "ringsan::log=info";

/// The log of a process that serves.
#[derive(Debug)]
pub struct Log {
    handle: reload::Handle<EnvFilter, Registry>,
    /// What it leaves out, in words.
    filter: Mutex<String>,
    /// One change at a time.
    changing: std::sync::Mutex<()>,
    events: Arc<Events>,
}

impl Log {
    /// Has all that is said from now on written to `spool`, as far as `filter` says; and kept as events what is one.
    ///
    /// # Errors
    /// That is no filter.
    pub fn start(filter: &str, spool: &Spool) -> Result<Log, String> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        let events = Arc::new(Events::since(since));
        let (reloaded, handle) = reload::Layer::new(parsed(filter)?);
        let lines = Lines::to(spool.clone()).with_filter(reloaded);
        tracing_subscriber::registry().with(lines).with(Keep(Arc::clone(&events)).with_filter(worth_an_event())).init();
        Ok(Log { handle, filter: Mutex::new(filter.to_owned()), changing: std::sync::Mutex::default(), events })
    }

    /// What has happened.
    pub fn events(&self) -> Arc<Events> {
        Arc::clone(&self.events)
    }

    /// What is left out of the log, in words.
    pub fn filter(&self) -> String {
        self.filter.lock().clone()
    }

    /// Has the log leave out something else, and say so.
    ///
    /// # Errors
    /// That is no filter: everything stays as it was.
    pub fn set_filter(&self, filter: &str) -> Result<(), String> {
        let new = parsed(filter)?;
        let _turn = self.changing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let before = self.filter();
        let failed = |error: reload::Error| error.to_string();
        // Said in any case: also by a log that is told to be silent, and by one that was.
        if let Ok(own) = parsed(&format!("{before},{OWN}")) {
            self.handle.reload(own).map_err(failed)?;
        }
        tracing::info!(target: "ringsan::log", event = "log-filter", filter, before, "the log leaves out something else");
        self.handle.reload(new).map_err(failed)?;
        filter.clone_into(&mut self.filter.lock());
        Ok(())
    }
}

fn parsed(filter: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(filter).map_err(|error| format!("'{}' is no log filter: {error}", filter.escape_debug()))
}

/// Writes lines, as many as there may be.
struct Lines {
    spool: Spool,
    bound: Bound,
    begin: Instant,
}

impl Lines {
    fn to(spool: Spool) -> Lines {
        Lines { spool, bound: Bound::default(), begin: Instant::now() }
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if self.bound.admits(*event.metadata().level(), self.begin.elapsed().as_secs()) {
            self.spool.say(&self.spool.form.line(&Record::of(event)));
        } else {
            self.spool.leave_out();
        }
    }
}

/// Keeps events.
struct Keep(Arc<Events>);

impl<S: Subscriber> Layer<S> for Keep {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.0.put(Record::of(event).into_event());
    }
}

/// Lines of our own for information, and worse; and finer ones of which the kind has a name: they are in the log in other words.
fn worth_an_event() -> FilterFn<fn(&Metadata<'_>) -> bool> {
    let is_worth_it: fn(&Metadata<'_>) -> bool = |line| {
        let is_own = line.target() == "ringsan" || line.target().starts_with("ringsan::");
        is_own && (*line.level() <= Level::INFO || line.fields().field(KIND).is_some())
    };
    FilterFn::new(is_worth_it).with_max_level_hint(LevelFilter::DEBUG)
}

#[cfg(test)]
mod tests {
    use super::super::form::Form;
    use super::super::pen::Pen;
    use super::*;
    use crate::limits::LINES_PER_SECOND;
    use std::io::{BufRead, BufReader};
    use tracing::subscriber::with_default;

    /// What peers may put into a name, if it is not looked at.
    const HOSTILE: &str = "iqn.2026-11.com.example:\x1b]0;x\x07\nERROR ringsan: forged\r\u{202e}\u{9b}2J\0";

    fn lines_of(form: Form, say: impl FnOnce()) -> Vec<String> {
        let (reader, writer) = std::io::pipe().unwrap();
        let spool = Spool::with(form, "log", Pen::to_file(form, &writer).unwrap()).unwrap();
        drop(writer);
        with_default(tracing_subscriber::registry().with(Lines::to(spool)), say);
        BufReader::new(reader).lines().map(Result::unwrap).collect()
    }

    #[test]
    fn nothing_of_a_peer_is_taken_for_more_than_a_text_in_any_form() {
        let say = || {
            let error = std::io::Error::other(HOSTILE);
            tracing::warn!(initiator = HOSTILE, shown = %HOSTILE, other = ?Some(HOSTILE), event = HOSTILE, "refused: {HOSTILE}");
            tracing::error!(error = &error as &dyn std::error::Error, "no");
        };
        for form in [Form::Text, Form::Prefixed, Form::Json, Form::Journal] {
            let lines = lines_of(form, say);
            assert!(form == Form::Journal || lines.len() == 2, "{lines:#?}");
            let shown = ["\\u{1b}]0;x\\u{7}\\nERROR ringsan: forged\\r\\u{202e}\\u{9b}2J\\0"];
            for line in &lines {
                assert!(line.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{line:?}");
                assert!(!line.starts_with("ERROR "), "{line:?}");
            }
            let shown = if form == Form::Json { shown[0].replace('\\', "\\\\") } else { shown[0].to_owned() };
            let whole = lines.join("\n");
            let times = whole.matches(&shown).count();
            assert!(times >= if form == Form::Text || form == Form::Prefixed { 3 } else { 5 }, "{times}: {whole}");
        }
        let events = Arc::new(Events::since(1));
        with_default(tracing_subscriber::registry().with(Keep(Arc::clone(&events))), say);
        let heard = events.read(&mut events.place_after(None));
        assert_eq!(heard.events.len(), 2);
        let texts = |event: &crate::events::Event| {
            let fields = event.fields.iter().map(|(_, value)| value.to_string());
            fields.chain([event.message.clone(), event.kind.clone()]).collect::<String>()
        };
        let all: String = heard.events.iter().map(|(_, event)| texts(event)).collect();
        assert!(all.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{all:?}");
    }

    #[test]
    fn a_flood_is_bounded_and_owned_up_to() {
        const ALL: u32 = 4 * LINES_PER_SECOND;
        let lines = lines_of(Form::Text, || (0..ALL).for_each(|number| tracing::warn!(number, "again")));
        let lost =
            |line: &str| line.strip_prefix("ringsan: ")?.strip_suffix(" lines were lost here")?.parse::<u32>().ok();
        let (mut said, mut owned) = (0, 0);
        for line in &lines {
            match lost(line) {
                Some(count) => owned += count,
                None => said += 1,
            }
        }
        // Another second may have begun meanwhile.
        assert!((LINES_PER_SECOND..=2 * LINES_PER_SECOND).contains(&said), "{said}");
        assert_eq!(said + owned, ALL, "each is there or owned up to");
    }

    #[test]
    fn what_the_log_leaves_out_changes_and_events_do_not() {
        let (reader, writer) = std::io::pipe().unwrap();
        let spool = Spool::with(Form::Text, "log", Pen::to_file(Form::Text, &writer).unwrap()).unwrap();
        drop(writer);
        // As `Log::start`, for this thread alone.
        let events = Arc::new(Events::since(1));
        let (reloaded, handle) = reload::Layer::new(parsed("error").unwrap());
        let subscriber = tracing_subscriber::registry()
            .with(Lines::to(spool).with_filter(reloaded))
            .with(Keep(Arc::clone(&events)).with_filter(worth_an_event()));
        let (filter, changing) = (Mutex::new("error".to_owned()), std::sync::Mutex::default());
        let log = Log { handle, filter, changing, events: Arc::clone(&events) };
        with_default(subscriber, || {
            let say = |number: u32| {
                tracing::warn!(number, "one");
                tracing::debug!(number, "two");
                tracing::debug!(number, event = "three", "three");
                tracing::warn!(target: "hyper", number, "not ours");
            };
            say(1);
            log.set_filter("ringsan=debug").unwrap();
            say(2);
            assert!(log.set_filter("ringsan::[").unwrap_err().contains("is no log filter"));
            assert_eq!(log.filter(), "ringsan=debug");
            log.set_filter("off").unwrap();
            say(3);
            log.set_filter("info").unwrap();
        });
        drop(log);
        let lines: Vec<String> = BufReader::new(reader).lines().map(Result::unwrap).collect();
        let said = |what: &str| lines.iter().filter(|line| line.ends_with(what)).count();
        assert_eq!([said("one number=1"), said("one number=2"), said("one number=3")], [0, 1, 0]);
        assert_eq!([said("two number=2"), said("three number=2"), said("not ours number=2")], [1, 1, 0]);
        assert_eq!(lines.iter().filter(|line| line.contains("leaves out something else")).count(), 3, "{lines:#?}");
        let heard = events.read(&mut events.place_after(None)).events;
        let kinds: Vec<&str> = heard.iter().map(|(_, event)| &*event.kind).collect();
        let each = ["warning", "three"];
        let wanted = [&each[..], &["log-filter"], &each, &["log-filter"], &each, &["log-filter"]].concat();
        assert_eq!(kinds, wanted);
    }
}
