//! A stream of bytes in any chunks: the PDUs that the framer finds do not depend on how it was cut, and every view of them
//! reads any header.

use super::input::Input;
use ringsan::wire::*;

/// A PDU as it was put together again.
#[derive(Debug, PartialEq, Eq)]
struct Pdu {
    bhs: Bhs,
    ahs: Vec<u8>,
    data: Vec<u8>,
    intact: bool,
}

fn cut(mut framer: Framer, stream: &[u8], mut chunk_len: impl FnMut() -> usize) -> (Vec<Pdu>, Option<FrameError>) {
    let (mut pdus, mut open, mut at) = (Vec::new(), None, 0);
    while at < stream.len() {
        let mut chunk = &stream[at..stream.len().min(at + chunk_len().max(1))];
        at += chunk.len();
        loop {
            match framer.next(&mut chunk) {
                Ok(Frame::NeedMore) => break,
                Ok(Frame::Whole { bhs, ahs, data, data_digest_ok }) => {
                    pdus.push(Pdu { bhs: *bhs, ahs: ahs.to_vec(), data: data.to_vec(), intact: data_digest_ok });
                }
                Ok(Frame::Begin { bhs, ahs, data_len }) => {
                    assert_eq!(data_len, framer_len(bhs), "Begin tells another length than the header");
                    open = Some(Pdu { bhs: *bhs, ahs: ahs.to_vec(), data: Vec::new(), intact: true });
                }
                Ok(Frame::Data(bytes)) => {
                    assert!(!bytes.is_empty(), "no bytes");
                    open.as_mut().expect("data of a PDU that began").data.extend_from_slice(bytes);
                }
                Ok(Frame::End { data_digest_ok }) => {
                    let mut pdu = open.take().expect("the end of a PDU that began");
                    pdu.intact = data_digest_ok;
                    assert_eq!(pdu.data.len(), framer_len(&pdu.bhs), "bytes of the data segment");
                    pdus.push(pdu);
                }
                Err(error) => return (pdus, Some(error)),
            }
        }
        assert!(chunk.is_empty(), "NeedMore with bytes left");
    }
    (pdus, None)
}

fn framer_len(header: &Bhs) -> usize {
    bhs::data_segment_len(header)
}

/// Every view of a header: what is parsed and emitted again is parsed the same.
fn views(pdu: &Pdu) {
    macro_rules! check {
        ($($view:ident)*) => {$(
            if let Ok(view) = $view::parse(&pdu.bhs) {
                let mut again = [0; BHS_LEN];
                view.emit(&mut again);
                assert_eq!($view::parse(&again).as_ref(), Ok(&view), "emitted and parsed again");
            }
        )*};
    }
    check!(ScsiCommand LoginRequest LogoutRequest TextRequest NopOut DataOut SnackRequest TaskManagementRequest);
    check!(ScsiResponse LoginResponse LogoutResponse TextResponse NopIn DataIn R2t Reject AsyncMessage);
    if let Ok(command) = ScsiCommand::parse(&pdu.bhs) {
        let mut long = [0; ahs::MAX_CDB];
        if let Ok(len) = ahs::cdb(&command, &pdu.ahs, &mut long) {
            assert!(len <= long.len(), "a CDB of {len} bytes");
        }
    }
}

/// See the module.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let (header, digests, most) = (input.flag(), input.flag(), input.len(1 << 18));
    let cuts = input.array::<16>();
    let mut framer = Framer::new(most);
    framer.set_digests(header, digests);
    let mut other = Framer::new(most);
    other.set_digests(header, digests);
    let whole = cut(framer, input.0, || usize::MAX >> 1);
    let mut turn = 0;
    let pieces = cut(other, input.0, || {
        turn += 1;
        usize::from(cuts[turn % cuts.len()])
    });
    assert_eq!(whole, pieces, "what is found depends on how the stream was cut");
    whole.0.iter().for_each(views);
}
