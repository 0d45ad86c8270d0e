//! RFC 7143: login, the CmdSN window, tasks, data transfer, task management, recovery. Sans-I/O.

pub mod directory;
pub mod login;
pub mod params;
pub mod seam;
pub mod text;
