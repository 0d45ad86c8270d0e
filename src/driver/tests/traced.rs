//! Sessions whose PDUs somebody looks at.

use super::moves::move_once;
use super::peer::{Peer, good};
use super::{Server, TARGET};
use crate::backend::FaultPlan;
use crate::fabric::look::{Filter, Look, Looked, Notes};
use crate::fabric::mesh::Message;
use crate::limits::{TRACE_DATA_BYTES, TRACE_UNASKED_MS, TRACES};
use crate::model::IscsiName;
use crate::wire::{Opcode, Tsih, bhs};
use std::sync::Arc;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(2);
const LARGE: usize = 256 << 10;

fn look(server: &Server, core: usize, id: u64, what: &Arc<Filter>, room: usize) -> Looked {
    let (tell, told) = std::sync::mpsc::channel();
    let answer = Box::new(move |looked| tell.send(looked).unwrap());
    let look = Look { id, what: Arc::clone(what), empty: Notes::with_room(room), answer };
    server.mesh.post(core, Message::Look(Box::new(look)));
    told.recv_timeout(SOON).unwrap()
}

fn begin(server: &Server, cores: usize, what: Filter) -> Arc<Filter> {
    let what = Arc::new(what);
    for core in 0..cores {
        assert!(matches!(look(server, core, 1, &what, 1 << 20), Looked::Begun));
    }
    what
}

fn noted(server: &Server, core: usize, what: &Arc<Filter>) -> Notes {
    match look(server, core, 1, what, 1 << 20) {
        Looked::Notes(notes) => notes,
        other => panic!("{other:?}"),
    }
}

fn count(notes: &Notes, opcode: Opcode) -> usize {
    notes.iter().filter(|note| bhs::opcode(note.seen.bhs) == opcode).count()
}

#[test]
fn a_session_that_moves_stays_traced_and_another_one_is_not() {
    let server = Server::new(2, FaultPlan::new());
    let (mut peer, mut other) = (Peer::login(server.at, 1, &[]).ready(), Peer::login(server.at, 2, &[]).ready());
    let what = begin(&server, 2, Filter { session: Some(Tsih(peer.tsih)), ..Filter::default() });
    let mut reads = 0;
    for _ in 0..6 {
        for _ in 0..5 {
            let (read, others) = (peer.read(1, 0, 8), other.read(1, 0, 8));
            assert_eq!(peer.end(read, SOON).status, good().status);
            assert_eq!(other.end(others, SOON).status, good().status);
            reads += 1;
        }
        assert!(move_once(&server, &peer));
    }
    let all = [0, 1].map(|core| noted(&server, core, &what));
    for opcode in [Opcode::SCSI_COMMAND, Opcode::SCSI_DATA_IN] {
        let found = all.each_ref().map(|notes| count(notes, opcode));
        assert!(found[0] > 0 && found[1] > 0 && found[0] + found[1] == reads, "{opcode}: {found:?} of {reads}");
    }
    for note in all.iter().flat_map(Notes::iter) {
        assert_eq!(note.who.tsih, Tsih(peer.tsih));
        assert!(note.seen.data.is_empty(), "it was not asked for");
    }
    // Nothing is noted any more for who has gone.
    (0..2).for_each(|core| server.mesh.post(core, Message::EndLook(1)));
    let read = peer.read(1, 0, 8);
    peer.end(read, SOON);
    assert!(matches!(look(&server, 0, 1, &what, 1 << 20), Looked::Begun), "it begins anew");
}

#[test]
fn a_login_is_noted_from_its_first_pdu_on_without_what_it_proves() {
    let server = Server::guarded(1, &[("user", "a secret of sixteen")]);
    let target = Some(IscsiName::new(TARGET).unwrap());
    let what = begin(&server, 1, Filter { target, data: true, ..Filter::default() });
    let mut peer = Peer::connect(server.at);
    assert_eq!(peer.try_chap(1, 0, 0, ("user", "a secret of sixteen")), 0);
    let notes = noted(&server, 0, &what);
    let (asked, answered) = (count(&notes, Opcode::LOGIN_REQUEST), count(&notes, Opcode::LOGIN_RESPONSE));
    assert!(asked >= 3 && asked == answered, "{asked} {answered}");
    let text: Vec<u8> = notes.iter().flat_map(|note| note.seen.data.iter().copied().chain([0])).collect();
    let pairs: Vec<_> = text.split(|byte| *byte == 0).map(|pair| String::from_utf8_lossy(pair).into_owned()).collect();
    for key in ["CHAP_I=", "CHAP_C=", "CHAP_R="] {
        let value = pairs.iter().find_map(|pair| pair.strip_prefix(key)).unwrap_or_else(|| panic!("{key} {pairs:?}"));
        assert!(!value.is_empty() && value.bytes().all(|byte| byte == b'x'), "{key}{value}");
    }
    assert!(pairs.iter().any(|pair| pair == "CHAP_N=user"), "{pairs:?}");
    // A login for something else is not noted.
    Peer::discover(server.at, 2, "All");
    assert_eq!(count(&noted(&server, 0, &what), Opcode::LOGIN_REQUEST), 0);
}

#[test]
fn data_is_noted_as_it_is_sent_and_received_whichever_way_it_comes() {
    for server in [Server::new(1, FaultPlan::new()), Server::with_media(1, FaultPlan::new())] {
        let mut peer = Peer::login(server.at, 1, &[]).ready();
        let what = begin(&server, 1, Filter { data: true, ..Filter::default() });
        let write = peer.write(1, 0, 16, 7);
        assert_eq!(peer.end(write, SOON).status, good().status);
        // These come in several receives, and go to I/O buffers: the later ones straight away.
        for _ in 0..3 {
            peer.write_solicited(1, 0, LARGE);
            assert_eq!(peer.feed(1, 9, SOON).bhs[3], 0);
        }
        let read = peer.read(1, 0, 16);
        let back = peer.end(read, SOON).data;
        let notes = noted(&server, 0, &what);
        let of = |opcode| notes.iter().filter(move |note| bhs::opcode(note.seen.bhs) == opcode);
        let sent: Vec<u8> = of(Opcode::SCSI_DATA_IN).flat_map(|note| note.seen.data.to_vec()).collect();
        assert_eq!(sent, back[..sent.len()]);
        assert_eq!(sent.len(), back.len().min(TRACE_DATA_BYTES));
        let written: Vec<_> = of(Opcode::SCSI_COMMAND).filter(|note| !note.seen.data.is_empty()).collect();
        assert!(written.iter().any(|note| note.seen.data.iter().all(|byte| *byte == 7)), "{written:?}");
        let out: Vec<_> = of(Opcode::SCSI_DATA_OUT).collect();
        let claimed: usize = out.iter().map(|note| bhs::data_segment_len(note.seen.bhs)).sum();
        assert_eq!(claimed, 3 * LARGE);
        for note in out {
            let len = bhs::data_segment_len(note.seen.bhs);
            assert!(note.seen.data == vec![9; len.min(TRACE_DATA_BYTES)]);
        }
    }
}

#[test]
fn what_finds_no_room_is_counted_and_who_does_not_come_is_forgotten() {
    let server = Server::new(1, FaultPlan::new());
    let mut peer = Peer::login(server.at, 1, &[]).ready();
    let what = Arc::new(Filter::default());
    assert!(matches!(look(&server, 0, 1, &what, 1000), Looked::Begun));
    for id in 2..=TRACES as u64 {
        assert!(matches!(look(&server, 0, id, &what, 1000), Looked::Begun));
    }
    assert!(matches!(look(&server, 0, 99, &what, 1000), Looked::Full));
    (0..100).for_each(|_| peer.ping());
    let notes = noted(&server, 0, &what);
    assert!(notes.len() <= 1000 && notes.iter().count() > 2, "{}", notes.len());
    assert_eq!(notes.iter().count() as u64 + notes.dropped, 200);
    std::thread::sleep(Duration::from_millis(TRACE_UNASKED_MS / 2));
    noted(&server, 0, &what);
    std::thread::sleep(Duration::from_millis(TRACE_UNASKED_MS / 2 + 1500));
    assert!(matches!(look(&server, 0, 99, &what, 1000), Looked::Begun), "there is room again");
    noted(&server, 0, &what);
}
