//! Asymmetric access states (SPC-4 clause 5.15.2.4): what goes through a target port group.

/// How well the logical units of a target are reached through a target port group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AccessState {
    /// Everything goes, and this is the best way.
    #[default]
    ActiveOptimized,
    /// Everything goes.
    ActiveNonOptimized,
    /// The medium is not reached; what the unit is, and its reservations, are.
    Standby,
    /// Next to nothing goes.
    Unavailable,
}

impl AccessState {
    /// All of them, by the code that SPC-4 gives them (table 29): 0h to 3h.
    pub const ALL: [AccessState; 4] =
        [Self::ActiveOptimized, Self::ActiveNonOptimized, Self::Standby, Self::Unavailable];

    /// The standard's name, in the configuration too.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ActiveOptimized => "active/optimized",
            Self::ActiveNonOptimized => "active/non-optimized",
            Self::Standby => "standby",
            Self::Unavailable => "unavailable",
        }
    }

    /// The state of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}
