//! The number of a group of this system, by its name.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::ptr;

/// Bytes that what the system says of a group may have: its members are named, too.
const ROOM: usize = 1 << 20;

/// The number of a group; `None`: there is none of that name. A number stands for itself.
#[allow(unsafe_code)]
pub(super) fn number(name: &str) -> Option<u32> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    let name = CString::new(name).ok()?;
    let mut room = vec![0; ROOM];
    let (mut group, mut found) = (MaybeUninit::<libc::group>::zeroed(), ptr::null_mut());
    // SAFETY: all that is passed is a local that outlives the call, the room with its length; what is found points into those.
    let failed =
        unsafe { libc::getgrnam_r(name.as_ptr(), group.as_mut_ptr(), room.as_mut_ptr(), room.len(), &raw mut found) };
    if failed != 0 || found.is_null() {
        return None;
    }
    // SAFETY: the call has succeeded and found one, so it has filled it in.
    Some(unsafe { group.assume_init() }.gr_gid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_a_number() {
        assert_eq!((number("root"), number("4711")), (Some(0), Some(4711)));
        assert_eq!((number("no such group here"), number("nul\0"), number("")), (None, None, None));
    }
}
