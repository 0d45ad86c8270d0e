//! The control plane: who may use it, and from where.

use super::*;
use crate::model::control::Scope;
use crate::tls::self_made;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

const TARGET: &str =
    "[[target]]\nname = \"iqn.2026-11.io.ringsan:t\"\n[[target.lun]]\nnumber = 0\nkind = \"ram\"\nsize = 1048576\n";
const TOKEN: &str = "ops full SECRETSECRETSECRET\n";

/// A folder with a certificate, its key, and tokens.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let made = self_made(&["localhost".to_owned()]).unwrap();
    put(folder.path(), "control.crt", &made.chain, 0o644);
    put(folder.path(), "control.key", made.key.bytes(), 0o600);
    put(folder.path(), "control.tokens", TOKEN.as_bytes(), 0o600);
    folder
}

fn put(folder: &Path, name: &str, bytes: &[u8], mode: u32) {
    fs::write(folder.join(name), bytes).unwrap();
    fs::set_permissions(folder.join(name), fs::Permissions::from_mode(mode)).unwrap();
}

/// What a file with these keys of `[control]`, on line 2 and after, comes to.
fn control(folder: &Path, keys: &str) -> Result<Config, Vec<String>> {
    let of = to_serve(&folder.join("x.toml"), Some(&format!("[control]\n{keys}\n{TARGET}")), true);
    of.map_err(|error| error.faults().iter().map(ToString::to_string).collect())
}

const ALL: &str =
    "listen = [\"127.0.0.1:3261\"]\ncertificate = \"control.crt\"\nkey = \"control.key\"\ntokens = \"control.tokens\"";

#[test]
fn what_is_named_is_read() {
    let folder = folder();
    let found = control(folder.path(), &format!("group = \"root\"\n{ALL}")).unwrap().snapshot.control;
    assert_eq!(found.group, Some(("root".to_owned(), 0)));
    assert_eq!(found.listen, ["127.0.0.1:3261".parse().unwrap()]);
    assert_eq!((&*found.tokens[0].name, found.tokens[0].scope), ("ops", Scope::Full));
    let debug = format!("{found:?}");
    assert!(found.identity.is_some() && !debug.contains("SECRET") && !debug.contains("PRIVATE"), "{debug}");
    let none = control(folder.path(), "").unwrap().snapshot.control;
    assert_eq!(none, crate::model::Control::default());
    let own = control(folder.path(), "listen = [\"127.0.0.1:0\"]\ntokens = \"control.tokens\"").unwrap();
    assert_eq!(own.snapshot.control.identity, None);
}

#[test]
fn what_is_wrong_names_file_line_and_key() {
    let folder = folder();
    put(folder.path(), "open.key", &fs::read(folder.path().join("control.key")).unwrap(), 0o644);
    put(folder.path(), "no.key", &fs::read(folder.path().join("control.crt")).unwrap(), 0o600);
    put(folder.path(), "open.tokens", TOKEN.as_bytes(), 0o640);
    put(folder.path(), "bad.tokens", b"\nops SECRETSECRETSECRET\n", 0o600);
    put(folder.path(), "other.key", self_made(&[]).unwrap().key.bytes(), 0o600);
    let others = fs::metadata(folder.path()).unwrap().uid() != 0;
    for (keys, line, key, said) in [
        ("listen = [\"127.0.0.1:1\"]".to_owned(), 2, "listen", "needs tokens"),
        (ALL.replace("127.0.0.1:3261", "localhost:1"), 2, "listen", "no host names"),
        (ALL.replace("127.0.0.1:3261", "127.0.0.1"), 2, "listen", "no address with port"),
        (ALL.replace("127.0.0.1:3261", "127.0.0.1:3260"), 2, "listen", "is a portal"),
        (ALL.replace("127.0.0.1:3261", "0.0.0.0:3260"), 2, "listen", "is a portal"),
        (ALL.replace("1:3261\"", "1:3261\", \"127.0.0.1:3261\""), 2, "listen", "listened on twice"),
        (ALL.replace("control.crt", "none.crt"), 3, "certificate", "none.crt: no such file"),
        (ALL.replace("control.crt", "control.key"), 3, "certificate", "has no certificate"),
        (ALL.replace("\"control.key\"", "\"none.key\""), 4, "key", "none.key: no such file"),
        (ALL.replace("control.key", "no.key"), 4, "key", "no private key"),
        (ALL.replace("control.key", "other.key"), 4, "key", "is not the key of the certificate"),
        (ALL.replace("control.key", "open.key"), 4, "key", "others than its owner can read it"),
        (ALL.replace("key = \"control.key\"", ""), 3, "certificate", "needs key"),
        (ALL.replace("certificate = \"control.crt\"", ""), 4, "key", "needs certificate"),
        (ALL.replace("control.tokens", "none"), 5, "tokens", "none: no such file"),
        (ALL.replace("control.tokens", "bad.tokens"), 5, "tokens", "bad.tokens:2: is not NAME full|read TOKEN"),
        (ALL.replace("control.tokens", "."), 5, "tokens", "is no regular file"),
        ("group = \"no such group\"".to_owned(), 2, "group", "there is no group"),
        ("grup = \"root\"".to_owned(), 2, "grup", "did you mean 'group'"),
    ] {
        let faults = control(folder.path(), &keys).unwrap_err();
        let begin = format!("{}:{line}: control.{key}: ", folder.path().join("x.toml").display());
        assert!(faults.len() == 1 && faults[0].starts_with(&begin) && faults[0].contains(said), "{keys}: {faults:#?}");
        assert!(!faults[0].contains("SECRET") && !faults[0].contains("PRIVATE KEY-----\nM"), "{faults:#?}");
    }
    // A group may read what is root's: that is how the system gives keys to services.
    let of_group = control(folder.path(), &ALL.replace("control.tokens", "open.tokens"));
    assert_eq!(of_group.is_err(), others, "{of_group:?}");
}
