use super::*;
use crate::model::lun::{OPTIONS, Reload, Value};
use crate::model::{AccessState, LunKind, LunSpec};
use proptest::prelude::*;
use std::fs;

mod access;
mod control;
mod degraded;

const SMALL: &str = include_str!("../../config/ringsan.toml");
const FULL: &str = include_str!("../../config/ringsan-full.toml");

fn parse(text: &str) -> Result<Config, ConfigError> {
    from_text(text, Path::new("x.toml"))
}

/// The faults of a text, as lines.
fn faults(text: &str) -> Vec<String> {
    match parse(text) {
        Ok(config) => panic!("taken: {config:?}"),
        Err(error) => error.faults().iter().map(ToString::to_string).collect(),
    }
}

/// The only fault of a text.
fn fault(text: &str) -> String {
    let faults = faults(text);
    assert_eq!(faults.len(), 1, "{faults:#?}");
    faults.into_iter().next().unwrap()
}

/// A whole file around the keys of one logical unit, which are on line 5 and after.
fn with_lun(keys: &str) -> String {
    format!("[[target]]\nname = \"iqn.2026-11.io.ringsan:t\"\n[[target.lun]]\nnumber = 0\n{keys}\n")
}

fn options(lun: &[&str]) -> Options {
    Options { lun: lun.iter().map(ToString::to_string).collect(), ..Options::default() }
}

fn option_fault(options: &Options) -> String {
    from_options(options).unwrap_err().to_string()
}

#[test]
fn the_examples_are_valid() {
    let small = from_text(SMALL, Path::new("config/ringsan.toml")).unwrap();
    assert_eq!(small.snapshot.targets[0].luns.len(), 2);
    assert_eq!(small.snapshot.targets[0].luns[0].kind, LunKind::File("config/../ringsan-data/disk0.img".into()));
    let full = from_text(FULL, Path::new("ringsan-full.toml")).unwrap();
    assert_eq!(full.snapshot.targets.len(), 2);
    assert_eq!((full.log.as_deref(), full.log_format.as_deref()), (Some("info"), Some("text")));
    assert_eq!(full.snapshot.cores, [0]);
    assert_eq!(full.snapshot.spin_us, Some(50));
    assert_eq!(full.snapshot.congestion.as_deref(), Some("cubic"));
    assert!(!full.snapshot.strict);
    assert!(from_text(&FULL.replace("strict = false", "strict = true"), Path::new("x.toml")).unwrap().snapshot.strict);
    assert_eq!(full.snapshot.access_states, [(1, AccessState::ActiveOptimized)]);
    assert_eq!(full.snapshot.targets[0].access_states, [(2, AccessState::ActiveNonOptimized)]);
    assert_eq!(full.snapshot.portals[0].advertise, Some("192.0.2.10:3260".parse().unwrap()));
}

#[test]
fn the_full_example_has_every_key() {
    let (mut table, mut seen) = (String::new(), Vec::new());
    for line in FULL.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let name = name.trim_matches(['[', ']']);
            table = name.to_owned();
            seen.push(table.clone());
        } else if let Some((key, _)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
            seen.push(format!("{table}.{}", key.trim()).trim_start_matches('.').to_owned());
        }
    }
    let keys = [
        ("", TOP_KEYS),
        ("portal.", PORTAL_KEYS),
        ("account.", ACCOUNT_KEYS),
        ("discovery.", DISCOVERY_KEYS),
        ("limits.", LIMITS_KEYS),
        ("control.", CONTROL_KEYS),
        ("target.", TARGET_KEYS),
        ("target.lun.", LUN_KEYS),
        ("target.group.", GROUP_KEYS),
    ];
    for (prefix, names) in keys {
        for name in names {
            assert!(seen.contains(&format!("{prefix}{name}")), "{prefix}{name} is not in config/ringsan-full.toml");
        }
    }
}

/// What README.md says of the options of a logical unit is what the table says, and nothing else.
#[test]
fn the_documentation_has_each_option_of_a_logical_unit() {
    let readme = include_str!("../../README.md");
    let lines = readme.lines().skip_while(|line| !line.starts_with("| `--lun OPTIONS`")).skip(1);
    let said: Vec<String> =
        lines.take_while(|line| !line.starts_with("| `--state DIR`")).map(|line| line.replace("\\|", "|")).collect();
    let written = |usage: &str| if usage.is_empty() { String::new() } else { format!("`{usage}` ") };
    let rows = OPTIONS.iter().map(|row| format!("| {}| `{}` | {} |", written(row.usage), row.key, row.meaning));
    assert_eq!(said, rows.collect::<Vec<_>>());
    // Each is explained in the full example, above its key.
    for row in OPTIONS {
        let at = FULL.lines().position(|line| line.starts_with(&format!("{} = ", row.key))).expect(row.key);
        let above = FULL.lines().nth(at - 1).unwrap_or_default();
        // One explanation is for both limits.
        assert!(above.starts_with('#') || row.key == "bandwidth", "{}: {above}", row.key);
    }
}

/// What has another value is described otherwise, or is about a file that is not here.
#[test]
fn each_option_is_read_shown_and_compared() {
    let plain = || LunSpec { size_bytes: Some(4096), ..LunSpec::new(0, LunKind::Ram) };
    let shown = |spec: &LunSpec| OPTIONS.iter().filter_map(|row| (row.show)(spec, false)).collect::<Vec<_>>();
    for row in OPTIONS {
        let mut other = plain();
        match row.value {
            Value::Apart => continue,
            Value::Flag(set) => set(&mut other, true),
            Value::Number(_, most, set) => set(&mut other, most),
            Value::Size(set) => set(&mut other, 1 << 20).unwrap(),
            Value::Text(set) if row.key == "slow-log" => set(&mut other, "50ms").unwrap(),
            Value::Text(set) => set(&mut other, "6025253f0af9b5f75da01330fefb709e").unwrap(),
        }
        assert_ne!(other, plain(), "{} is kept nowhere", row.key);
        assert!(shown(&other) != shown(&plain()) || row.key == "shrink", "{} is not shown", row.key);
        let (mut new, wanted) = (other.clone(), other);
        match row.reload {
            Reload::Taken => assert!(!row.keep(&mut new, &plain()) && new == wanted, "{}", row.key),
            Reload::Restart(_) => {
                assert!(row.keep(&mut new, &plain()), "{} is not compared", row.key);
                assert_eq!(new, plain(), "{} is not kept", row.key);
                assert!(!row.keep(&mut new, &plain()));
            }
        }
    }
}

#[test]
fn keys_have_their_defaults() {
    let config = parse(&with_lun("kind = \"ram\"\nsize = 1048576")).unwrap();
    let snapshot = config.snapshot;
    assert_eq!(snapshot.portals.len(), 1);
    assert_eq!(snapshot.portals[0].listen, DEFAULT_LISTEN.parse().unwrap());
    assert_eq!((snapshot.portals[0].group_tag, snapshot.portals[0].advertise), (1, None));
    assert!(snapshot.cores.is_empty() && snapshot.spin_us.is_none() && config.log.is_none());
    let lun = &snapshot.targets[0].luns[0];
    assert_eq!((lun.number, lun.block_bytes, lun.physical_block_bytes), (0, 512, 4096));
    assert_eq!((lun.size_bytes, lun.readonly, lun.thin, &lun.serial), (Some(1 << 20), false, false, &None));
}

#[test]
fn paths_are_relative_to_the_file() {
    let read = |path: &str| {
        let text = with_lun(&format!("path = \"{path}\""));
        from_text(&text, Path::new("/etc/ringsan/x.toml")).unwrap().snapshot.targets[0].luns[0].kind.clone()
    };
    assert_eq!(read("disk.img"), LunKind::File("/etc/ringsan/disk.img".into()));
    assert_eq!(read("/srv/disk.img"), LunKind::File("/srv/disk.img".into()));
}

#[test]
fn a_target_has_a_name() {
    //= RFC 7143 section 4.2.7.1
    //# Each iSCSI node, whether it is an initiator, a target, or both, MUST
    //# have an iSCSI name.
    let text = "[[target]]\nalias = \"disks\"\n[[target.lun]]\nnumber = 0\nkind = \"ram\"\nsize = 512\n";
    let faults = from_text(text, Path::new("x.toml")).unwrap_err().to_string();
    assert!(faults.starts_with("x.toml:1: target: a target needs a name"), "{faults}");
}

#[test]
fn faults_name_file_line_and_key() {
    let cases = [
        (
            "kind = \"ram\"\nsize = \"1GB\"\nsise = 1",
            "x.toml:7: target.lun.sise: unknown key 'sise': did you mean 'size'?",
        ),
        ("kind = \"ram\"\nsize = \"1.5GiB\"", "x.toml:6: target.lun.size: '1.5GiB' is no size: "),
        ("kind = \"ram\"\nsize = -1", "x.toml:6: target.lun.size: -1 is no size: "),
        ("kind = \"ram\"\nsize = 0", "x.toml:6: target.lun.size: a logical unit of 0 bytes"),
        (
            "kind = \"ram\"\nsize = 1000",
            "x.toml:6: target.lun.size: 1000 bytes are not a multiple of the block size 512",
        ),
        ("kind = \"ram\"\nsize = \"8192PiB\"", "x.toml:6: target.lun.size: 9223372036854775808 bytes are more than"),
        ("kind = \"ram\"\nsize = \"16384PiB\"", "x.toml:6: target.lun.size: '16384PiB' is larger than any disk"),
        ("kind = \"ram\"", "x.toml:5: target.lun.kind: ram needs a size"),
        ("kind = \"rom\"\nsize = 512", "x.toml:5: target.lun.kind: unknown kind 'rom': known are file, ram, null"),
        ("kind = \"file\"", "x.toml:3: target.lun: a file needs a path"),
        ("thin = true", "x.toml:3: target.lun: a logical unit needs path=FILE, or kind=ram"),
        ("kind = \"ram\"\nsize = 512\npath = \"a\"", "x.toml:7: target.lun.path: ram has no path"),
        ("path = \"\"", "x.toml:5: target.lun.path: '' is empty"),
        ("path = 5", "x.toml:5: target.lun.path: 5 is no text: put it in quotes"),
        ("path = \"a\"\nblock = 1024", "x.toml:6: target.lun.block: a logical block has 512 or 4096 bytes, not 1024"),
        (
            "path = \"a\"\nphysical-block = 3072",
            "x.toml:6: target.lun.physical-block: a physical block is a power of two",
        ),
        ("path = \"a\"\nblock = 4096\nphysical-block = 512", "x.toml:7: target.lun.physical-block: a physical block"),
        ("path = \"a\"\nreadonly = \"yes\"", "x.toml:6: target.lun.readonly: 'yes' is neither true nor false"),
        ("path = \"a\"\nserial = \"a b\"", "x.toml:6: target.lun.serial: a serial number has"),
        ("path = \"a\"\npath = \"b\"", "x.toml:6: path: duplicate key"),
        ("path = \"a", "x.toml:5: path: "),
        ("path = \"a\"\nthin = maybe", "x.toml:6: thin: "),
        ("path = \"a\"\n[[target.lun]]\nnumber = 0\npath = \"b\"", "x.toml:7: target.lun.number: two logical units"),
        ("path = \"a\"\n[[target.lun]]\npath = \"b\"", "x.toml:6: target.lun: a logical unit needs a number"),
        (
            "path = \"a\"\n[[target.lun]]\nnumber = 16384\npath = \"b\"",
            "x.toml:7: target.lun.number: 16384 is no whole",
        ),
        (
            "path = \"a\"\n[[target]]\nname = \"iqn.2026-11.io.RINGSAN:t\"\n[[target.lun]]\nnumber = 0\npath = \"b\"",
            "x.toml:7: target.name: iqn.2026-11.io.ringsan:t is the name of two targets",
        ),
        (
            "path = \"a\"\n[[target]]\nname = \"disk\"\n[[target.lun]]\nnumber = 0\npath = \"b\"",
            "x.toml:7: target.name: 'disk' is no iSCSI name: an iSCSI name begins with iqn., eui. or naa.",
        ),
        ("path = \"a\"\n[portal]\nlisten = \"::1\"", "x.toml:6: portal: write [[portal]], with double brackets"),
        ("path = \"a\"\n[[portal]]\n", "x.toml:6: portal: a portal needs listen"),
        (
            "path = \"a\"\n[[portal]]\nlisten = \"san1:3260\"",
            "x.toml:7: portal.listen: 'san1:3260' is no address with port",
        ),
        (
            "path = \"a\"\n[[portal]]\nlisten = \"::1\"\ngroup = 65536",
            "x.toml:8: portal.group: 65536 is no whole number",
        ),
        (
            "path = \"a\"\n[[portal]]\nlisten = \"::1\"\nadvertise = \"0.0.0.0\"",
            "x.toml:8: portal.advertise: 0.0.0.0:3260",
        ),
        (
            "path = \"a\"\n[[portal]]\nlisten = \"::1\"\n[[portal]]\nlisten = \"[::1]:3260\"",
            "x.toml:9: portal.listen: [::1]:3260 is listened on twice",
        ),
    ];
    for (keys, expected) in cases {
        let line = fault(&with_lun(keys));
        assert!(line.starts_with(expected), "\n{keys}\n  {line}\n  {expected}");
        assert!(!line.contains('\n'), "{line}");
    }
}

#[test]
fn faults_outside_of_tables_are_named() {
    let valid = with_lun("path = \"a\"");
    for (keys, expected) in [
        ("core = [0]", "x.toml:1: core: unknown key 'core': did you mean 'cores'?"),
        ("cores = [0, 0]", "x.toml:1: cores: [0, 0] names 0 twice"),
        ("cores = []", "x.toml:1: cores: [] is empty"),
        ("cores = \"3-1\"", "x.toml:1: cores: '3-1' is no list of numbers"),
        ("cores = [1.5]", "x.toml:1: cores: [a fraction] is no list of numbers"),
        ("spin-us = 2000000", "x.toml:1: spin-us: 2000000 is no whole number from 0 to 1000000"),
        (
            "congestion = \"fast!\"",
            "x.toml:1: congestion: 'fast!' is no name of a TCP congestion control, and not 'system'",
        ),
        (
            "congestion = \"a-name-too-long-\"",
            "x.toml:1: congestion: 'a-name-too-long-' is no name of a TCP congestion control",
        ),
        ("log = \"loud\"", "x.toml:1: log: unknown log level 'loud'"),
        ("log-format = \"xml\"", "x.toml:1: log-format: unknown log format 'xml': known are text, json, journald"),
        ("target_ = 1", "x.toml:1: target_: unknown key 'target_': did you mean 'target'?"),
    ] {
        let line = fault(&format!("{keys}\n{valid}"));
        assert!(line.starts_with(expected), "\n{keys}\n  {line}\n  {expected}");
    }
    // What is to come can be added while it is served.
    let warned = |text: &str| parse(text).unwrap().warnings.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(fault(""), "x.toml: there is no [[target]]: nothing to serve (target = [] says that none is meant)");
    assert_eq!(warned("target = []"), [""; 0]);
    let empty = "[[target]]\nname = \"iqn.2026-11.io.ringsan:u\"";
    assert_eq!(warned(empty), ["x.toml:1: target: this target has no [[target.lun]]: it serves nothing"]);
    assert_eq!(fault("target = [1]"), "x.toml:1: target: is no table: write [[target]] and its keys below");
}

#[test]
fn every_fault_is_found_in_the_order_of_the_file() {
    let text = with_lun("kind = \"ram\"\nsize = 5\ncolor = 1") + "[[portal]]\nlisten = 7\n";
    let found = faults(&text);
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found.is_sorted(), "{found:#?}");
    let line = parse(&text).unwrap_err().to_string();
    assert!(line.ends_with("(and 2 more: see `ringsan check`)"), "{line}");
}

#[test]
fn log_levels_and_filters() {
    for level in ["info", "OFF", "ringsan=debug", "warn,ringsan::session=trace"] {
        assert_eq!(check_log_level(level), Ok(()), "{level}");
    }
    for level in ["", "loud", "ringsan=loud", "info,", "verbose,info"] {
        assert!(check_log_level(level).is_err(), "{level}");
    }
}

#[test]
fn lun_options_are_read() {
    let config = from_options(&options(&[
        "kind=ram,size=1MiB",
        "kind=null,size=1TiB,block=4096,physical-block=16KiB,readonly,thin,serial=S1",
        "kind = null, size = 10GB, block=512, thin=false",
    ]))
    .unwrap();
    let target = &config.snapshot.targets[0];
    assert_eq!(target.name.as_str(), DEFAULT_TARGET);
    let [ram, null, spaced] = target.luns.as_slice() else { panic!("{target:?}") };
    assert_eq!((ram.number, &ram.kind, ram.size_bytes), (0, &LunKind::Ram, Some(1 << 20)));
    assert_eq!((null.number, &null.kind, null.size_bytes), (1, &LunKind::Null, Some(1 << 40)));
    assert_eq!((null.block_bytes, null.physical_block_bytes), (4096, 16384));
    assert!(null.readonly && null.thin && null.serial.as_deref() == Some("S1"));
    assert_eq!((spaced.size_bytes, spaced.thin), (Some(10_000_000_000), false));
}

/// By the table of the backend alone: nothing here knows that kind.
#[test]
fn a_kind_that_the_backend_has_is_known_by_its_word() {
    let config = from_options(&options(&["kind=threaded,path=pool/one,size=1MiB"])).unwrap();
    let lun = &config.snapshot.targets[0].luns[0];
    assert_eq!(lun.kind, LunKind::Other { word: "threaded", path: "pool/one".to_owned() });
    let text = describe::serves(&config.snapshot);
    assert!(text.ends_with("  LUN 0: threaded pool/one, 1MiB, blocks of 512 (4096 physical)\n"), "{text}");
    for (lun, expected) in [
        ("kind=threaded,size=1MiB", "threaded needs a path"),
        ("kind=threaded,path=one", "threaded needs a size"),
        ("kind=threaded,path=one,size=1MiB,create", "only files are made"),
        ("kind=threaded,path=one,cdrom", "a cdrom is an image"),
    ] {
        let line = option_fault(&options(&[lun]));
        assert!(line.contains(expected), "{lun}\n  {line}");
    }
}

#[test]
fn lun_option_faults_name_option_and_key() {
    for (lun, expected) in [
        ("", "--lun : an option is missing"),
        ("path=a,,thin", "--lun path=a,,thin: an option is missing"),
        ("kind=ram,size=1x", "--lun kind=ram,size=1x: size: '1x' is no size"),
        ("kind=ram", "--lun kind=ram: kind: ram needs a size"),
        ("kind=ram,sise=1M", "--lun kind=ram,sise=1M: sise: unknown key 'sise': did you mean 'size'?"),
        ("kind=ram,size", "--lun kind=ram,size: size: needs a value: size=..."),
        ("kind=ram,size=1M,size=2M", "--lun kind=ram,size=1M,size=2M: size: size is given twice"),
        ("kind=ram,size=1M,thin=yes", "--lun kind=ram,size=1M,thin=yes: thin: 'yes' is neither true nor false"),
        ("kind=ram,size=1M,number=3", "--lun kind=ram,size=1M,number=3: number: LUNs count from 0"),
        ("kind=ram,size=1000", "--lun kind=ram,size=1000: size: 1000 bytes are not a multiple"),
        ("size=1GiB", "--lun size=1GiB: a logical unit needs path=FILE"),
        (
            "path=/nowhere/disk.img",
            "--lun path=/nowhere/disk.img: path: /nowhere/disk.img: no such file (with create = true and a size",
        ),
        ("path=/dev/null", "--lun path=/dev/null: path: /dev/null: is a character device, neither a regular file nor"),
        ("kind=ram,size=4PiB", "--lun kind=ram,size=4PiB: size: this and the other ram units need more than"),
    ] {
        let line = option_fault(&options(&[lun]));
        assert!(line.starts_with(expected), "\n{lun}\n  {line}\n  {expected}");
    }
}

#[test]
fn other_options_are_checked() {
    let ram = ["kind=ram,size=1MiB"];
    let base = options(&ram);
    let strings = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let listen = Options { listen: strings(&["host:3260"]), ..base.clone() };
    assert!(
        option_fault(&listen).starts_with("--listen host:3260: 'host:3260' is no address"),
        "{}",
        option_fault(&listen)
    );
    let target = Options { target: Some("disk".to_owned()), ..base.clone() };
    assert!(option_fault(&target).starts_with("--target disk: 'disk' is no iSCSI name"), "{}", option_fault(&target));
    let advertise = Options { advertise: strings(&["192.0.2.1:1", "192.0.2.2:2"]), ..base.clone() };
    assert!(
        option_fault(&advertise).starts_with("--advertise 192.0.2.2:2: has no --listen"),
        "{}",
        option_fault(&advertise)
    );
    let both =
        Options { listen: strings(&["127.0.0.1", "[::1]:0"]), advertise: strings(&["192.0.2.1:9"]), ..base.clone() };
    //= RFC 7143 section 15
    //# Implementations needing a system TCP port number may use port 860, the
    //# port assigned by IANA as the iSCSI system port; however, in order to use
    //# port 860, it MUST be explicitly specified -- implementations MUST NOT
    //# default to the use of port 860, as 3260 is the only allowed default.
    let portals = from_options(&both).unwrap().snapshot.portals;
    assert_eq!(portals[0].advertise, Some("192.0.2.1:9".parse().unwrap()));
    assert_eq!((portals[0].listen.port(), portals[1].listen.port(), portals[1].advertise), (3260, 0, None));

    let mut config = from_options(&base).unwrap();
    let overrides = |cores: &str| Overrides {
        cores: Some(cores.to_owned()),
        spin_us: Some("7".to_owned()),
        ..Overrides::default()
    };
    overrides("0").apply(&mut config).unwrap();
    assert_eq!((config.snapshot.cores.as_slice(), config.snapshot.spin_us), ([0].as_slice(), Some(7)));
    let error = overrides("4095").apply(&mut config).unwrap_err().to_string();
    assert!(error.starts_with("--cores 4095: core 4095 is not one that this process may use"), "{error}");
    let error = overrides("a").apply(&mut config).unwrap_err().to_string();
    assert!(error.starts_with("--cores a: 'a' is no list of numbers"), "{error}");
}

#[test]
fn files_are_compared_with_what_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    fs::write(dir.path().join("odd.img"), [0; 1000]).unwrap();
    fs::write(dir.path().join("empty.img"), []).unwrap();
    fs::write(dir.path().join("disk.img"), [0; 8192]).unwrap();
    std::os::unix::fs::symlink("disk.img", dir.path().join("link.img")).unwrap();
    std::os::unix::fs::symlink("nothing", dir.path().join("dangling.img")).unwrap();

    let (odd, disk, link) = (path("odd.img"), path("disk.img"), path("link.img"));
    for (luns, expected) in [
        (vec![format!("path={odd}")], "1000 bytes are not a multiple of the block size 512 (nearest below: 512)"),
        (vec![format!("path={}", path("empty.img"))], "a logical unit of 0 bytes cannot be served"),
        (vec![format!("path={disk},size=4096")], "has 8192 bytes, but size= says 4096; it is never shortened"),
        (
            vec![format!("path={}", path("dangling.img")) + ",size=4096"],
            "is a symbolic link to a file that is not there",
        ),
        (vec![format!("path={}", dir.path().display())], "is a directory, neither a regular file nor a block device"),
        (vec![format!("path={disk}/x,size=4096")], "cannot look at it: Not a directory"),
        (vec![format!("path={},size=4096,readonly", path("new"))], "no such file, and readonly files are not created"),
        (vec![format!("path={disk}"), format!("path={disk}")], "is served twice: logical units cannot share a file"),
        (vec![format!("path={disk}"), format!("path={link}")], "disk.img, which is served already"),
        (
            vec![format!("path={},size=4096", path("new")), format!("path={}/./new,size=4096", dir.path().display())],
            "served",
        ),
    ] {
        let words: Vec<&str> = luns.iter().map(String::as_str).collect();
        let line = option_fault(&options(&words));
        assert!(line.contains(expected), "\n{luns:?}\n  {line}\n  {expected}");
        assert!(line.starts_with("--lun path="), "{line}");
    }
    for size in [8192, 16384] {
        assert!(from_options(&options(&[&format!("path={disk},size={size}")])).is_ok(), "equal, or it grows");
    }
    let line = option_fault(&options(&[&format!("path={disk},size=16384,readonly")]));
    assert!(line.contains("has 8192 bytes, but size= says 16384"), "{line}");
    assert_eq!(fs::metadata(&disk).unwrap().len(), 8192, "checking changes nothing");
}

#[test]
fn two_units_of_one_identity_are_refused() {
    let two = |first: &str, second: &str| {
        let ram = "kind = \"ram\"\nsize = 512\n";
        with_lun(&format!(
            "{ram}{first}\n[[target]]\nname = \"iqn.2026-11.io.ringsan:u\"\n[[target.lun]]\nnumber = 0\n{ram}{second}"
        ))
    };
    let line = fault(&two("serial = \"S\"", "serial = \"S\""));
    assert!(line.starts_with("x.toml:14: target.lun.serial: 'S' is the serial number of two"), "{line}");
    let naa = |digits: &str| format!("naa = \"{digits}\"");
    let digits = "6025253f0af9b5f75da01330fefb709e";
    assert!(fault(&two(&naa(digits), &naa(&format!("naa.{digits}")))).contains("designator of two logical units"));
    assert!(parse(&two(&naa(digits), "serial = \"S\"")).is_ok());
    assert!(fault(&two(&naa("5025253f0af9b5f75da01330fefb709e"), "")).contains("32 hexadecimal digits"));
}

#[test]
fn a_file_with_secrets_that_others_can_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.toml");
    let account = "[[account]]\nuser = \"u\"\nsecret = \"0123456789abcdef\"\n";
    let target = with_lun("kind = \"ram\"\nsize = 512").replacen("[[target]]\n", "[[target]]\naccounts = [\"u\"]\n", 1);
    fs::write(&file, format!("{account}{target}")).unwrap();
    for (mode, warned) in [(0o644, true), (0o640, true), (0o600, false)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let warnings = from_file(&file).unwrap().warnings;
        assert_eq!(
            warnings.iter().any(|fault| fault.message.contains("others than its owner can read")),
            warned,
            "{mode:o}"
        );
    }
}

/// A file in the place of a mount that is missing would be an empty disk.
#[test]
fn creating_takes_a_word() {
    let dir = tempfile::tempdir().unwrap();
    let (file, other) = (dir.path().join("x.toml"), dir.path().join("disks"));
    fs::create_dir(&other).unwrap();
    let read = |keys: &str| {
        fs::write(&file, with_lun(keys)).unwrap();
        from_file(&file).map(|config| config.snapshot.targets[0].luns[0].create).map_err(|error| error.to_string())
    };
    let elsewhere = read("path = \"disks/a\"\nsize = \"1MiB\"").unwrap_err();
    assert!(
        elsewhere.ends_with("disks/a: no such file (is its file system mounted? With create = true it is created)")
    );
    assert_eq!(read("path = \"disks/a\"\nsize = \"1MiB\"\ncreate = true"), Ok(true));
    assert_eq!(read("path = \"a\"\nsize = \"1MiB\""), Ok(true), "beside the file, which is there");
    assert_eq!(read(&format!("path = {:?}\nsize = \"1MiB\"", dir.path().join("a"))), Ok(true));
    assert!(read("path = \"a\"\nsize = \"1MiB\"\ncreate = false").unwrap_err().contains("no such file"));
    assert!(fault(&with_lun("path = \"a\"\ncreate = true")).contains("lun.create: needs a size beside it"));
    assert!(fault(&with_lun("kind = \"ram\"\nsize = 512\ncreate = true")).contains("are made at each start"));
    fs::write(other.join("a"), [0; 4096]).unwrap();
    assert_eq!(read("path = \"disks/a\"\nsize = \"1MiB\""), Ok(false), "one that is there needs none");
    let typed = format!("path={},size=1MiB", other.join("b").display());
    assert!(from_options(&options(&[&typed])).unwrap().snapshot.targets[0].luns[0].create);
    assert!(from_options(&options(&[&format!("{typed},create=false")])).is_err());
}

#[test]
fn one_missing_directory_is_created() {
    let dir = tempfile::tempdir().unwrap();
    let lun = |path: &str| format!("path={},size=1GiB", dir.path().join(path).display());
    let config = from_options(&options(&[&lun("a/disk.img"), &lun("a/other.img")])).unwrap();
    assert!(!dir.path().join("a").exists(), "checking creates nothing");
    assert_eq!(create_directories(&config.snapshot).unwrap().len(), 1);
    assert!(dir.path().join("a").is_dir());
    assert!(create_directories(&config.snapshot).unwrap().is_empty());
    let line = option_fault(&options(&[&lun("b/c/disk.img")]));
    assert!(line.ends_with("b/c is not there: create it first"), "{line}");
    let line = option_fault(&options(&[&lun("b/disk.img"), &lun("./b/disk.img")]));
    assert!(line.contains("b/disk.img is served twice"), "{line}");
}

#[test]
fn snapshots_are_described() {
    let config = from_options(&options(&["kind=ram,size=1GiB", "kind=null,size=1TiB,block=4096,readonly"])).unwrap();
    assert_eq!(
        describe::serves(&config.snapshot),
        "portal 127.0.0.1:3260 group 1\ntarget iqn.2026-11.io.ringsan:demo\n  LUN 0: ram, 1GiB, blocks of 512 (4096 physical)\n  \
         LUN 1: null, 1TiB, blocks of 4096, readonly\n"
    );
    let commands = describe::commands(&config.snapshot, &["0.0.0.0:4000".parse().unwrap()]);
    assert!(commands.contains("iscsi-ls -s iscsi://127.0.0.1:4000\n"), "{commands}");
    assert!(
        commands.contains("iscsiadm -m node -T iqn.2026-11.io.ringsan:demo -p 127.0.0.1:4000 --login\n"),
        "{commands}"
    );
}

proptest! {
    #[test]
    fn any_text_is_read_without_panic(text in any::<String>()) {
        let _ = parse(&text);
    }

    #[test]
    fn damaged_files_are_read_without_panic(at in 0usize..4000, with in "[ -~\n]{0,3}") {
        let mut text = FULL.to_owned();
        let at = at.min(text.len() - 1);
        text.replace_range(at..at + 1, &with);
        match parse(&text) {
            Ok(_) => {}
            Err(error) => prop_assert!(error.faults().iter().all(|f| !f.to_string().contains('\n'))),
        }
    }

    #[test]
    fn any_lun_option_is_read_without_panic(text in "[ -~]{0,40}") {
        let mut faults = Faults::default();
        let _ = options::read(&options(&[&text]), &mut faults);
    }
}

#[test]
fn a_cdrom_is_what_its_image_is() {
    let dir = tempfile::tempdir().unwrap();
    let iso = dir.path().join("odd.iso");
    fs::write(&iso, [0; 5000]).unwrap();
    let lun = |options: &str| format!("path={}{options}", iso.display());
    for same in ["", ",block=2048", ",readonly,removable,thin=false,shrink=false", ",kind=file,serial=S1,iops=100"] {
        let config = from_options(&options(&[&(lun(",cdrom") + same)])).unwrap();
        let spec = &config.snapshot.targets[0].luns[0];
        assert!(spec.cdrom && spec.readonly && spec.removable && !spec.thin, "{spec:?}");
        assert_eq!((spec.size_bytes, spec.block_bytes, spec.physical_block_bytes), (None, 2048, 2048));
    }
    let config = from_options(&options(&[&lun(",cdrom")])).unwrap();
    let text = describe::serves(&config.snapshot);
    assert!(text.ends_with("odd.iso, blocks of 2048, cdrom\n"), "{text}");
    let disc = lun(",cdrom");
    assert!(from_options(&options(&[&disc, &disc])).is_ok(), "discs can share an image");
    let line = option_fault(&options(&[&disc, &lun(",size=8KiB")]));
    assert!(line.contains("is served twice"), "{line}");
    for (with, expected) in [
        ("readonly=false", "readonly: a cdrom is readonly in any case"),
        ("removable=false", "removable: a cdrom is removable in any case"),
        ("thin", "thin: a cdrom cannot be written to"),
        ("shrink", "shrink: a cdrom cannot be written to"),
        ("low-space=1GiB", "low-space: a cdrom cannot be written to"),
        ("size=1GiB", "size: a cdrom has the size of its image"),
        ("block=512", "block: a cdrom has blocks of 2048 bytes, not 512"),
        ("block=x", "block: 'x' is no size"),
        ("physical-block=4096", "physical-block: a cdrom cannot be written to, and has blocks of 2048 bytes"),
    ] {
        let line = option_fault(&options(&[&(lun(",cdrom,") + with)]));
        assert!(line.contains(expected), "\n{with}\n  {line}\n  {expected}");
    }
    let line = option_fault(&options(&["kind=ram,cdrom"]));
    assert!(line.contains("kind: a cdrom is an image: give its path"), "{line}");
    let missing = format!("path={},cdrom", dir.path().join("missing.iso").display());
    let line = option_fault(&options(&[&missing]));
    assert!(line.ends_with("missing.iso: no such file or directory"), "{line}");
    let empty = dir.path().join("empty.iso");
    fs::write(&empty, []).unwrap();
    let line = option_fault(&options(&[&format!("path={},cdrom", empty.display())]));
    assert!(line.contains("a logical unit of 0 bytes cannot be served"), "{line}");
}

#[test]
fn slow_commands_have_a_time() {
    let read = |text: &str| {
        let config = parse(&with_lun(&format!("kind = \"null\"\nsize = 4096\nslow-log = \"{text}\"")));
        config.map(|config| config.snapshot.targets[0].luns[0].slow_log_us)
    };
    for (text, us) in [("50ms", 50_000), ("7us", 7), ("2 s", 2_000_000), ("3600s", 3_600_000_000)] {
        assert_eq!(read(text).unwrap(), Some(us), "{text}");
    }
    for text in ["50", "ms", "0ms", "-1s", "1h", "3601s", "1.5s", "99999999999999999999s", "5\u{e9}s"] {
        let fault = read(text).unwrap_err().to_string();
        assert!(fault.starts_with("x.toml:7: target.lun.slow-log: ") && fault.contains("like 50ms"), "{fault}");
    }
}
