//! A trace as it is written: as a capture or as lines.

use super::lines;
use super::pcapng::Capture;
use crate::fabric::look::Note;

/// How a trace is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::mgmt) enum Form {
    /// As a capture.
    Pcapng,
    /// As lines.
    Lines,
}

/// What is written, until it is taken.
pub(super) struct Written {
    /// `None`: lines.
    capture: Option<Capture>,
    bytes: Vec<u8>,
    line: String,
    /// PDUs that were lost before the next one.
    lost: u64,
    /// There were some since what was written was taken.
    has_lost: bool,
}

impl Written {
    /// Nothing, but for the beginning of the form.
    pub(super) fn new(form: Form) -> Written {
        let mut bytes = Vec::new();
        let capture = (form == Form::Pcapng).then(|| Capture::begin(&mut bytes));
        Written { capture, bytes, line: String::new(), lost: 0, has_lost: false }
    }

    /// So many PDUs were lost.
    pub(super) fn lost(&mut self, pdus: u64) {
        self.lost += pdus;
        self.has_lost |= pdus > 0;
    }

    /// Adds a PDU.
    pub(super) fn pdu(&mut self, at_ns: u64, note: &Note<'_>) {
        self.say_lost();
        match &mut self.capture {
            Some(capture) => capture.pdu(at_ns, note, &mut self.bytes),
            None => {
                lines::pdu(at_ns, note, &mut self.line);
                self.take_line();
            }
        }
    }

    fn say_lost(&mut self) {
        let lost = std::mem::take(&mut self.lost);
        match &mut self.capture {
            _ if lost == 0 => {}
            Some(capture) => capture.lost(lost),
            None => {
                lines::lost(lost, &mut self.line);
                self.take_line();
            }
        }
    }

    fn take_line(&mut self) {
        self.bytes.extend_from_slice(self.line.as_bytes());
        self.line.clear();
    }

    /// Takes what was written since the last time: nothing, if there is no news. `ends`: there will be no more.
    pub(super) fn take(&mut self, ends: bool) -> Vec<u8> {
        if std::mem::take(&mut self.has_lost) || ends {
            self.say_lost();
            if let Some(capture) = &self.capture {
                capture.statistics(&mut self.bytes);
            }
        }
        std::mem::take(&mut self.bytes)
    }
}
