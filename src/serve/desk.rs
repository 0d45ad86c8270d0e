//! The configuration file on the control thread's desk: read again, changed, or only looked at.
//!
//! A new text is durable before it is served, and takes the place of the one before when it is: who comes to its end in
//! between finds the old file, and nothing that it does not say.

use super::file::{ConfigFile, Read, Reading};
use super::reload::Reloader;
use crate::config::diff;
use crate::config::edit::{EditError, concealed, edited, revealed};
use crate::config::store::{self, NewText};
use crate::mgmt::{Came, NotDone, Order, Planned, Served, Tag, Wanted, view};
use crate::model::Snapshot;
use std::sync::Arc;
use zeroize::Zeroizing;

/// What does not answer.
const SILENT: &str = "a file system does not answer, that of the file or of one that it names";

fn silent<T, E: From<Vec<String>>>() -> Result<T, E> {
    Err(E::from(vec![SILENT.to_owned()]))
}

/// The file, and what tells the text of it that is served.
pub(super) struct Desk {
    pub(super) file: Arc<ConfigFile>,
    pub(super) tag: Tag,
}

/// A change, ready to be served.
struct Ready {
    read: Read,
    lun: Option<u16>,
    /// It is about one thing: what is wrong with that keeps it from being done.
    is_edit: bool,
    /// The new text beside the file; none: it stays as it is.
    new: Option<NewText>,
    /// What tells the text that the file has.
    before: String,
}

impl Desk {
    /// Does what is wanted, and says what came of it.
    pub(super) fn carry_out(&self, reloader: &mut Reloader, order: Order) -> Result<Came, NotDone> {
        let file = Arc::clone(&self.file);
        match order {
            Order { wanted: Wanted::Show, .. } => reloader.beside(move || show(&file)).unwrap_or_else(silent),
            Order { wanted: Wanted::Reread, only_if: None, dry: false } => {
                Ok(self.read_again(reloader).map(Came::Applied)?)
            }
            Order { dry: true, .. } => {
                let ready = reloader.beside(move || prepare(&file, order)).unwrap_or_else(silent)?;
                let before = Arc::clone(reloader.world().directory.snapshot());
                let Read { snapshot, warnings, .. } = ready.read;
                let (there, after, kept) = reloader.foreseen(snapshot);
                let steps = diff::steps(&there, &after);
                let planned = Planned { lun: ready.lun, before, after, steps, kept, warnings, tag: ready.before };
                Ok(Came::Planned(Box::new(planned)))
            }
            Order { .. } => {
                let ready = reloader.beside(move || prepare(&file, order)).unwrap_or_else(silent);
                let ready = ready.inspect_err(say_refused)?;
                Ok(self.change(reloader, ready).map(Came::Applied)?)
            }
        }
    }

    /// Reads the configuration and serves it; says in the log what came of it, and returns that.
    fn read_again(&self, reloader: &mut Reloader) -> Served {
        let file = Arc::clone(&self.file);
        let read = reloader.beside(move || (file.read)(Reading { text: None, make: true })).unwrap_or_else(silent);
        match read {
            Ok(read) => self.serve(reloader, read, Reloader::serve_instead),
            Err(faults) => {
                for fault in &faults {
                    tracing::error!(
                        event = "config-refused",
                        "configuration read again, and everything stays as it was: {fault}"
                    );
                }
                Err(faults)
            }
        }
    }

    fn serve(&self, reloader: &mut Reloader, read: Read, serve: fn(&mut Reloader, Snapshot) -> Served) -> Served {
        for warning in &read.warnings {
            tracing::warn!("{warning}");
        }
        let applied = serve(reloader, read.snapshot)?;
        *self.tag.lock() = read.tag;
        Ok(view::Applied { warnings: read.warnings, ..applied })
    }

    /// Serves a change, and has the file say so.
    fn change(&self, reloader: &mut Reloader, Ready { read, lun, is_edit, new, .. }: Ready) -> Served {
        let serve = if is_edit { Reloader::serve_changed } else { Reloader::serve_instead };
        let applied = self.serve(reloader, read, serve)?;
        let put = new.map(|new| reloader.beside(move || new.put().map_err(|fault| fault.to_string())));
        if let Some(Err(fault)) = put.map(|put| put.unwrap_or_else(|| Err(SILENT.to_owned()))) {
            tracing::error!(
                event = "config-refused",
                "the configuration file is not changed, so what it says is served: {fault}"
            );
            let _ = self.read_again(reloader);
            return Err(vec![fault]);
        }
        Ok(view::Applied { lun, ..applied })
    }
}

fn say_refused(not_done: &NotDone) {
    let why = match not_done {
        NotDone::Faults(faults) => faults.join("; "),
        NotDone::NotFound(why) | NotDone::Taken(why) => why.clone(),
        NotDone::Otherwise => "the file has another text than the change is for".to_owned(),
    };
    tracing::warn!(event = "config-refused", "a change of the configuration, and everything stays as it was: {why}");
}

impl From<EditError> for NotDone {
    fn from(error: EditError) -> NotDone {
        match error {
            error if error.is_not_found() => NotDone::NotFound(error.to_string()),
            error if error.is_taken() => NotDone::Taken(error.to_string()),
            error => NotDone::Faults(vec![error.to_string()]),
        }
    }
}

fn text_of(file: &ConfigFile) -> Result<Zeroizing<String>, Vec<String>> {
    store::text(&file.path).map_err(|fault| vec![fault.to_string()])
}

fn show(file: &ConfigFile) -> Result<Came, NotDone> {
    let text = text_of(file)?;
    Ok(Came::Shown(concealed(&text)?, store::tag(&text)))
}

/// What an order comes to; and, if it is to be done, the new text beside the file.
fn prepare(file: &ConfigFile, order: Order) -> Result<Ready, NotDone> {
    let before = text_of(file)?;
    let tag = store::tag(&before);
    if order.only_if.is_some_and(|tags| !tags.contains(&tag)) {
        return Err(NotDone::Otherwise);
    }
    let (text, lun) = match &order.wanted {
        Wanted::Reread | Wanted::Show => (String::clone(&before), None),
        Wanted::Edit(edit) => edited(&before, edit)?,
        Wanted::Text(text) => (revealed(text, &before)?, None),
    };
    let text = Zeroizing::new(text);
    let read = (file.read)(Reading { text: Some(&text), make: !order.dry })?;
    let is_new = !order.dry && *text != *before;
    let new = is_new.then(|| NewText::write(&file.path, before, &text)).transpose();
    let new = new.map_err(|fault| vec![fault.to_string()])?;
    let is_edit = matches!(order.wanted, Wanted::Edit(_));
    Ok(Ready { read, lun, is_edit, new, before: tag })
}
