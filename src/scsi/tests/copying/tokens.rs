//! POPULATE TOKEN and WRITE USING TOKEN: what a token stands for, who may use it, and for how long.

use super::*;

#[test]
fn tokens_stand_for_ranges() {
    let array = Array::new();
    let mut host = array.host(1);
    let mut other = array.host(2);
    let token = host.token(0, 1, &[(100, 10), (0, 5), (200, 0)]);
    assert_eq!(token[..8], [0, 0x80, 0, 1, 0, 0, 1, 0xf8]);
    assert_eq!(token[48..64], (15 * 512_u128).to_be_bytes());
    assert_ne!(host.token(0, 1, &[(100, 10)]), token);
    let steps = work(host.write_token(1, 3, &token, 8, &[(40, 1), (50, 6)])).steps.clone();
    let at = |lba: u64| lba * 512;
    assert_eq!(
        steps,
        [
            moves((0, at(108)), (1, at(40)), 512),
            moves((0, at(109)), (1, at(50)), 512),
            moves((0, 0), (1, at(51)), 2560)
        ]
    );
    work(other.write_token(1, 3, &token, 0, &[(0, 15)]));
    assert_eq!(codes(host.write_token(1, 3, &token, 1, &[(0, 15)])), (5, 0x2600), "the ROD is too short");
    assert_eq!(codes(host.write_token(1, 3, &token, u64::MAX, &[(0, 1)])), (5, 0x2600));
    assert_eq!(codes(host.write_token(2, 3, &token, 0, &[(0, 1)])), (5, 0x2300), "other block length");
    assert_eq!(codes(host.write_token(0, 3, &token, 0, &[(109, 1)])), (5, 0x2300), "onto itself");
    let list = write_list(2, &token, 0, &[(0, 1)]);
    work(host.copy(1, &cdb(0x11, 3, &list), &list));
    assert_eq!(codes(host.write_token(1, 3, &token, 0, &[(0, 1)])), (5, 0x2309), "DEL_TKN");
}

#[test]
fn tokens_cannot_be_made_up() {
    let array = Array::new();
    let mut host = array.host(1);
    let token = host.token(0, 1, &[(0, 8)]);
    for at in [8, 47, 63, 96, 300, 480, 511] {
        let mut forged = token.clone();
        forged[at] ^= 1;
        assert_eq!(codes(host.write_token(1, 2, &forged, 0, &[(0, 8)])), (5, 0x2304), "byte {at}");
    }
    let mut forged = token.clone();
    forged[1] = 1;
    assert_eq!(codes(host.write_token(1, 2, &forged, 0, &[(0, 8)])), (5, 0x2301));
    let mut forged = token.clone();
    forged[7] = 0;
    assert_eq!(codes(host.write_token(1, 2, &forged, 0, &[(0, 8)])), (5, 0x230a));
    work(host.write_token(1, 2, &token, 0, &[(0, 8)]));
}

#[test]
fn tokens_expire() {
    let array = Array::new();
    let mut host = array.host(1);
    let list = populate_list(30, &[(0, 8)]);
    assert_eq!(outcome(host.copy(0, &cdb(0x10, 1, &list), &list)), Outcome::GOOD);
    let token = host.information(0, 1)[38..].to_vec();
    for _ in 0..3 {
        host.now.ms += 29_000;
        work(host.write_token(1, 2, &token, 0, &[(0, 8)]));
    }
    host.now.ms += 31_000;
    assert_eq!(codes(host.write_token(1, 2, &token, 0, &[(0, 8)])), (5, 0x2307));
    host.token(0, 1, &[(0, 8)]);
    assert_eq!(codes(host.write_token(1, 2, &token, 0, &[(0, 8)])), (5, 0x2304), "forgotten");
    let list = populate_list(crate::limits::ROD_MAX_TIMEOUT_S + 1, &[(0, 8)]);
    assert_eq!(codes(host.copy(0, &cdb(0x10, 1, &list), &list)), (5, 0x2600));
}

#[test]
fn places_for_tokens_are_bounded() {
    let array = Array::new();
    let mut host = array.host(1);
    let mut other = array.host(2);
    let first = host.token(0, 1, &[(0, 8)]);
    for _ in 1..=crate::limits::ROD_TOKENS {
        host.token(0, 1, &[(0, 8)]);
    }
    assert_eq!(codes(host.write_token(1, 2, &first, 0, &[(0, 8)])), (5, 0x2304), "its own oldest made room");
    let mine: Vec<_> = (0..crate::limits::ROD_TOKENS).map(|_| other.token(0, 1, &[(0, 8)])).collect();
    let left = |host: &mut Fabric<'_>, token| matches!(host.write_token(1, 2, token, 0, &[(0, 8)]), Begun::Run(_));
    let kept = mine.iter().filter(|token| left(&mut other, token)).count();
    assert_eq!(kept, crate::limits::ROD_TOKENS / 2, "nobody has all places");
}

/// Change vulnerable: whoever changes blocks ends the tokens of them, and no other.
#[test]
fn changes_revoke_tokens() {
    let array = Array::new();
    let mut host = array.host(1);
    let changed = |lba: u64, blocks: u64| array.units[0].overwritten(lba * 512, blocks * 512, NOW.ms);
    for (lba, blocks) in [(99, 2), (107, 1), (300, 1), (0, 10_000)] {
        let token = host.token(0, 1, &[(100, 8), (300, 8)]);
        changed(108, 192);
        array.units[1].overwritten(100 * 512, 512, NOW.ms);
        let copy = work(host.write_token(1, 2, &token, 0, &[(0, 8)]));
        assert_eq!(copy.interrupted(), None);
        changed(lba, blocks);
        let why = copy.interrupted().and_then(|outcome| outcome.sense).expect("revoked");
        assert_eq!((why.key, why.asc_ascq), (5, 0x2306));
        drop(copy);
        assert_eq!(codes(host.write_token(1, 2, &token, 0, &[(0, 8)])), (5, 0x2306), "{lba}");
    }
}

/// What READ of the source or WRITE to the destination would be refused for, a token does not get round.
#[test]
fn tokens_are_used_where_the_media_may_be() {
    const OPTIMIZED: u8 = 0;
    const STANDBY: u8 = 2;
    let array = Array::new();
    let mut host = array.host(1);
    let token = host.token(0, 1, &[(0, 8)]);
    let mut host_in = |state: u8| {
        let list = [0, 0, 0, 0, state, 0, 0, 1];
        assert_eq!(host.plan(0, &[0xa4, 0x0a, 0, 0, 0, 0, 0, 0, 0, 8], &list), Plan::Done(Outcome::GOOD));
        host.write_token(1, 2, &token, 0, &[(0, 8)])
    };
    assert_eq!(codes(host_in(STANDBY)), (5, 0x2300));
    work(host_in(OPTIMIZED));
}

#[test]
fn an_erasing_ends_the_tokens_of_its_unit() {
    let array = Array::new();
    let mut host = array.host(1);
    let (token, other) = (host.token(0, 1, &[(9_000, 8)]), host.token(1, 1, &[(0, 8)]));
    let copy = work(host.write_token(1, 2, &token, 0, &[(0, 8)]));
    array.units[0].begin_erase(Erasure::Format, 0).unwrap();
    let why = copy.interrupted().and_then(|outcome| outcome.sense).expect("revoked");
    assert_eq!((why.key, why.asc_ascq), (5, 0x2306));
    array.units[0].erase_done(true);
    assert_eq!(codes(host.write_token(1, 3, &token, 0, &[(0, 8)])), (5, 0x2306));
    work(host.write_token(2, 4, &zero_token(), 0, &[(0, 8)]));
    work(host.write_token(0, 4, &other, 0, &[(0, 8)]));
}

/// The list comes later than the CDB, and things change.
#[test]
fn who_may_write_is_asked_when_the_list_has_come() {
    let array = Array::new();
    let mut host = array.host(1);
    let mut other = array.host(2);
    let list = write_list(0, &zero_token(), 0, &[(0, 8)]);
    let Plan::Medium(MediumOp::Copy(request)) = host.plan(0, &cdb(0x11, 1, &list), &list) else { panic!() };
    assert_eq!(other.plan(0, &[0x16, 0, 0, 0, 0, 0], &[]), Plan::Done(Outcome::GOOD), "RESERVE(6)");
    let peers = array.units.iter().zip(&mut host.nexuses).map(|(unit, nexus)| Peer { unit, nexus }).collect();
    let scene = Scene { peers, here: 0, initiator: &host.port, now_ms: host.now.ms };
    assert_eq!(outcome(begin(&request, scene)), Outcome::RESERVATION_CONFLICT);
}

#[test]
fn wrong_token_lists_are_refused() {
    let array = Array::new();
    let mut host = array.host(1);
    let mut populate = |list: &[u8]| codes(host.copy(0, &cdb(0x10, 1, list), list));
    assert_eq!(populate(&populate_list(0, &[])), (5, 0x2600), "no ranges");
    assert_eq!(populate(&populate_list(0, &[(9_999, 2)])), (5, 0x2100));
    assert_eq!(populate(&populate_list(0, &[(u64::MAX, 2)])), (5, 0x2100));
    assert_eq!(populate(&populate_list(0, &[(5, 5), (0, 6)])), (5, 0x2600), "overlap");
    assert_eq!(populate(&populate_list(0, &vec![(0, 0); crate::limits::ROD_RANGES + 1])), (5, 0x2608));
    let good = populate_list(0, &[(0, 8)]);
    assert_eq!(populate(&good[..15]), (5, 0x1a00));
    assert_eq!(populate(&good[..31]), (5, 0x1a00));
    let mut short = good.clone();
    short[1] -= 1;
    assert_eq!(populate(&short), (5, 0x2600), "POPULATE TOKEN DATA LENGTH");
    let mut typed = good.clone();
    typed[2] = 2;
    assert_eq!(populate(&typed), (5, 0x2600), "ROD TYPE");
    typed[8..12].copy_from_slice(&[0, 0x80, 0xff, 0xff]);
    assert_eq!(outcome(host.copy(0, &cdb(0x10, 1, &typed), &typed)), Outcome::GOOD);
    let list = write_list(0, &zero_token(), 0, &[(0, 8)]);
    assert_eq!(codes(host.copy(0, &cdb(0x11, 1, &list[..551]), &list[..551])), (5, 0x1a00));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_token_command(
        sources in vec((lbas(), prop_oneof![0..200u32, any::<u32>()]), 0..5),
        destinations in vec((lbas(), prop_oneof![0..200u32, any::<u32>()]), 0..5),
        offset in prop_oneof![0..300u64, any::<u64>()],
        here in 0..3usize,
        mutations in vec((0..640usize, any::<u8>()), 0..3),
    ) {
        let array = Array::new();
        let mut host = array.host(1);
        let list = populate_list(0, &sources);
        let made = host.copy(0, &cdb(0x10, 1, &list), &list);
        let token = match outcome(made) {
            Outcome::GOOD => host.information(0, 1)[38..].to_vec(),
            _ => zero_token(),
        };
        let mut list = write_list(0, &token, offset, &destinations);
        let mutated = !mutations.is_empty();
        for (at, value) in mutations {
            if let Some(byte) = list.get_mut(at) {
                *byte = value;
            }
        }
        let begun = host.copy(here, &cdb(0x11, 2, &list), &list);
        check(&array, &begun);
        if let Begun::Run(work) = &begun {
            let wanted: u64 = destinations.iter().map(|(_, blocks)| u64::from(*blocks)).sum();
            let moved: u64 = work.steps.iter().map(|step| step.bytes).sum();
            prop_assert!(mutated || moved == wanted * u64::from(array.units[here].block_bytes()));
        }
    }
}
