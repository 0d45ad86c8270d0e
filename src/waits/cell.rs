//! The cell in which a job finds an answer.

use std::cell::Cell;
use std::rc::Rc;

/// Where a job finds an answer; `None`: it is not there yet.
pub type Cell1<T> = Rc<Cell<Option<T>>>;
