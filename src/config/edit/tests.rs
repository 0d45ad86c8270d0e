//! Changes to a text.

use super::*;

const FILE: &str = "# top\nstate = 'x'   # here\n\n[[target]]\nname = \"iqn.2026-11.io.example:a\"\n\n\
    # the first disk\n[[target.lun]]\nnumber = 0\npath = \"a0.img\"   # on the old array\nsize = \"1GiB\"\n\n\
    # the third\n[[target.lun]]\nnumber = 2\nkind = \"ram\"\nsize = \"1MiB\"\n\n[[target.group]]\nname = \"g\"\n\n\
    # another\n[[target]]\nname = \"iqn.2026-11.io.example:b\"\n\n[[target.lun]]\nnumber = 0\nkind = \"null\"\nsize = \"1GiB\"\n# the end\n";
const A: &str = "iqn.2026-11.io.example:a";

fn text(key: &str, said: &str) -> Setting {
    (key.to_owned(), Some(Said::Text(said.to_owned())))
}

fn lun(target: &str, number: impl Into<Option<u16>>) -> Place {
    Place::Lun(Some(target.to_owned()), number.into())
}

fn done(file: &str, place: Place, act: Act) -> (String, Option<u16>) {
    edited(file, &Edit { place, act }).unwrap()
}

fn refused(file: &str, place: Place, act: Act) -> EditError {
    edited(file, &Edit { place, act }).unwrap_err()
}

#[test]
fn a_unit_comes_behind_the_others_of_its_target() {
    let settings = vec![text("path", "/dev/sdb"), ("thin".to_owned(), Some(Said::Flag(true)))];
    let (edited, number) = done(FILE, lun("a", None), Act::Add(settings.clone()));
    assert_eq!(number, Some(1));
    let wanted = FILE.replace(
        "size = \"1MiB\"\n",
        "size = \"1MiB\"\n\n[[target.lun]]\nnumber = 1\npath = \"/dev/sdb\"\nthin = true\n",
    );
    assert_eq!(edited, wanted);
    // Whoever says it again finds it so.
    assert_eq!(done(&edited, lun("a", 1), Act::Put(settings)).0, wanted);
}

#[test]
fn what_is_set_keeps_what_stands_behind_it() {
    let settings =
        vec![text("path", "b0.img"), ("iops".to_owned(), Some(Said::Number(500))), ("size".to_owned(), None)];
    let (edited, _) = done(FILE, lun(A, 0), Act::Set(settings));
    let wanted = FILE.replacen(
        "path = \"a0.img\"   # on the old array\nsize = \"1GiB\"\n",
        "path = \"b0.img\"   # on the old array\niops = 500\n",
        1,
    );
    assert_eq!(edited, wanted);
}

#[test]
fn what_is_put_has_nothing_else_and_keeps_its_tables() {
    let (edited, _) = done(FILE, lun(A, 0), Act::Put(vec![text("path", "a0.img")]));
    assert_eq!(edited, FILE.replacen("# on the old array\nsize = \"1GiB\"\n", "# on the old array\n", 1));
    let alias = vec![text("alias", "A"), ("portal-groups".to_owned(), Some(Said::List(vec![Said::Number(1)])))];
    let (edited, _) = done(FILE, Place::Target(Some("a".to_owned())), Act::Put(alias));
    let wanted = FILE.replacen("example:a\"\n", "example:a\"\nalias = \"A\"\nportal-groups = [1]\n", 1);
    assert_eq!(edited, wanted);
    let (edited, _) = done(&edited, Place::Target(Some("a".to_owned())), Act::Put(Vec::new()));
    assert_eq!(edited, FILE);
}

#[test]
fn a_table_goes_with_what_stands_above_it_and_nothing_else() {
    let (edited, _) = done(FILE, lun("a", 2), Act::Remove);
    let third = "\n# the third\n[[target.lun]]\nnumber = 2\nkind = \"ram\"\nsize = \"1MiB\"\n";
    assert_eq!(edited, FILE.replace(third, ""));
    let (edited, _) = done(FILE, lun("b", 0), Act::Remove);
    assert!(
        edited.contains("# another\n[[target]]\nname = \"iqn.2026-11.io.example:b\"\n")
            && edited.ends_with("# the end\n"),
        "{edited}"
    );
    // And comes back.
    let (edited, number) = done(&edited, lun("b", 7), Act::Add(vec![text("kind", "null")]));
    assert!(number == Some(7) && edited.contains(":b\"\n\n[[target.lun]]\nnumber = 7\nkind = \"null\"\n"), "{edited}");
    let (edited, _) = done(FILE, Place::Target(Some("a".to_owned())), Act::Remove);
    assert!(!edited.contains("a0.img") && !edited.contains("name = \"g\"") && edited.contains("example:b"), "{edited}");
}

#[test]
fn targets_groups_accounts_and_portals_come_and_go() {
    let new = Place::Target(Some("iqn.2026-11.io.example:c".to_owned()));
    let (with, _) = done(FILE, new.clone(), Act::Add(vec![text("alias", "new")]));
    let behind = "\n[[target]]\nname = \"iqn.2026-11.io.example:c\"\nalias = \"new\"\n# the end\n";
    assert_eq!(with, FILE.replace("# the end\n", behind));
    let (with, number) = done(&with, lun("c", None), Act::Add(vec![text("kind", "null")]));
    assert!(number == Some(0) && with.contains("alias = \"new\"\n\n[[target.lun]]\nnumber = 0\n"), "{with}");
    assert_eq!(done(&with, new, Act::Remove).0, FILE);

    let one = "[[portal]]\nlisten = '::1'\n\n[[target]]\nname = 'iqn.2026-11.io.example:a'\n";
    let name = || Place::Target(Some("iqn.2026-11.io.example:a".to_owned()));
    let (none, _) = done(one, name(), Act::Remove);
    assert_eq!(none, "target = []\n[[portal]]\nlisten = '::1'\n");
    assert_eq!(done(&none, name(), Act::Add(Vec::new())).0, one.replace('\'', "\"").replace("\"::1\"", "'::1'"));

    let named = |group: &str| Place::Group(Some("a".to_owned()), group.to_owned());
    let initiators = ("initiators".to_owned(), Some(Said::List(vec![Said::Text("iqn.x:*".to_owned())])));
    let (with, _) = done(FILE, named("h"), Act::Put(vec![initiators]));
    assert!(with.contains("name = \"g\"\n\n[[target.group]]\nname = \"h\"\ninitiators = [\"iqn.x:*\"]\n"), "{with}");
    assert_eq!(done(&with, named("h"), Act::Remove).0, FILE);
    assert_eq!(
        refused(FILE, named("h"), Act::Remove).to_string(),
        format!("group 'h' of {A} is not in the file: there is g")
    );

    let user = || Place::Account("db".to_owned());
    let (with, _) = done(FILE, user(), Act::Add(vec![text("secret-file", "db.secret")]));
    assert!(with.contains("[[account]]\nuser = \"db\"\nsecret-file = \"db.secret\"\n"), "{with}");
    assert_eq!(done(&with, user(), Act::Remove).0, FILE);

    let portal = |listen: &str| Place::Portal(listen.to_owned());
    let (with, _) = done(FILE, portal("[::1]:3261"), Act::Add(Vec::new()));
    assert!(
        with.contains("[[portal]]\nlisten = \"127.0.0.1:3260\"\n\n[[portal]]\nlisten = \"[::1]:3261\"\n"),
        "{with}"
    );
    let (with, _) = done(&with, portal("127.0.0.1"), Act::Remove);
    assert!(matches!(refused(&with, portal("[::1]:3261"), Act::Remove), EditError::LastPortal(_)), "{with}");
}

#[test]
fn what_cannot_be_done_is_said() {
    let none = || EditError::None(format!("LUN 5 of {A}"), Near::All(vec!["0".to_owned(), "2".to_owned()]));
    assert_eq!(refused(FILE, lun("a", 5), Act::Remove), none());
    assert!(none().is_not_found() && none().to_string().ends_with("is not in the file: there is 0, 2"), "{}", none());
    assert_eq!(refused(FILE, Place::Lun(None, Some(5)), Act::Remove), EditError::WhichTarget(2));
    assert_eq!(refused(FILE, lun("c", 5), Act::Remove), EditError::NoTarget("c".to_owned(), Near::Nothing));
    let near = refused(FILE, lun("iqn.2026-11.io.exmple:b", 5), Act::Remove).to_string();
    assert!(near.ends_with("did you mean 'iqn.2026-11.io.example:b'?"), "{near}");
    assert!(refused(FILE, lun("A", 2), Act::Add(Vec::new())).is_taken());
    let inline = "target = [{ name = 'x' }]";
    assert_eq!(refused(inline, Place::Lun(None, None), Act::Add(Vec::new())), EditError::Inline("target"));
    assert!(matches!(refused("a = ", lun("a", 0), Act::Remove), EditError::Broken(_)));
    // A table is no setting.
    let gone = Act::Set(vec![("lun".to_owned(), None)]);
    assert_eq!(done(FILE, Place::Target(Some("a".to_owned())), gone).0, FILE);
}

#[test]
fn secrets_are_not_shown_and_come_back() {
    let file = format!("[[account]]\nuser = \"db\"\nsecret = 'very secret'  # old\n\n{FILE}");
    let shown = concealed(&file).unwrap();
    assert!(!shown.contains("very") && shown.contains("user = \"db\""), "{shown}");
    let changed = shown.replace("1MiB", "2MiB");
    let back = revealed(&changed, &file).unwrap();
    assert!(back.contains("very secret") && back.contains("2MiB"), "{back}");
    let other = revealed(&changed.replace("\"db\"", "\"other\""), &file).unwrap();
    assert!(!other.contains("very secret"), "{other}");
    assert_eq!(revealed(FILE, "").unwrap(), FILE);
    let said = Said::Text("very secret".to_owned());
    assert_eq!(format!("{said:?}"), "a text");
}
