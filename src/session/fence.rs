//! The response fence (RFC 7143 section 4.2.2.3): in a session of several connections, a response that must not overtake or
//! be overtaken.
//!
//! One fence at a time: it is put up when its response is ready, lets that pass when the initiator has acknowledged all
//! status sent before, and falls when the response itself is acknowledged. Meanwhile the other answers of the logical unit
//! wait in their tasks. A connection that is gone acknowledges nothing and holds up nothing, and nobody waits for an
//! acknowledgment longer than `limits::FENCE_WAIT_MS`.

use super::Session;
use super::parts::Fence;
use super::seam::{ConnIx, Outbox, TaskId};
use crate::limits::{CONNECTION_SLOTS, FENCE_WAIT_MS, TASKS_PER_SESSION};
use crate::wire::Lun;

impl Session {
    /// Whether an answer of `lun` has to wait for a fence that is not its own.
    #[inline]
    pub(super) fn is_fenced(&self, task: TaskId, lun: Lun) -> bool {
        //= RFC 7143 section 4.2.2.3.2
        //# A response with a Response Fence MUST be delivered chronologically prior
        //# to all the "following" responses on the I_T_L nexus.
        //= RFC 7143 section 4.2.2.3.3
        //# If any new responses for the I_T_L nexus are received from the SCSI
        //# layer before the fence is cleared, those Response PDUs MUST be held and
        //# queued at the iSCSI layer until the fence is cleared.
        self.fence.as_ref().is_some_and(|f| {
            (f.owner != task || f.sent.is_some()) && f.lun.is_none_or(|fenced| fenced.is_same_unit(lun))
        })
    }

    /// Whether the response of `owner`, which needs a fence, may go out now. The first call puts the fence up.
    pub(super) fn pass_fence<O: Outbox>(&mut self, owner: TaskId, lun: Option<Lun>, out: &mut O) -> bool {
        //= RFC 7143 section 4.2.2.3.3
        //# Whenever the TaskReporting key (Section 13.23) is negotiated to
        //# ResponseFence or FastAbort for an iSCSI session and the Response Fence
        //# behavior is required for a SCSI response message, the target iSCSI layer
        //# MUST perform the actions described in this section for that session.
        //= RFC 7143 section 13.23
        //# semantics MUST be supported in reporting
        //
        //= RFC 7143 section 13.23
        //# described in Section 4.2.2.3.3 MUST be
        match &self.fence {
            Some(fence) => {
                return fence.owner == owner && fence.sent.is_none() && fence.marks.iter().all(Option::is_none);
            }
            //= RFC 7143 section 4.2.2.3.3
            //# a) If it is a single-connection session, no special processing is
            //# required.
            None if self.connections().nth(1).is_none() => return true,
            None => {}
        }
        //= RFC 7143 section 4.2.2.3.2
        //# Whenever the Response Fence behavior is required for a SCSI response
        //# message, the target iSCSI layer MUST ensure that the following
        //# conditions are met in delivering the response message to the initiator
        //# iSCSI layer:
        //= RFC 7143 section 4.2.2.3.2
        //# A response with a Response Fence MUST be delivered chronologically after
        //# all the "preceding" responses on the I_T_L nexus, if the preceding
        //# responses are delivered at all, to the initiator iSCSI layer.
        //= RFC 7143 section 4.2.2.3.3
        //# The SCSI Response PDU
        //# requiring the Response Fence behavior MUST NOT be sent to the
        //# initiator before acknowledgments are received for each of the
        //# unacknowledged StatSNs.
        let mut marks = [None; CONNECTION_SLOTS];
        for (mark, c) in marks.iter_mut().zip(&self.connections) {
            *mark = (c.state.is_full_feature() && c.exp_stat_sn != c.stat_sn).then_some(c.stat_sn);
        }
        self.fence = Some(Fence { owner, lun, marks, sent: None, until_ms: self.now_ms.saturating_add(FENCE_WAIT_MS) });
        for (n, _) in marks.iter().enumerate().filter(|(_, mark)| mark.is_some()) {
            self.solicit(ConnIx(n as u8), out);
        }
        marks.iter().all(Option::is_none)
    }

    /// The response of `owner` goes out on `conn` next.
    pub(super) fn fence_passed(&mut self, owner: TaskId, conn: ConnIx) {
        let stat_sn = self.connections.get(usize::from(conn.0)).map(|c| c.stat_sn);
        if let Some(fence) = self.fence.as_mut().filter(|f| f.owner == owner) {
            fence.sent = stat_sn.map(|sn| (conn, sn.next()));
            fence.until_ms = self.now_ms.saturating_add(FENCE_WAIT_MS);
            self.fence_due = fence.sent.is_none();
        }
    }

    /// When the fence has waited long enough for an acknowledgment, milliseconds; `u64::MAX`: there is no fence, or it
    /// waits for none.
    pub(super) fn fence_deadline_ms(&self) -> u64 {
        self.fence.as_ref().map_or(u64::MAX, |fence| fence.until_ms)
    }

    /// Goes on without an acknowledgment that does not come: an initiator that cannot count is not to be without answers,
    /// nor is one whose other connection is dead until that is noticed.
    pub(super) fn expire_fence(&mut self) {
        let Some(fence) = self.fence.as_mut().filter(|fence| fence.until_ms <= self.now_ms) else { return };
        match fence.sent {
            Some(_) => self.fence = None,
            None => {
                fence.marks = [None; CONNECTION_SLOTS];
                fence.until_ms = u64::MAX;
            }
        }
        self.fence_due = true;
    }

    /// Takes down the fence of a task that ends without having sent its response.
    pub(super) fn drop_fence(&mut self, owner: TaskId) {
        if self.fence.as_ref().is_some_and(|f| f.owner == owner && f.sent.is_none()) {
            self.fence = None;
            self.fence_due = true;
        }
    }

    /// Looks whether the fence may let something pass, after an acknowledgment or the end of a connection, and sends
    /// the responses that may go now.
    pub(super) fn look_at_fence<O: Outbox>(&mut self, out: &mut O) {
        self.fence_due = false;
        if let Some(fence) = &mut self.fence {
            for (mark, c) in fence.marks.iter_mut().zip(&self.connections) {
                if mark.is_some_and(|sn| !c.state.is_full_feature() || sn.le(c.exp_stat_sn)) {
                    *mark = None;
                }
            }
            let acknowledged = fence.sent.map(|(conn, sn)| {
                let c = self.connections.get(usize::from(conn.0));
                c.is_none_or(|c| !c.state.is_full_feature() || sn.le(c.exp_stat_sn))
            });
            match acknowledged {
                //= RFC 7143 section 4.2.2.3.3
                //# The fence MUST be considered cleared
                //# only after receiving the acknowledgment.
                Some(true) => self.fence = None,
                None if fence.marks.iter().all(Option::is_none) => {}
                _ => return,
            }
        }
        for slot in 0..TASKS_PER_SESSION {
            let Some(id) = self.tasks.id(slot) else { continue };
            self.respond_if_due(id, out);
            self.answer_if_due(id, out);
        }
    }
}
