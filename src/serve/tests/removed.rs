//! What is left of a unit that is served no more.

use super::super::reload::Reloader;
use crate::backend::WayIn;
use crate::driver::tests::peer::Peer;
use crate::driver::tests::unread::{SOON, server, until};
use crate::driver::tests::{UNIT_BYTES, lun, snapshot};
use crate::world::World;
use std::sync::Arc;

#[test]
fn what_is_queued_of_a_unit_outlives_it() {
    const CHUNK: usize = 1 << 20;
    let mut server = server();
    let unit = server.world.units[0].medium.handle(&WayIn::new(|| ()));
    for at in (0..UNIT_BYTES).step_by(CHUNK) {
        assert!(unit.write_in_place(at, &[0xa5; CHUNK]));
    }
    drop(unit);
    let mut peer = Peer::login(server.at, 1, &["MaxRecvDataSegmentLength=262144"]).ready();
    let blocks = (UNIT_BYTES / 512) as u16;
    let [high, low] = blocks.to_be_bytes();
    // More than the sockets between hold.
    let cdb = [0x28, 0, 0, 0, 0, 0, 0, high, low, 0];
    let reads = peer.together(|peer| [0; 2].map(|_| peer.command(0, &cdb, UNIT_BYTES as u32, &[])));
    until("the reads are planned", || peer.has_more());
    let mut reloader = Reloader::new(World::clone(&server.world), server.mesh.clone());
    reloader.reload(snapshot(&[server.at], vec![lun(1)]));
    until("the unit is closed", || {
        server.world = Arc::clone(reloader.world());
        reloader.look();
        !reloader.is_under_way()
    });
    for itt in reads {
        let end = peer.end(itt, SOON);
        assert_eq!((end.status, end.data.len() as u64), (0, UNIT_BYTES));
        assert!(end.data.iter().all(|byte| *byte == 0xa5), "another's bytes");
    }
}
