//! Accounts, groups, discovery and bounds.

use super::*;
use crate::model::{Account, ChapAlgorithm, Credentials, LunMapping};
use std::os::unix::fs::PermissionsExt;

const STRONG: &str = "0123456789ab";

/// A file whose accounts are `h`, `i` (initiators') and `t` (the target's), around more keys of the target and below it.
fn with_target(keys: &str, below: &str) -> String {
    let account = |user: &str| format!("[[account]]\nuser = \"{user}\"\nsecret = \"{STRONG}-{user}\"\n");
    let lun = |n: u16| format!("[[target.lun]]\nnumber = {n}\nkind = \"ram\"\nsize = 1048576\n");
    let accounts = account("h") + &account("i") + &account("t");
    format!("{accounts}[[target]]\nname = \"iqn.2026-11.io.ringsan:t\"\n{keys}\n{}{}{below}\n", lun(0), lun(1))
}

fn users(credentials: &Option<std::sync::Arc<Credentials>>) -> Option<(Vec<&str>, Option<&str>)> {
    let name = |account: &'_ Account| account.name.to_string().leak() as &str;
    credentials.as_ref().map(|c| (c.initiators.iter().map(name).collect(), c.target.as_ref().map(name)))
}

#[test]
fn groups_take_over_what_they_do_not_say() {
    let text = with_target(
        "accounts = [\"h\", \"i\"]\nmutual = \"t\"",
        "[[target.group]]\nnetworks = [\"192.0.2.0/24\"]\n[[target.group]]\nname = \"b\"\naccounts = [\"i\"]\n\
         luns = [1, \"0 as 7\"]\niops = 5\nbandwidth = \"1MiB\"\n[[target.group]]\naccounts = []\n\
         [discovery]\naccounts = [\"h\"]",
    );
    let config = parse(&format!("chap-algorithms = [\"sha256\"]\n{text}")).unwrap();
    assert_eq!(config.warnings, []);
    let target = &config.snapshot.targets[0];
    //= RFC 7143 section 9.2
    //# The value associated with that key MAY be different from the iSCSI name
    //# and SHOULD be configurable (CHAP_N: see Section 12.1.3; SRP_U: see
    //# Section 12.1.2).
    assert_eq!(users(&target.credentials), Some((vec!["h", "i"], Some("t"))));
    assert_eq!(users(&target.groups[0].credentials), Some((vec!["h", "i"], Some("t"))));
    assert_eq!(users(&target.groups[1].credentials), Some((vec!["i"], Some("t"))));
    assert_eq!(users(&target.groups[2].credentials), None);
    assert_eq!(users(&config.snapshot.discovery), Some((vec!["h"], None)));
    assert_eq!(target.credentials.as_ref().unwrap().algorithms, [ChapAlgorithm::Sha256]);
    assert_eq!(target.credentials.as_ref().unwrap().initiators[0].secret.bytes(), b"0123456789ab-h");
    let map = [LunMapping { number: 1, of_target: 1 }, LunMapping { number: 7, of_target: 0 }];
    assert_eq!(target.groups[1].luns.as_deref(), Some(map.as_slice()));
    assert_eq!((target.groups[1].limits.iops, target.groups[1].limits.bytes_per_s), (Some(5), Some(1 << 20)));
    assert_eq!((target.groups[0].name.as_str(), target.groups[1].name.as_str()), ("1", "b"));
    assert!(target.groups_only);
    let shown = describe::serves(&config.snapshot);
    assert!(shown.contains("discovery with CHAP as h\n"), "{shown}");
    assert!(
        shown.contains("  group b: any initiator, CHAP as i, mutual as t, LUNs 1, 0 as 7, at most 5 IOPS"),
        "{shown}"
    );
    assert!(shown.contains("  others: no access\n"), "{shown}");
    assert!(!format!("{shown}{config:?}").contains(STRONG));
}

/// Registrations are kept with it: it is that of the same hosts, whatever else the target has.
#[test]
fn what_being_in_a_group_shows_does_not_depend_on_the_others() {
    let proofs = |groups: &str| -> Vec<String> {
        let config = parse(&with_target("", groups)).unwrap();
        config.snapshot.targets[0].groups.iter().map(|group| group.proof.to_string()).collect()
    };
    let group = |lines: &str| format!("[[target.group]]\n{lines}\n");
    let inside =
        group("networks = [\"192.0.2.0/24\", \"2001:db8::/32\"]\ninitiators = [\"iqn.2026-11.com.example:a\"]");
    let one_more = group("networks = [\"2001:db8::/32\", \"192.0.2.0/24\"]\ninitiators = [\"iqn.*:a\", \"iqn.*:b\"]");
    let (named, before, rest) = (group("name = \"db\""), group("networks = [\"192.0.2.1\"]"), group(""));
    let old = proofs(&[&*inside, &*named, &*rest].concat());
    assert_eq!(old[1..], ["group db", "anywhere"]);
    let new = proofs(&[&*before, &*one_more, &*named, &*rest].concat());
    assert_eq!(new[1..], old);
    assert!(!old.contains(&new[0]), "{new:?}");
}

#[test]
fn access_faults_name_their_place() {
    for (keys, below, expected) in [
        ("accounts = [\"x\"]", "", "target.accounts: there is no [[account]] with user = \"x\""),
        ("accounts = \"h\"", "", "target.accounts: 'h' is no list of texts"),
        ("mutual = \"t\"", "", "target.mutual: needs accounts beside it"),
        ("others = \"no\"", "", "target.others: is neither \"allow\" nor \"deny\""),
        ("access-states = [\"1 standby\", \"3 standby\"]", "", "target.access-states: no portal is in group 3"),
        (
            "access-states = [\"1 stand-by\"]",
            "",
            "target.access-states: unknown access state 'stand-by': known are active",
        ),
        (
            "access-states = [\"standby\"]",
            "",
            "target.access-states: 'standby' is no portal group tag and access state",
        ),
        ("access-states = [\"1 standby\", \"1 standby\"]", "", "target.access-states: names group 1 twice"),
        (
            "",
            "[[portal]]\nlisten = \"127.0.0.1\"\naccess-state = \"offline\"",
            "portal.access-state: unknown access state",
        ),
        ("portal-groups = [3]", "", "target.portal-groups: no portal is in group 3"),
        ("", "[[target.group]]\nluns = [2]", "target.group.luns: this target has no LUN 2"),
        ("", "[[target.group]]\nluns = [\"0 as 1\", 1]", "target.group.luns: LUN 1 as 1: one of the two"),
        ("", "[[target.group]]\nluns = [\"0 to 1\"]", "target.group.luns: '0 to 1' is neither a LUN nor like"),
        ("", "[[target.group]]\nluns = []", "target.group.luns: is empty"),
        ("", "[[target.group]]\ninitiators = [\"db1\"]", "target.group.initiators: 'db1': an iSCSI name begins"),
        ("", "[[target.group]]\ninitiators = []", "target.group.initiators: has 0 elements"),
        ("", "[[target.group]]\nnetworks = [\"192.0.2.1/24\"]", "target.group.networks: '192.0.2.1/24': has bits set"),
        (
            "",
            "[[target.group]]\nname = \"b\"\n[[target.group]]\nname = \"b\"",
            "target.group.name: 'b' is the name of two groups of this target",
        ),
        (
            "",
            "[[target.group]]\nname = \"2\"\n[[target.group]]",
            "target.group: '2' is the name of two groups of this target",
        ),
        (
            "",
            "[[target.group]]\nname = \"a\\nb\"",
            "target.group.name: a group's name has at most 255 bytes of printable",
        ),
        ("", "[[target.group]]\nbandwidth = 0", "target.group.bandwidth: is no bandwidth"),
        ("", "[[discovery]]\naccounts = [\"h\"]", "discovery: is no table: write [discovery]"),
        ("", "[limits]\nconnections = 0", "limits.connections: 0 is no whole number from 1"),
        ("", "[[account]]\nuser = \"h\"\nsecret = \"x\"", "account.user: 'h' is the user of two accounts"),
        ("", "[[account]]\nuser = \"u\"", "account: an account needs one of secret-file"),
        ("", "[[account]]\nuser = \"u\"\nsecret = \"x\"\nsecret-env = \"y\"", "account: an account needs one of"),
        ("", "[[account]]\nuser = \"u\"\nsecret = \"\"", "account.secret: the secret is empty"),
        ("", "[[account]]\nuser = \"u\"\nsecret = 471147", "account.secret: is no text: put it in quotes"),
        (
            "",
            "[[portal]]\nlisten = \"[::]:1\"\n[[portal]]\nlisten = \"0.0.0.0:1\"",
            "portal.listen: 0.0.0.0:1 and [::]:1",
        ),
    ] {
        let line = fault(&with_target(keys, below));
        assert!(line.contains(&format!(": {expected}")), "\n{line}\n  {expected}");
        assert!(!line.contains("471147"), "{line}");
    }
    let line = fault(&format!("chap-algorithms = [\"md4\"]\n{}", with_target("", "")));
    assert!(line.starts_with("x.toml:1: chap-algorithms: unknown hash 'md4'"), "{line}");
}

//= RFC 7143 section 9.2.1
//# Any CHAP secret used for initiator authentication MUST NOT be
//# configured for authentication of any target, and any CHAP secret used
//# for target authentication MUST NOT be configured for authentication
//# of any initiator.
#[test]
fn a_secret_serves_one_direction() {
    let one = fault(&with_target("accounts = [\"h\"]\nmutual = \"h\"", ""));
    assert!(one.contains(": account.secret: initiators and the target must not have the same secret"), "{one}");
    let same = format!("[[account]]\nuser = \"u\"\nsecret = \"{STRONG}-h\"");
    let two = fault(&with_target("accounts = [\"h\"]\nmutual = \"u\"", &same));
    assert!(two.contains(": account.secret: initiators and the target must not have the same secret"), "{two}");
    assert!(!format!("{one}{two}").contains(STRONG));
}

#[test]
fn weak_and_shared_secrets_are_warned_of() {
    let weak = "[[account]]\nuser = \"weak\"\nsecret = \"0123456789a\"";
    let config = parse(&with_target("accounts = [\"h\", \"i\", \"weak\"]\nmutual = \"t\"", weak)).unwrap();
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
    assert!(config.warnings[0].to_string().ends_with("it can be guessed from what is on the wire"));
    let line = fault(&with_target("accounts = [\"h\"]\nmutual = \"weak\"", weak));
    //= RFC 7143 section 9.2.1
    //# A compliant implementation SHOULD NOT continue with the login step in
    //# which it should send a CHAP response (CHAP_R; see Section 12.1.3) unless
    //# it can verify that the CHAP secret is at least 96 bits or that IPsec
    //# encryption is being used to protect the connection.
    assert!(line.contains("the target's own secret needs 12 bytes"), "{line}");
    let same = format!("[[account]]\nuser = \"u\"\nsecret = \"{STRONG}-h\"");
    let config = parse(&with_target("accounts = [\"h\", \"i\", \"u\"]", &same)).unwrap();
    //= RFC 7143 section 9.2.1
    //# The same CHAP secret SHOULD NOT be configured for authentication of
    //# multiple initiators or multiple targets, as this enables any of them to
    //# impersonate any other one of them, and compromising one of them enables
    //# the attacker to impersonate any of them.
    let warnings: Vec<String> = config.warnings.iter().map(|w| w.message.clone()).collect();
    assert_eq!(
        warnings,
        ["no accounts and no mutual name this user", "has the secret of 'h': each could pass for the other"]
    );
}

#[test]
fn secrets_come_from_files_and_the_environment() {
    let dir = tempfile::tempdir().unwrap();
    let config = |keys: &str| {
        let account = format!("[[account]]\nuser = \"u\"\n{keys}\n");
        let file = dir.path().join("x.toml");
        fs::write(&file, with_target("accounts = [\"u\"]", &account)).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        from_file(&file).map(|c| {
            let secret = c.snapshot.targets[0].credentials.as_ref().unwrap().initiators[0].secret.bytes().to_vec();
            (secret, c.warnings.iter().filter(|w| w.message.contains("chmod")).count())
        })
    };
    let path = dir.path().join("s");
    fs::write(&path, format!("{STRONG}\r\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(config("secret-file = \"s\"").unwrap(), (STRONG.into(), 0));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(config("secret-file = \"s\"").unwrap(), (STRONG.into(), 1));
    assert_eq!(config("secret-env = \"CARGO_PKG_NAME\"").unwrap().0, b"ringsan");
    for (keys, text, expected) in [
        ("secret-file = \"none\"", "", "none: no such file"),
        ("secret-file = \".\"", "", "is no regular file"),
        ("secret-file = \"s\"", "one\ntwo\n", "s: has several lines"),
        ("secret-file = \"s\"", "\n", "the secret is empty"),
        ("secret-file = \"s\"", &"x".repeat(256), "a secret has at most 255 bytes"),
        ("secret-env = \"RINGSAN_NO_SUCH_VARIABLE\"", "", "has no variable RINGSAN_NO_SUCH_VARIABLE"),
    ] {
        fs::write(&path, text).unwrap();
        let line = config(keys).unwrap_err().to_string();
        assert!(line.contains(expected), "{line}\n  {expected}");
    }
    fs::write(&path, STRONG).unwrap();
    let chap = format!("iqn.2026-11.io.example:host:{}", path.display());
    let options = Options { chap: vec![chap], ..options(&["kind=ram,size=1MiB"]) };
    let config = from_options(&options).unwrap();
    assert_eq!(users(&config.snapshot.targets[0].credentials), Some((vec!["iqn.2026-11.io.example:host"], None)));
    let wrong = Options { chap: vec!["host".into()], ..options };
    assert!(option_fault(&wrong).starts_with("--chap host: is not USER:FILE"));
}

/// What is not read gives access to nobody.
#[test]
fn accounts_without_their_secret_let_nobody_in() {
    let config =
        parse(&with_target("accounts = [\"u\"]", "[[account]]\nuser = \"u\"\nsecret-file = \"none\"")).unwrap();
    assert_eq!(users(&config.snapshot.targets[0].credentials), Some((vec![], None)));
}
