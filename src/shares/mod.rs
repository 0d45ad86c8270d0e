//! Shares: what peers can make grow is charged to them, and bounded for each session, address and host, and for all
//! together.

mod store;
mod stores;
mod whose;

pub use store::{Held, Store};
pub use stores::Stores;
pub use whose::{Counts, Whose};
