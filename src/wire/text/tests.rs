use super::*;
use proptest::prelude::*;

fn pairs(text: &[u8]) -> Result<Vec<(&str, &str)>, TextError> {
    Pairs::new(text).collect()
}

#[test]
fn golden_text_both_ways() {
    let text = b"InitiatorName=iqn.1999-07.com.os:hostid.77\0HeaderDigest=CRC32C,None\0InitialR2T=No\0\
        MaxBurstLength=262144\0CHAP_C=0x00ff10\0TargetAlias=\0X#NodeArchitecture=a=b\0";
    let expected = [
        ("InitiatorName", "iqn.1999-07.com.os:hostid.77"),
        ("HeaderDigest", "CRC32C,None"),
        ("InitialR2T", "No"),
        ("MaxBurstLength", "262144"),
        ("CHAP_C", "0x00ff10"),
        ("TargetAlias", ""),
        ("X#NodeArchitecture", "a=b"),
    ];
    assert_eq!(pairs(text).unwrap(), expected);

    let mut out = Vec::new();
    let mut writer = TextWriter::new(&mut out);
    writer.pair("InitiatorName", "iqn.1999-07.com.os:hostid.77");
    writer.list("HeaderDigest", ["CRC32C", "None"]);
    writer.boolean("InitialR2T", false);
    writer.pair("MaxBurstLength", 262_144);
    writer.binary("CHAP_C", &[0, 0xff, 0x10]);
    writer.pair("TargetAlias", "");
    writer.pair("X#NodeArchitecture", "a=b");
    assert_eq!(out, text);
}

//= RFC 7143 section 6.1
//# Every key=value pair, including the last or only pair in a LTDS, MUST
//# be followed by one null (0x00) delimiter.
#[test]
fn pairs_end_with_a_null() {
    assert_eq!(pairs(b"A=1\0B=2"), Err(TextError::MissingTerminator));
    assert_eq!(pairs(b"A=1\0\0\0\0"), Ok(vec![("A", "1")]), "more of them at the end do no harm");
    assert_eq!(pairs(b""), Ok(vec![]));
    assert_eq!(pairs(b"A=1\0\0B=2\0"), Err(TextError::MissingEquals), "but they do in between");
}

//= RFC 7143 section 6.1
//# A standard-label MUST begin with a capital letter
//# and must not exceed 63 characters.
#[test]
fn keys_are_labels() {
    assert_eq!(pairs(b"=1\0"), Err(TextError::EmptyKey));
    assert_eq!(pairs(b"A\0"), Err(TextError::MissingEquals));
    assert_eq!(pairs(b"1A=1\0"), Err(TextError::BadKeyByte(b'1')));
    assert_eq!(pairs(b"A B=1\0"), Err(TextError::BadKeyByte(b' ')));
    assert_eq!(pairs(b"A\xff=1\0"), Err(TextError::BadKeyByte(0xff)));
    assert_eq!(pairs(b"A=\xff\0"), Err(TextError::ValueNotUtf8));
    assert_eq!(pairs(b"iSCSIProtocolLevel=2\0"), Ok(vec![("iSCSIProtocolLevel", "2")]));
    let longest = format!("{}=1\0", "K".repeat(MAX_KEY_LEN));
    assert!(pairs(longest.as_bytes()).is_ok());
    assert_eq!(pairs(format!("K{longest}").as_bytes()), Err(TextError::KeyTooLong(MAX_KEY_LEN + 1)));
}

#[test]
fn an_error_ends_the_walk() {
    assert_eq!(Pairs::new(b"=1\0A=1\0").count(), 1);
}

#[test]
fn numbers() {
    //= RFC 7143 section 6.1
    //# Decimal-constants MUST NOT be used for parameter values if the values
    //# can be equal to or greater than 2**64 (numerical) or for binary strings
    //# that can be longer than 64 bits.
    let number = |value| LoginValue(value).number();
    assert_eq!(number("0"), Ok(0));
    assert_eq!(number("18446744073709551615"), Ok(u64::MAX));
    assert_eq!(number("18446744073709551616"), Err(ValueError::OutOfRange));
    assert_eq!(number("0xfF"), Ok(255));
    assert_eq!(number("0X00000000000000000010"), Ok(16));
    assert_eq!(number("0x10000000000000000"), Err(ValueError::OutOfRange));
    for bad in ["", "0x", "-1", "+1", "010", "1 ", "0xg", "0b1", "\u{661}"] {
        assert_eq!(number(bad), Err(ValueError::NotNumber), "{bad:?}");
    }
    assert_eq!(LoginValue("512").number_in(512..=1024), Ok(512));
    assert_eq!(LoginValue("1025").number_in(512..=1024), Err(ValueError::OutOfRange));
}

//= RFC 7143 section 6.1
//# numerical-range: Two numerical-values separated by a tilde,
//# where the value to the right of the tilde must not be lower than
//# the value to the left.
#[test]
fn ranges() {
    assert_eq!(LoginValue("1~0x10").range(), Ok(1..=16));
    assert_eq!(LoginValue("5~5").range(), Ok(5..=5));
    assert_eq!(LoginValue("5~1").range(), Err(ValueError::NotRange));
    assert_eq!(LoginValue("5").range(), Err(ValueError::NotRange));
    assert_eq!(LoginValue("1~2~3").range(), Err(ValueError::NotNumber));
}

#[test]
fn booleans_and_lists() {
    assert_eq!(LoginValue("Yes").boolean(), Ok(true));
    assert_eq!(LoginValue("No").boolean(), Ok(false));
    assert_eq!(LoginValue("yes").boolean(), Err(ValueError::NotBoolean));
    assert!(LoginValue("CRC32C,None").list().eq(["CRC32C", "None"]));
    assert!(LoginValue("").list().eq([""]));
}

fn binary(value: &str) -> Result<Vec<u8>, ValueError> {
    let mut out = [0xee; 8];
    LoginValue(value).binary(&mut out).map(|len| out[..len].to_vec())
}

#[test]
fn hexadecimal_binary() {
    //= RFC 7143 section 6.1
    //# Decimal-constants MUST NOT be used for parameter values if the values
    //# can be equal to or greater than 2**64 (numerical) or for binary strings
    //# that can be longer than 64 bits.
    assert_eq!(binary("0x00Ff10"), Ok(vec![0, 0xff, 0x10]));
    assert_eq!(binary("0X123"), Ok(vec![1, 0x23]));
    assert_eq!(binary("0x0011223344556677"), Ok(vec![0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77]));
    assert_eq!(binary("0x001122334455667788"), Err(ValueError::TooLong(8)));
    for bad in ["", "0x", "12", "18446744073709551615", "0x0g", "x12"] {
        assert_eq!(binary(bad), Err(ValueError::NotBinary), "{bad:?}");
    }
}

/// The vectors of RFC 4648 section 10.
#[test]
fn base64_binary() {
    for (encoded, decoded) in [
        ("0bZg==", "f"),
        ("0bZm8=", "fo"),
        ("0BZm9v", "foo"),
        ("0bZm9vYg==", "foob"),
        ("0bZm9vYmE=", "fooba"),
        ("0bZm9vYmFy", "foobar"),
        ("0b+/+/", "\u{fbff}"),
    ] {
        let expected = if decoded == "\u{fbff}" { vec![0xfb, 0xff, 0xbf] } else { decoded.as_bytes().to_vec() };
        assert_eq!(binary(encoded), Ok(expected), "{encoded}");
    }
    for bad in ["0b", "0bZg", "0bZg=", "0bZh==", "0b====", "0bZ===", "0bZg==Zg==", "0bZm9-"] {
        assert_eq!(binary(bad), Err(ValueError::NotBinary), "{bad:?}");
    }
    assert_eq!(binary("0bZm9vYmFyZm9v"), Err(ValueError::TooLong(8)));
}

/// Bytes that are likely to make up a text.
fn any_text() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => b'A'..=b'Z', 1 => Just(b'='), 1 => Just(0u8), 1 => any::<u8>()];
    prop::collection::vec(byte, 0..200)
}

proptest! {
    #[test]
    fn any_bytes_fail_or_come_back(text in any_text()) {
        if let Ok(pairs) = pairs(&text) {
            let mut out = Vec::new();
            pairs.iter().for_each(|(key, value)| TextWriter::new(&mut out).pair(key, value));
            let padding = text.len() - out.len();
            out.extend(std::iter::repeat_n(0, padding));
            prop_assert_eq!(out, text);
        }
    }

    #[test]
    fn any_value_does_no_harm(value: String, prefix in 0usize..4) {
        let value = ["", "0x", "0b", "1~"][prefix].to_owned() + &value;
        let value = LoginValue(&value);
        let _ = (value.boolean(), value.number(), value.range(), value.list().count());
        let _ = value.binary(&mut [0; 16]);
    }

    #[test]
    fn binary_comes_back(bytes in prop::collection::vec(any::<u8>(), 1..40)) {
        let mut out = Vec::new();
        TextWriter::new(&mut out).binary("K", &bytes);
        let mut decoded = [0; 40];
        let (_, value) = Pairs::new(&out).next().unwrap().unwrap();
        let len = LoginValue(value).binary(&mut decoded).unwrap();
        prop_assert_eq!(&decoded[..len], &bytes);
    }

    #[test]
    fn numbers_come_back(number: u64) {
        prop_assert_eq!(LoginValue(&number.to_string()).number(), Ok(number));
        prop_assert_eq!(LoginValue(&format!("{number:#x}")).number(), Ok(number));
    }
}
