//! What a file that is to be served may lack.

use super::*;

#[test]
fn a_disk_that_is_not_there_is_a_fault_only_where_all_have_to_be() {
    let dir = tempfile::tempdir().unwrap();
    let (file, disk) = (dir.path().join("x.toml"), dir.path().join("short.img"));
    fs::write(&disk, vec![0; 4096]).unwrap();
    let text = |top: &str, luns: &[&str]| {
        let luns: String = (0..).zip(luns).map(|(at, lun)| format!("[[target.lun]]\nnumber = {at}\n{lun}\n")).collect();
        format!("{top}\n[[target]]\nname = \"iqn.2026-11.io.example:a\"\n{luns}")
    };
    let read = |text: &str, all: bool| to_serve(&file, Some(text), all);
    for lacking in [
        "path = \"none.img\"",
        "path = \"short.img\"\nsize = 512",
        "path = \"no/where/none.img\"\nsize = 512\ncreate = true",
    ] {
        let with = |top: &str| text(top, &[lacking, "kind = \"ram\"\nsize = \"1MiB\""]);
        let config = read(&with(""), false).unwrap();
        assert!(config.snapshot.degrades && config.snapshot.targets[0].luns.len() == 2);
        assert!(create_directories(&config.snapshot).unwrap().is_empty());
        for (top, all) in [("", true), ("all-or-nothing = true", false)] {
            let error = read(&with(top), all).unwrap_err();
            assert!(error.faults().len() == 1 && error.to_string().contains("x.toml:"), "{error}");
        }
        fs::write(&file, with("")).unwrap();
        assert!(from_file(&file).is_err(), "who checks it is told");
        assert!(to_serve(&file, None, false).is_ok() && to_serve(&file, None, true).is_err());
    }
    // What is wrong in itself stays wrong.
    for (wrong, said) in [
        (&["path = \"none.img\"", "path = \"none.img\""][..], "is served twice"),
        (&["kind = \"ram\""], "needs a size"),
        (&["path = \"none.img\"\nsize = 777\ncreate = true"], "multiple of the block size"),
    ] {
        let error = read(&text("", wrong), false).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}
