//! What carries bytes between hosts and the target.

/// A network as hosts see it; a line is a connection of TCP.
pub trait Net {
    /// Opens a line to the target from this host's address. Its number; `None`: refused.
    fn connect(&mut self, host: usize) -> Option<usize>;
    /// Gives bytes to the line. They arrive in pieces, late, or not at all if the line is cut.
    fn send(&mut self, line: usize, bytes: &[u8]);
    /// Takes what has arrived, and puts it behind what is there.
    fn receive(&mut self, line: usize, into: &mut Vec<u8>);
    /// Whether the target or the network has closed it, and all that came before was received.
    fn is_closed(&self, line: usize) -> bool;
    /// Whether the target or the network has closed it, whatever is still to be received: what a host cannot know.
    fn is_gone(&self, line: usize) -> bool {
        self.is_closed(line)
    }
    /// The host closes it, or just drops it.
    fn close(&mut self, line: usize);
    /// Simulated time, milliseconds.
    fn now_ms(&self) -> u64;
}
