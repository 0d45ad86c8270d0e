//! What is meant where nothing is said.

/// The address listened on when none is given.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:3260";
/// The port of an address that names none (RFC 7143 chapter 15: the default iSCSI port).
//= RFC 7143 section 15
//# Implementations needing a system TCP port number may use port 860, the
//# port assigned by IANA as the iSCSI system port; however, in order to use
//# port 860, it MUST be explicitly specified -- implementations MUST NOT
//# default to the use of port 860, as 3260 is the only allowed default.
pub const DEFAULT_PORT: u16 = 3260;
/// The target served when none is named.
pub const DEFAULT_TARGET: &str = "iqn.2026-11.io.ringsan:demo";
/// The logical unit served when none is given.
pub const DEFAULT_LUN: &str = "path=ringsan-data/lun0.img,size=1GiB,thin";

/// The directory for what outlives the process, when none is named: beside the file, or in the working directory.
pub const DEFAULT_STATE: &str = "ringsan-data";
