//! Commands that are saved before they are answered.

use super::fencing::{registered, reserve_out};
use super::peer::good;
use super::*;

const SOON: Duration = Duration::from_secs(5);
const REGISTER_AND_IGNORE: u8 = 6;

/// Each of them takes what the one before has left, whichever core that was on.
#[test]
fn what_hosts_of_two_cores_have_saved_is_saved_one_after_the_other() {
    let directory = tempfile::tempdir().unwrap();
    let (server, mut one, mut two) = registered(FaultPlan::new(), 2, directory.path());
    let keys = 3..60;
    let asked: Vec<(u32, u32)> = keys
        .clone()
        .map(|key| {
            let of_one = reserve_out(&mut one, REGISTER_AND_IGNORE, 0, key);
            (of_one, reserve_out(&mut two, REGISTER_AND_IGNORE, 0, 100 + key))
        })
        .collect();
    for (of_one, of_two) in asked {
        assert_eq!((one.end(of_one, SOON), two.end(of_two, SOON)), (good(), good()));
    }
    let unit = &server.world.units[0];
    let saved = unit.file.load().unwrap();
    assert_eq!(saved, unit.logical.saved());
    let mut last: Vec<u64> = saved.reservations.unwrap().registrations.iter().map(|one| one.key).collect();
    last.sort_unstable();
    assert_eq!(last, [keys.end - 1, 100 + keys.end - 1]);
}
