//! Unit attention conditions (SAM-5 clause 5.14): what is posted for a logical unit, and what one I_T nexus has pending.
//!
//! Attentions are pulled. The logical unit keeps a bounded [`Log`] of what was posted, each entry under the generation it
//! made; a nexus that finds the generation moved takes the entries that are meant for it into its own [`Pending`] queue.
//! So nobody keeps a list of nexuses, and a nexus on another core needs no message. A nexus that comes so late that
//! entries it has not seen are gone from the log, or that has more pending than the queue holds, is told 29/00, which by
//! SAM-5 stands for all that a reset may have changed.

use super::params::NexusId;
use super::sense::{Sense, asc, key};
use crate::limits;
use crate::model::ItNexus;
use std::collections::VecDeque;

/// A unit attention condition, as its additional sense code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attention {
    /// 28/00: a medium was loaded.
    MediumMayHaveChanged,
    /// 29/00: a new I_T nexus, or everything may have changed.
    PowerOn,
    /// 29/03: LOGICAL UNIT RESET.
    BusDeviceReset,
    /// 29/07: the I_T nexus was lost in between.
    NexusLoss,
    /// 2A/01: MODE SELECT of another nexus.
    ModeParametersChanged,
    /// 2A/02: LOG SELECT of another nexus.
    LogParametersChanged,
    /// 2A/03: a reservation was preempted.
    ReservationsPreempted,
    /// 2A/04: a reservation was released.
    ReservationsReleased,
    /// 2A/05: a registration was preempted.
    RegistrationsPreempted,
    /// 2A/06: a target port group changed its state.
    AsymmetricAccessStateChanged,
    /// 2A/09: the capacity changed.
    CapacityDataHasChanged,
    /// 2A/10: SET TIMESTAMP of another nexus.
    TimestampChanged,
    /// 2F/00: commands were cleared by another initiator.
    CommandsCleared,
    /// 38/07: a thin provisioning threshold was crossed.
    ThinProvisioningSoftThreshold,
    /// 3F/05: SET IDENTIFYING INFORMATION of another nexus.
    DeviceIdentifierChanged,
    /// 3F/03: INQUIRY data changed.
    InquiryDataHasChanged,
    /// 3F/0E: the LUN inventory changed.
    ReportedLunsDataHasChanged,
    /// 47/7F: commands of this nexus ended with the connection that they came by (RFC 7143 section 11.14.5).
    CommandsClearedByProtocolEvent,
}

impl Attention {
    /// ADDITIONAL SENSE CODE and QUALIFIER as 0xAACC.
    pub const fn asc_ascq(self) -> u16 {
        match self {
            Attention::MediumMayHaveChanged => asc::NOT_READY_TO_READY_CHANGE,
            Attention::PowerOn => asc::POWER_ON_RESET_OR_BUS_DEVICE_RESET_OCCURRED,
            Attention::BusDeviceReset => asc::BUS_DEVICE_RESET_FUNCTION_OCCURRED,
            Attention::NexusLoss => asc::I_T_NEXUS_LOSS_OCCURRED,
            Attention::ModeParametersChanged => asc::MODE_PARAMETERS_CHANGED,
            Attention::LogParametersChanged => asc::LOG_PARAMETERS_CHANGED,
            Attention::ReservationsPreempted => asc::RESERVATIONS_PREEMPTED,
            Attention::ReservationsReleased => asc::RESERVATIONS_RELEASED,
            Attention::RegistrationsPreempted => asc::REGISTRATIONS_PREEMPTED,
            Attention::AsymmetricAccessStateChanged => asc::ASYMMETRIC_ACCESS_STATE_CHANGED,
            Attention::CapacityDataHasChanged => asc::CAPACITY_DATA_HAS_CHANGED,
            Attention::TimestampChanged => asc::TIMESTAMP_CHANGED,
            Attention::CommandsCleared => asc::COMMANDS_CLEARED_BY_ANOTHER_INITIATOR,
            Attention::ThinProvisioningSoftThreshold => asc::THIN_PROVISIONING_SOFT_THRESHOLD_REACHED,
            Attention::DeviceIdentifierChanged => asc::DEVICE_IDENTIFIER_CHANGED,
            Attention::InquiryDataHasChanged => asc::INQUIRY_DATA_HAS_CHANGED,
            Attention::ReportedLunsDataHasChanged => asc::REPORTED_LUNS_DATA_HAS_CHANGED,
            Attention::CommandsClearedByProtocolEvent => asc::SOME_COMMANDS_CLEARED_BY_ISCSI_PROTOCOL_EVENT,
        }
    }

    /// Sense data that reports it.
    pub const fn sense(self) -> Sense {
        Sense::new(key::UNIT_ATTENTION, self.asc_ascq())
    }

    /// Additional Response Information of QUERY ASYNCHRONOUS EVENT (SAM-5 clause 7.10) where this is the next of `number`
    /// that are pending: UADE DEPTH and SENSE KEY, ADDITIONAL SENSE CODE, ADDITIONAL SENSE CODE QUALIFIER.
    const fn response_information(self, number: usize) -> [u8; 3] {
        const ONE: u8 = 1 << 4;
        const MORE_THAN_ONE: u8 = 2 << 4;
        let [asc, ascq] = self.asc_ascq().to_be_bytes();
        [if number > 1 { MORE_THAN_ONE } else { ONE } | key::UNIT_ATTENTION, asc, ascq]
    }
}

/// Whom an attention is meant for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Recipients {
    /// Every nexus but this one.
    Except(Option<NexusId>),
    /// The sessions of these I_T nexuses, but not this one.
    Nexuses(Vec<ItNexus>, Option<NexusId>),
}

impl Recipients {
    fn contain(&self, id: NexusId, nexus: &ItNexus) -> bool {
        match self {
            Recipients::Except(except) => *except != Some(id),
            Recipients::Nexuses(nexuses, except) => {
                *except != Some(id) && nexuses.iter().any(|each| each.covers(nexus))
            }
        }
    }
}

/// The latest attentions that were posted, for each nexus that has not pulled them yet.
#[derive(Debug, Default)]
pub(super) struct Log {
    entries: VecDeque<(u64, Attention, Recipients)>,
    /// The generation of the latest entry that was dropped for want of room.
    dropped: u64,
}

/// The most entries that a [`Log`] keeps.
const LOG_ENTRIES: usize = 8 * limits::UNIT_ATTENTIONS;

impl Log {
    pub(super) fn post(&mut self, generation: u64, attention: Attention, to: Recipients) {
        if self.entries.len() == LOG_ENTRIES
            && let Some((generation, ..)) = self.entries.pop_front()
        {
            self.dropped = generation;
        }
        self.entries.push_back((generation, attention, to));
    }

    /// Moves what was posted after generation `since` and is meant for this nexus into its queue.
    pub(super) fn pull(&self, since: u64, id: NexusId, nexus: &ItNexus, pending: &mut Pending) {
        if since < self.dropped {
            pending.collapse();
        }
        for (generation, attention, to) in &self.entries {
            if *generation > since && to.contain(id, nexus) {
                pending.push(*attention);
            }
        }
    }
}

/// The unit attentions that one I_T_L nexus has pending, oldest first.
#[derive(Debug)]
pub(super) struct Pending {
    queue: [Attention; limits::UNIT_ATTENTIONS],
    len: usize,
}

impl Pending {
    /// A queue that holds one attention.
    pub(super) const fn with(attention: Attention) -> Pending {
        Pending { queue: [attention; limits::UNIT_ATTENTIONS], len: 1 }
    }

    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Queues an attention, once; when there is no room, everything collapses to 29/00.
    pub(super) fn push(&mut self, attention: Attention) {
        if self.queue.iter().take(self.len).any(|queued| *queued == attention) {
            return;
        }
        match self.queue.get_mut(self.len) {
            Some(slot) => {
                *slot = attention;
                self.len += 1;
            }
            None => self.collapse(),
        }
    }

    /// Forgets all that is queued in favour of 29/00.
    pub(super) fn collapse(&mut self) {
        self.len = 0;
        self.push(Attention::PowerOn);
    }

    /// What QUERY ASYNCHRONOUS EVENT tells of it; `None`: nothing is pending.
    pub(super) fn response_information(&self) -> Option<[u8; 3]> {
        let oldest = self.queue.first().filter(|_| self.len > 0)?;
        Some(oldest.response_information(self.len))
    }

    /// Takes the oldest.
    pub(super) fn pop(&mut self) -> Option<Attention> {
        let oldest = self.queue.first().copied().filter(|_| self.len > 0)?;
        self.queue.rotate_left(1);
        self.len -= 1;
        Some(oldest)
    }

    /// Takes one attention out of the queue, wherever it stands.
    pub(super) fn clear(&mut self, attention: Attention) {
        for _ in 0..self.len {
            if let Some(oldest) = self.pop()
                && oldest != attention
            {
                self.push(oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queue_keeps_order_and_has_no_doubles() {
        let mut pending = Pending::with(Attention::PowerOn);
        pending.push(Attention::ModeParametersChanged);
        pending.push(Attention::PowerOn);
        pending.push(Attention::CapacityDataHasChanged);
        pending.clear(Attention::ModeParametersChanged);
        assert_eq!(pending.pop(), Some(Attention::PowerOn));
        assert_eq!(pending.pop(), Some(Attention::CapacityDataHasChanged));
        assert_eq!(pending.pop(), None);
        assert!(pending.is_empty());
    }

    #[test]
    fn overflow_collapses_to_power_on() {
        let mut pending = Pending::with(Attention::MediumMayHaveChanged);
        let all = [
            Attention::BusDeviceReset,
            Attention::NexusLoss,
            Attention::ModeParametersChanged,
            Attention::ReservationsPreempted,
            Attention::ReservationsReleased,
            Attention::RegistrationsPreempted,
            Attention::AsymmetricAccessStateChanged,
            Attention::CapacityDataHasChanged,
        ];
        for attention in all {
            pending.push(attention);
        }
        assert_eq!(pending.pop(), Some(Attention::PowerOn));
        assert_eq!(pending.pop(), None);
    }
}
