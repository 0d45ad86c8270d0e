//! Codes of the standard as types: any value can be held, and those that the standard assigns have names.

/// Declares an open newtype over a code of the standard: it can hold any value, has a constant per assigned one, and
/// prints the standard's name for it.
macro_rules! open_enum {
    ($(#[$meta:meta])* pub struct $name:ident($raw:ty) { $($(#[$vmeta:meta])* $value:ident = $code:literal, $text:literal;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name(pub $raw);

        impl $name {
            $($(#[$vmeta])* pub const $value: Self = Self($code);)*

            /// Those that the standard assigns.
            pub const ALL: &'static [Self] = &[$(Self::$value),*];

            /// The standard's name, or `None` for a code that it does not assign.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some($text),)*
                    _ => None,
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "{:#04x}", self.0),
                }
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({:#04x} {})"), self.0, self)
            }
        }
    };
}
pub(crate) use open_enum;
