use super::*;
use proptest::prelude::*;

fn name(text: &str) -> String {
    IscsiName::new(text).unwrap_or_else(|e| panic!("{text}: {e}")).as_str().to_owned()
}

fn error(text: &str) -> NameError {
    match IscsiName::new(text) {
        Ok(name) => panic!("{text} was taken as {name}"),
        Err(error) => error,
    }
}

//= RFC 7143 section 4.2.7.2
//# An iSCSI name MUST be a UTF-8 (see [RFC3629]) encoding of a string of
//# Unicode characters with the following properties:
#[test]
fn takes_the_names_of_the_rfc() {
    for text in [
        "iqn.2001-04.com.example:storage:diskarrays-sn-a8675309",
        "iqn.2001-04.com.example",
        "iqn.2001-04.com.example:storage.tape1.sys1.xyz",
        "iqn.2001-04.com.example:storage.disk2.sys1.xyz",
    ] {
        assert_eq!(name(text), text);
    }
    assert_eq!(name("eui.02004567A425678D"), "eui.02004567a425678d");
    assert_eq!(name("naa.52004567BA64678D"), "naa.52004567ba64678d");
    assert_eq!(name("naa.62004567BA64678D0123456789ABCDEF"), "naa.62004567ba64678d0123456789abcdef");
}

#[test]
fn takes_the_names_of_common_initiators() {
    for text in [
        "iqn.1993-08.org.debian:01:d3c5c1c5bb9f",
        "iqn.1994-05.com.redhat:ab.c1",
        "iqn.1991-05.com.microsoft:desktop-0",
        "iqn.1998-01.com.vmware:esx01-4f1b2c3d",
        "iqn.2008-11.org.linux-kvm",
        "iqn.2008-11.org.linux-kvm:guest",
        "iqn.2007-10.com.github:sahlberg:libiscsi:iscsi-test",
        "iqn.2005-03.org.open-iscsi:",
    ] {
        assert_eq!(name(text), text);
    }
}

//= RFC 7143 section 4.2.7.1
//# The iSCSI stringprep profile [RFC3722] maps uppercase characters to
//# lowercase and SHOULD be used to prepare iSCSI names from input
//# that may include uppercase characters.
#[test]
fn maps_upper_case() {
    assert_eq!(name("IQN.2001-04.COM.Example:Disk"), "iqn.2001-04.com.example:disk");
    assert_eq!(name("iqn.2001-04.com.example:ÄÖ"), "iqn.2001-04.com.example:äö");
    assert_eq!(name("iqn.2001-04.com.example:straße"), "iqn.2001-04.com.example:strasse");
}

#[test]
fn brings_text_to_form_kc() {
    assert_eq!(name("iqn.2001-04.com.example:a\u{308}"), "iqn.2001-04.com.example:ä");
    assert_eq!(name("ｉｑｎ.2001-04.com.example:ｄｉｓｋ"), "iqn.2001-04.com.example:disk");
    assert_eq!(name("iqn.2001-04.com.example:a\u{ad}b"), "iqn.2001-04.com.example:ab", "soft hyphens map to nothing");
}

#[test]
fn refuses_the_characters_of_rfc_3722() {
    for c in [' ', '_', '/', ',', ';', '@', '[', '`', '{', '\0', '\u{7f}', '\u{80}', '\u{a0}', '\u{3000}', '\u{3002}'] {
        assert_eq!(error(&format!("iqn.2001-04.com.example:a{c}b")), NameError::Character, "{c:?}");
    }
    // Form KC makes a '/' of U+FF0F and "a/c" of U+2100: what counts is the output.
    for c in ['\u{ff0f}', '\u{2100}', '\u{e000}', '\u{fffd}', '\u{202e}', '\u{e0041}'] {
        assert_eq!(error(&format!("iqn.2001-04.com.example:a{c}b")), NameError::Character, "{c:?}");
    }
    // Unknown to Unicode 3.2: Georgian capitals, a modifier that newer tables map to 'j', an emoji.
    for c in ['\u{1c90}', '\u{2c7c}', '\u{1f600}'] {
        assert_eq!(error(&format!("iqn.2001-04.com.example:a{c}b")), NameError::Character, "{c:?}");
    }
    assert_eq!(error("iqn.2001-04.com.example:\u{5d0}"), NameError::Character, "left-to-right and Hebrew in one name");
}

//= RFC 7143 section 4.2.7.4
//# All four digits in the year must be present.  Both digits of the
//# month must be present, with January == "01" and December ==
//# "12".  The dash must be included.
#[test]
fn refuses_iqns_without_date_or_domain() {
    for text in [
        "iqn.",
        "iqn.2001",
        "iqn.2001-04",
        "iqn.2001-04.",
        "iqn.2001-4.com.example",
        "iqn.01-04.com.example",
        "iqn.2001.04.com.example",
        "iqn.2001-00.com.example",
        "iqn.2001-13.com.example",
        "iqn.2001-04.:disk",
        "iqn.2001-04..example",
        "iqn.2001-04.com.:disk",
        "iqn.com.example:disk",
        "iqn.２００1-04",
    ] {
        assert_eq!(error(text), NameError::Iqn, "{text}");
    }
}

#[test]
fn refuses_wrong_types_and_digits() {
    for text in ["iqn", "disk", "iqn:2001-04.com.example", "t10.abc", "-", "."] {
        assert_eq!(error(text), NameError::Type, "{text}");
    }
    for text in
        ["eui.", "eui.02004567a425678", "eui.02004567a425678d0", "eui.02004567a425678g", "naa.52004567", "eui.é"]
    {
        assert_eq!(error(text), NameError::Digits, "{text}");
    }
    assert_eq!(error("eui.62004567ba64678d0123456789abcdef"), NameError::Digits);
}

//= RFC 7143 section 4.2.7.1
//# Initiators and targets MUST support the receipt of iSCSI names of up
//# to the maximum length of 223 bytes.
#[test]
fn takes_223_bytes_and_no_more() {
    let prefix = "iqn.2001-04.com.example:";
    let longest = format!("{prefix}{}", "x".repeat(MAX_NAME_BYTES - prefix.len()));
    assert_eq!(name(&longest).len(), 223);
    assert_eq!(error(&format!("{longest}x")), NameError::Length);
    assert_eq!(error(""), NameError::Length);
    let full_width = format!("{prefix}{}", "ｘ".repeat(MAX_NAME_BYTES - prefix.len()));
    assert_eq!(name(&full_width), longest, "the limit is on the prepared name");
    assert_eq!(error(&"x".repeat(1 << 20)), NameError::Length);
}

#[test]
fn what_the_field_takes_is_taken_leniently() {
    for (text, name) in [
        ("iqn.1991-05.com.Microsoft:host_1", "iqn.1991-05.com.microsoft:host_1"),
        ("iqn.example:host", "iqn.example:host"),
        ("eui.host", "eui.host"),
        ("iqn.1991-05.com.example:Bücher_1", "iqn.1991-05.com.example:bücher_1"),
        ("iqn.2026-11.com.example:Host", "iqn.2026-11.com.example:host"),
    ] {
        assert_eq!(IscsiName::lenient(text).map(|name| name.to_string()), Ok(name.to_owned()));
    }
    let long = format!("iqn.{}_", "a".repeat(MAX_NAME_BYTES));
    for (text, fault) in [
        ("", NameError::Length),
        (&*long, NameError::Length),
        ("host_1", NameError::Type),
        ("iqn.", NameError::Type),
        ("iqn.a b", NameError::Character),
        ("iqn.a,i,0x00023d000001", NameError::Character),
        ("iqn.a\n", NameError::Character),
        ("iqn.*", NameError::Character),
        // What it is written with goes from right to left, is not seen, or is not known: bidirectional override and isolate,
        // zero-width space and joiner, a variation selector, a tag, private use, an emoji.
        ("iqn.host_\u{202e}1", NameError::Character),
        ("iqn.host_\u{2066}1", NameError::Character),
        ("iqn.host_\u{200b}1", NameError::Character),
        ("iqn.host_\u{200d}1", NameError::Character),
        ("iqn.host_\u{fe0f}1", NameError::Character),
        ("iqn.host_\u{e0041}1", NameError::Character),
        ("iqn.host_\u{e000}1", NameError::Character),
        ("iqn.host_\u{1f600}1", NameError::Character),
    ] {
        assert_eq!(IscsiName::lenient(text), Err(fault), "{text:?}");
    }
}

/// Unknown to Unicode 3.2, and in lower case something that is prepared to another name, or to one that is too long.
#[test]
fn what_is_no_fixed_point_is_not_taken_leniently() {
    for rest in ["\u{1e9e}", &*format!("\u{1e9e}{}", "\u{3300}".repeat(60))] {
        let text = format!("iqn.2001-04.com.example:{rest}");
        check_lenient(&text).unwrap();
        assert_eq!(IscsiName::lenient(&text), Err(NameError::Character));
    }
}

proptest! {
    #[test]
    fn what_is_taken_leniently_is_read_again_as_it_is(text in "(iqn|eui|naa|IQN)[.](2001-04[.]com[.]example:)?(\\PC|[_ßẞİΣς㌀ﬃＡ\u{2126}\u{345}]){0,70}") {
        check_lenient(&text)?;
    }

    #[test]
    fn any_text_is_refused_or_a_fixed_point(text in "\\PC{0,80}") {
        check_fixed_point(&text)?;
    }

    #[test]
    fn anything_after_the_colon_is_refused_or_a_fixed_point(text in any::<String>()) {
        check_fixed_point(&format!("iqn.2001-04.com.example:{text}"))?;
    }

    #[test]
    fn allowed_ascii_is_taken_and_case_does_not_matter(text in "[a-z0-9:.-]{0,150}") {
        let text = format!("iqn.2001-04.com.example:{text}");
        let name = IscsiName::new(&text).unwrap();
        prop_assert_eq!(name.as_str(), &text);
        prop_assert_eq!(IscsiName::new(&text.to_uppercase()).unwrap(), name);
    }
}

/// What was accepted is within the limits, has no upper case, and prepares to itself.
fn check_fixed_point(text: &str) -> Result<(), TestCaseError> {
    let Ok(name) = IscsiName::new(text) else { return Ok(()) };
    prop_assert!(name.as_str().len() <= MAX_NAME_BYTES);
    prop_assert!(name.as_str().chars().all(|c| !c.is_whitespace() && !c.is_control() && !c.is_ascii_uppercase()));
    prop_assert_eq!(IscsiName::new(name.as_str()), Ok(name));
    Ok(())
}

/// What was accepted leniently is the same when it is said again, and in a record.
fn check_lenient(text: &str) -> Result<(), TestCaseError> {
    let Ok(name) = IscsiName::lenient(text) else { return Ok(()) };
    prop_assert_eq!(IscsiName::lenient(name.as_str()), Ok(name.clone()));
    prop_assert_eq!(IscsiName::recorded(name.as_str()), Ok(name));
    Ok(())
}
