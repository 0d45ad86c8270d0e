//! Sequence numbers with the arithmetic of RFC 1982 as a type.
//!
//! [`CmdSn`], [`StatSn`], [`DataSn`] and [`R2tSn`] wrap a `u32` each, so that one kind cannot be compared with another
//! by mistake. They implement no `Ord`: the order of serial numbers is not transitive, so a sort or a `BTreeMap` over
//! them would be wrong. Numbers exactly 2^31 apart have no order; here neither is `lt` the other.

macro_rules! serial_number {
    ($($(#[$meta:meta])* $name:ident;)*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub struct $name(pub u32);

        impl $name {
            /// Whether `self` comes before `other`, in the sense of RFC 1982 section 3.2.
            #[inline]
            pub const fn lt(self, other: Self) -> bool {
                //= RFC 7143 section 4.2.2.1
                //# Comparisons and arithmetic on the ExpCmdSN and MaxCmdSN MUST use Serial
                //# Number Arithmetic as defined in [RFC1982] where SERIAL_BITS = 32.
                let distance = other.0.wrapping_sub(self.0);
                distance != 0 && distance < 1 << 31
            }

            /// Whether `self` comes before `other` or equals it.
            #[inline]
            pub const fn le(self, other: Self) -> bool {
                other.0.wrapping_sub(self.0) < 1 << 31
            }

            /// The number that follows.
            #[inline]
            pub const fn next(self) -> Self {
                Self(self.0.wrapping_add(1))
            }

            /// The number `n` steps further on (RFC 1982 section 3.1 defines this up to 2^31 - 1).
            #[inline]
            #[allow(clippy::should_implement_trait, reason = "usable in const contexts, and without importing a trait")]
            pub const fn add(self, n: u32) -> Self {
                Self(self.0.wrapping_add(n))
            }

            /// How many steps lead from `earlier` to `self`, modulo 2^32.
            #[inline]
            pub const fn distance_from(self, earlier: Self) -> u32 {
                self.0.wrapping_sub(earlier.0)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

serial_number! {
    /// Command sequence number, one sequence per session (RFC 7143 section 4.2.2.1).
    CmdSn;
    /// Status sequence number, one sequence per connection (RFC 7143 section 4.2.2.2).
    StatSn;
    /// Number of a Data-In within its command, or of a Data-Out within its burst (RFC 7143 section 11.7.5).
    DataSn;
    /// Number of an R2T within its command (RFC 7143 section 11.8.2).
    R2tSn;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn order_holds_across_the_wrap() {
        //= RFC 7143 section 4.2.2.1
        //# Comparisons and arithmetic on the ExpCmdSN and MaxCmdSN MUST use Serial
        //# Number Arithmetic as defined in [RFC1982] where SERIAL_BITS = 32.
        let last = CmdSn(u32::MAX);
        assert!(last.lt(CmdSn(0)) && last.le(CmdSn(0)));
        assert!(!CmdSn(0).lt(last) && !CmdSn(0).le(last));
        assert_eq!(last.next(), CmdSn(0));
        assert_eq!(last.add(3), CmdSn(2));
        assert_eq!(CmdSn(2).distance_from(CmdSn(u32::MAX - 1)), 4);
        assert!(CmdSn(u32::MAX - 5).lt(CmdSn(0x7fff_fff0)));
    }

    #[test]
    fn equal_numbers_and_the_undefined_distance() {
        assert!(!StatSn(7).lt(StatSn(7)) && StatSn(7).le(StatSn(7)));
        let (a, b) = (StatSn(0), StatSn(1 << 31));
        assert!(!a.lt(b) && !b.lt(a) && !a.le(b) && !b.le(a));
        assert!(a.lt(StatSn((1 << 31) - 1)));
    }

    proptest! {
        #[test]
        fn adding_moves_forward(start: u32, n in 1u32..1 << 31) {
            let (a, b) = (DataSn(start), DataSn(start).add(n));
            prop_assert!(a.lt(b) && a.le(b) && !b.lt(a) && !b.le(a));
            prop_assert_eq!(b.distance_from(a), n);
        }
    }
}
