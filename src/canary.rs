//! Bugs that a test can switch on, to see that its seeds find them. Outside tests there are none.

/// One such bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Canary {
    /// A write that outlives its task does not keep its range.
    StrayForgotten,
    /// A read goes past a write that outlived its task.
    ReadPastStray,
    /// An operation that is over stays counted at the fence.
    CountKept,
    /// A write is answered while the medium still has it.
    EarlyAnswer,
    /// Every slice of a write goes to where the first one belongs.
    SlicesOnFirst,
    /// The holder of a range does not wait for what began before.
    LockedTooEarly,
    /// A flush that has failed is taken for one that went well.
    FlushFailureForgotten,
    /// A function waits for a task that ended with its connection.
    WaitKept,
    /// A connection that is back is said to be gone.
    DropSaidLate,
    /// What is parked is lost when its session moves.
    ParkedLost,
    /// What comes for a session that was stopped is acted on all the same.
    StoppedActsOn,
    /// A StatSN is left out.
    StatSnSkipped,
    /// A response is sent twice.
    AnsweredTwice,
    /// The number of a connection is given again while what its predecessor has received is there.
    NumberTooSoon,
    /// A buffer that is lent to a receive is given back while the receive may still write to it.
    LoanDropped,
    /// A flush is said to be over that the medium was not asked for.
    FlushSkipped,
    /// Data is taken for intact whatever its digest says.
    DigestUnchecked,
    /// The holder of a range gives it back before it begins.
    RangeNotHeld,
    /// What a nexus has to be told is forgotten when its session moves.
    AttentionLost,
    /// A core does not take another configuration over.
    ChangeIgnored,
    /// Who loses a unit keeps the commands that it has there.
    LosersCommandsKept,
    /// Units do not tell that there are other LUNs.
    InventoryUntold,
    /// No Asynchronous Message tells that there are other LUNs.
    InventoryUnannounced,
    /// A session that moves to a core with another configuration keeps what it has found.
    MoverUnchanged,
    /// Who has lost access to the target keeps its session.
    LosersSessionKept,
    /// A unit does not tell that it has grown.
    CapacityUntold,
    /// No Asynchronous Message tells that a unit has grown.
    CapacityUnannounced,
    /// CLEAR TASK SET tells nobody.
    ClearUntold,
    /// MODE SELECT tells nobody.
    ModesUntold,
    /// Nobody is held to a limit.
    LimitsForgotten,
    /// The last block of a stretch is not copied.
    CopyShort,
}

#[cfg(test)]
thread_local! {
    /// The bug that is on in this thread.
    pub static SINGS: std::cell::Cell<Option<Canary>> = const { std::cell::Cell::new(None) };
}

/// Whether a test has this bug switched on.
#[inline(always)]
pub fn sings(canary: Canary) -> bool {
    #[cfg(test)]
    return SINGS.get() == Some(canary);
    #[cfg(not(test))]
    {
        let _ = canary;
        false
    }
}
