//! Text Requests in full feature phase: SendTargets, and the few keys that may still be negotiated (RFC 7143 sections 6.4,
//! 11.10, 11.11 and appendix C).
//!
//! [`Conversations`] remembers, for each connection of a session, the negotiation that is under way; [`Asker`] is who
//! has sent a Text Request, with what answering it takes. What a Text PDU costs in sequence numbers is the session's.
//!
//! Invariants: values take effect with the final answer or not at all; an answer is never longer than the initiator takes;
//! a connection has one negotiation, whose text is bounded by `limits`.

use std::net::SocketAddr;

use super::directory::Directory;
use super::login::keys::Key;
use super::login::ltds::{Inbound, Outbound};
use super::login::negotiate::{Negotiation, Offer, Phase};
use super::params::{Params, SessionKind};
use super::seam::ConnIx;
use crate::limits;
use crate::model::IscsiName;
use crate::shares::{Held, Store};
use crate::wire::text::{Pairs, TextWriter};
use crate::wire::{Itt, RejectReason, TextRequest, Ttt};

#[cfg(test)]
mod tests;

/// The negotiations under way on the connections of one session.
#[derive(Debug, Default)]
pub struct Conversations {
    slots: [Option<Box<Conversation>>; limits::CONNECTION_SLOTS],
    last_ttt: u32,
    store: Store,
}

/// One negotiation.
#[derive(Debug)]
struct Conversation {
    itt: Itt,
    ttt: Ttt,
    inbound: Inbound,
    outbound: Outbound,
    negotiation: Negotiation,
    /// SendTargets was asked for.
    targets_sent: bool,
    exchanges: u32,
    /// What it is charged while it waits for the next request.
    held: Held,
}

/// Who asks, and where.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// What the session is for.
    pub kind: SessionKind,
    /// The initiator.
    pub initiator: &'a IscsiName,
    /// The target of the session; `None` in an unnamed discovery session.
    pub target: Option<&'a IscsiName>,
    /// The local address of the connection.
    pub portal: SocketAddr,
    /// The peer's address.
    pub peer: SocketAddr,
}

/// Header fields of the Text Response to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// The F bit.
    pub is_final: bool,
    /// The C bit.
    pub cont: bool,
    /// Target Transfer Tag; reserved exactly if `is_final`.
    pub ttt: Ttt,
}

impl Conversations {
    /// Has the negotiations under way, and later ones, counted in `store`, with those of other sessions.
    pub fn keep_in(&mut self, store: &Store) {
        self.store = store.clone();
        for conversation in self.slots.iter_mut().flatten() {
            conversation.held = store.hold(conversation.cost());
        }
    }

    /// Forgets what was under way on a connection that has ended.
    pub fn forget(&mut self, conn: ConnIx) {
        if let Some(slot) = self.slots.get_mut(usize::from(conn.0)) {
            *slot = None;
        }
    }

    /// Answers one Text Request. `answer` takes the data segment of the response.
    ///
    /// # Errors
    /// The reason of the Reject to be sent instead; the negotiation is over, and `params` are what they were.
    #[allow(clippy::too_many_arguments, reason = "a request, its surroundings and its answer")]
    pub fn request(
        &mut self,
        directory: &dyn Directory,
        asker: &Asker<'_>,
        params: &mut Params,
        conn: ConnIx,
        request: &TextRequest,
        data: &[u8],
        answer: &mut Vec<u8>,
    ) -> Result<Reply, RejectReason> {
        //= RFC 7143 section 11.10.2
        //# A Text Request with the C bit
        //# set to 1 MUST have the F bit set to 0.
        //= RFC 7143 section 6.2
        //# As negotiation text may span PDU boundaries, a Text or Login Request or
        //# a Text or Login Response PDU that has the C bit set to 1 MUST NOT have
        //# the F bit or T bit set to 1.
        if request.is_final && request.cont {
            self.forget(conn);
            return Err(RejectReason::PROTOCOL_ERROR);
        }
        let mut conversation = self.resume(conn, request, params)?;
        conversation.advance(directory, asker, request, data)?;
        let reply = conversation.reply(request, params, answer);
        conversation.held.set(if reply.is_final { 0 } else { conversation.cost() });
        //= RFC 7143 section 11.11.4
        //# When a target cannot finish the operation in a single Text Response
        //# and does not have enough resources to continue, it rejects the Text
        //# Request with the appropriate Reject code.
        if conversation.held.bytes() > limits::NEGOTIATION_BYTES_BESIDE && conversation.held.is_crowded() {
            return Err(RejectReason::LONG_OP_REJECT);
        }
        if let Some(slot) = self.slots.get_mut(usize::from(conn.0)).filter(|_| !reply.is_final) {
            *slot = Some(conversation);
        }
        Ok(reply)
    }

    /// Takes the negotiation that a request goes on with out of its slot, or begins one.
    fn resume(
        &mut self,
        conn: ConnIx,
        request: &TextRequest,
        params: &Params,
    ) -> Result<Box<Conversation>, RejectReason> {
        let slot = self.slots.get_mut(usize::from(conn.0)).ok_or(RejectReason::LONG_OP_REJECT)?;
        let under_way = slot.take();
        if !request.ttt.is_reserved() {
            //= RFC 7143 section 11.11.4
            //# The target may reject subsequent Text Requests with
            //# the Target Transfer Tag set to the "stale" value.
            let same = under_way.filter(|c| (c.ttt, c.itt) == (request.ttt, request.itt));
            return same.ok_or(RejectReason::INVALID_PDU_FIELD);
        }
        //= RFC 7143 section 11.10.4
        //# When the Target Transfer Tag is set to the reserved value 0xffffffff,
        //# it tells the target that this is a new request, and the target resets
        //# any internal state associated with the Initiator Task Tag (resets the
        //# current negotiation state).
        let next = self.last_ttt.wrapping_add(1);
        self.last_ttt = if Ttt(next).is_reserved() { 0 } else { next };
        Ok(Box::new(Conversation {
            itt: request.itt,
            ttt: Ttt(self.last_ttt),
            inbound: Inbound::default(),
            outbound: Outbound::default(),
            negotiation: Negotiation::new(*params, Phase::FullFeature, SessionKind::Normal),
            targets_sent: false,
            exchanges: 0,
            held: self.store.hold(0),
        }))
    }
}

impl Conversation {
    /// Bytes of memory that the negotiation takes.
    fn cost(&self) -> usize {
        size_of::<Conversation>() + self.inbound.cost() + self.outbound.cost()
    }

    /// Takes the text of a request and prepares what is to be answered.
    fn advance(
        &mut self,
        directory: &dyn Directory,
        asker: &Asker<'_>,
        request: &TextRequest,
        data: &[u8],
    ) -> Result<(), RejectReason> {
        if self.outbound.is_pending() {
            //= RFC 7143 section 6.2
            //# An initiator receiving a Text or Login
            //# Response with the C bit set to 1 MUST answer with a Text or Login
            //# Request with no data segment (DataSegmentLength 0).
            let only_more = data.is_empty() && !request.cont;
            return if only_more { Ok(()) } else { Err(RejectReason::PROTOCOL_ERROR) };
        }
        self.exchanges += 1;
        if self.exchanges > limits::MAX_TEXT_EXCHANGES {
            return Err(RejectReason::LONG_OP_REJECT);
        }
        self.inbound.push(data).map_err(|_| RejectReason::LONG_OP_REJECT)?;
        if request.cont {
            return Ok(());
        }
        let text = self.inbound.take();
        let mut answer = Vec::new();
        //= RFC 7143 appendix C
        //# A system that contains targets MUST support Discovery sessions on each
        //# of its iSCSI IP address-port pairs and MUST support the SendTargets
        //# command on the Discovery session.
        match send_targets(&text)? {
            Some(_) if std::mem::replace(&mut self.targets_sent, true) => return Err(RejectReason::PROTOCOL_ERROR),
            Some(value) => targets(directory, asker, value, &mut answer)?,
            //= RFC 7143 section 4.3
            //# The target MUST ONLY accept Text Requests with the SendTargets
            //# key and a Logout Request with reason "close the session".  All
            //# other requests MUST be rejected.
            None if asker.kind == SessionKind::Discovery && !(self.targets_sent && text.is_empty()) => {
                return Err(RejectReason::PROTOCOL_ERROR);
            }
            //= RFC 7143 section 6.4
            //# If such an attempt is
            //# detected by the target, the target MUST respond with a Reject PDU
            //# with a reason of "Protocol Error".
            //= RFC 7143 section 6.4
            //# Targets MUST NOT submit parameters that require an additional initiator
            //# Text Request in a Text Response with the F bit set to 1.
            //
            // The target only answers here, and submits nothing of its own.
            None => self
                .negotiation
                .turn(&text, &Offer::default(), &mut answer)
                .map_err(|_| RejectReason::PROTOCOL_ERROR)?,
        }
        //= RFC 7143 section 11.11.4
        //# When a target cannot finish the operation in a single Text Response
        //# and does not have enough resources to continue, it rejects the Text
        //# Request with the appropriate Reject code.
        self.outbound.start(answer).map_err(|_| RejectReason::LONG_OP_REJECT)
    }

    /// The next part of our text, and whether that ends the negotiation.
    fn reply(&mut self, request: &TextRequest, params: &mut Params, answer: &mut Vec<u8>) -> Reply {
        //= RFC 7143 section 11.11.6
        //# The data lengths of a Text Response MUST NOT exceed the iSCSI
        //# initiator MaxRecvDataSegmentLength (a parameter that is negotiated
        //# per connection and per direction).
        //
        // Linux drops the connection on more than 8192 bytes of text, whatever MaxRecvDataSegmentLength it declared.
        let max = usize::try_from(params.own.initiator_max_recv_bytes).unwrap_or(usize::MAX);
        answer.extend_from_slice(self.outbound.part(max.min(limits::MAX_CONTROL_DATA_BYTES)));
        let cont = self.outbound.is_pending();
        //= RFC 7143 section 11.11.1
        //# A Text Response with the
        //# F bit set to 1 in response to a Text Request with the F bit set to 0
        //# is a protocol error.
        //= RFC 7143 section 6.4
        //# Note that in the same case of a Text Request with the F bit set to 1,
        //# the target SHOULD NOT respond with an empty (no key=value pairs) Text
        //# Response with the F bit set to 0, because such a response may cause the
        //# initiator to abandon the negotiation.
        //= RFC 7143 section 11.11.1
        //# A Text Response with the F bit set to 1 MUST NOT contain key=value pairs
        //# that may require additional answers from the initiator.
        //= RFC 7143 section 11.11.2
        //# A Text Response with the C bit set to 1 MUST have the F bit set to 0.
        let is_final = request.is_final && !cont;
        if is_final {
            //= RFC 7143 section 6.4
            //# Parameters negotiated by a text exchange negotiation sequence only
            //# become effective after the negotiation sequence is completed.
            //= RFC 7143 section 6.2
            //# Negotiations MUST be handled as atomic operations.
            //
            //= RFC 7143 section 7.12
            //# The operational parameters of the session or the connection MUST
            //# continue to be the values agreed upon during an earlier successful
            //# negotiation (i.e., any partial results of this unsuccessful negotiation
            //# MUST NOT take effect and MUST be discarded).
            *params = self.negotiation.params;
        }
        //= RFC 7143 section 6.4
        //# Whenever the target responds with the F bit set to 0, it MUST set the
        //# Target Transfer Tag to a value other than the default 0xffffffff.
        //= RFC 7143 section 11.10.4
        //# It MUST do so whenever it sets the F bit to 0 in the response.
        //= RFC 7143 section 11.11.1
        //# A Text Response with the F bit set to 1 MUST have a Target Transfer Tag
        //# field set to the reserved value 0xffffffff.
        //= RFC 7143 section 11.11.1
        //# A Text Response with the F bit set to 0 MUST have a Target Transfer Tag
        //# field set to a value other than the reserved value 0xffffffff.
        //= RFC 7143 section 11.11.4
        //# When a target has more work to do (e.g., cannot transfer all the
        //# remaining text data in a single Text Response or has to continue the
        //# negotiation) and has enough resources to proceed, it MUST set the Target
        //# Transfer Tag to a value other than the reserved value 0xffffffff.
        //= RFC 7143 section 11.11.4
        //# Otherwise, the Target Transfer Tag MUST be set to 0xffffffff.
        Reply { is_final, cont, ttt: if is_final { Ttt::RESERVED } else { self.ttt } }
    }
}

/// The value of SendTargets, if that is what a text asks for.
fn send_targets(text: &[u8]) -> Result<Option<&str>, RejectReason> {
    let is_it = |name: &str| super::login::keys::find(name).is_some_and(|spec| spec.key == Key::SendTargets);
    let (mut value, mut others) = (None, false);
    for pair in Pairs::new(text) {
        match pair.map_err(|_| RejectReason::PROTOCOL_ERROR)? {
            (name, asked) if is_it(name) && value.is_none() => value = Some(asked),
            _ => others = true,
        }
    }
    //= RFC 7143 appendix C
    //# This
    //# PDU contains exactly one text key and value.
    if value.is_some() && others { Err(RejectReason::PROTOCOL_ERROR) } else { Ok(value) }
}

/// Appends the target records that `SendTargets=value` asks for.
fn targets(
    directory: &dyn Directory,
    asker: &Asker<'_>,
    value: &str,
    answer: &mut Vec<u8>,
) -> Result<(), RejectReason> {
    let named;
    let wanted = match value {
        //= RFC 7143 appendix C
        //# This value
        //# MUST be supported on a Discovery session and MUST NOT be
        //# supported on an operational session.
        "All" if asker.kind == SessionKind::Normal => return Err(RejectReason::PROTOCOL_ERROR),
        "All" => None,
        //= RFC 7143 appendix C
        //# The session should only respond with addresses for the target
        //# to which the session is logged in.
        //= RFC 7143 appendix C
        //# This MUST be supported on operational sessions and MUST NOT return
        //# targets other than the one to which the session is logged in.
        "" if asker.target.is_none() => return Ok(()),
        "" => asker.target,
        name => {
            //= RFC 7143 appendix C
            //# This value MUST be supported on Discovery sessions.
            //= RFC 7143 appendix C
            //# A Discovery session MUST be capable of returning addresses for those
            //# targets that would have been returned had value=All been designated.
            named = IscsiName::new(name).map_err(|_| RejectReason::PROTOCOL_ERROR)?;
            Some(&named)
        }
    };
    //= RFC 7143 appendix C
    //# these will only return path information about the target to
    //# which the session is connected
    //= RFC 7143 appendix C
    //# A target MUST support the SendTargets command on operational sessions;
    //# these will only return path information about the target to which the
    //# session is connected and do not need to return information about other
    //# target names that may be defined in the responding system.
    let shown = |name: &IscsiName| {
        wanted.is_none_or(|wanted| wanted == name)
            && (asker.kind == SessionKind::Discovery || asker.target == Some(name))
    };
    //= RFC 7143 appendix C
    //# A SendTargets response MUST NOT contain target names if there are no
    //# targets for the requesting initiator to access.
    directory.targets(asker.initiator, asker.portal, asker.peer, &mut |name, addresses| {
        // What is beyond the limit is refused by `Outbound::start`; there is no need to write it all first.
        if shown(name) && answer.len() <= limits::MAX_TEXT_ANSWER_BYTES {
            record(name, addresses, answer);
        }
    });
    Ok(())
}

/// Appends one target record.
fn record(name: &IscsiName, addresses: &[(SocketAddr, u16)], answer: &mut Vec<u8>) {
    let mut text = TextWriter::new(answer);
    text.pair("TargetName", name);
    for (address, tag) in addresses {
        //= RFC 7143 section 13.8
        //# If the TargetAddress is returned within a SendTargets response, the
        //# portal-group-tag MUST be included.
        //
        // Rebuilt from address and port: an IPv6 scope means nothing to another host.
        let address = SocketAddr::new(address.ip(), address.port());
        text.pair("TargetAddress", format_args!("{address},{tag}"));
    }
}
