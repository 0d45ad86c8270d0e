//! Text of a login as others may see it: what proves who somebody is is written over.
//!
//! A text may come in several PDUs, cut anywhere (RFC 7143 section 6.2): what may be the rest of a value that is not to be
//! seen is written over, too, and so is a key that is cut, since nobody can tell what it will be.

/// What stands for what is not to be seen.
const MASK: u8 = b'x';

/// Whether the value of a key may be seen. Of authentication, that is what says which kind it is, and who it is.
fn may_be_seen(key: &[u8]) -> bool {
    let of_authentication: [&[u8]; 4] = [b"CHAP_", b"SRP_", b"KRB_", b"SPKM_"];
    let is_known: [&[u8]; 2] = [b"CHAP_A", b"CHAP_N"];
    is_known.contains(&key) || !of_authentication.iter().any(|kind| key.starts_with(kind))
}

/// Writes over what is not to be seen of a text. `goes_on`: it is the rest of one that was begun in another PDU.
/// `is_cut`: it goes on in another one.
pub fn mask(text: &mut [u8], goes_on: bool, is_cut: bool) {
    let mut first = true;
    let ends_whole = text.last() == Some(&0);
    let mut pairs = text.split_mut(|&byte| byte == 0).peekable();
    while let Some(pair) = pairs.next() {
        let is_rest = std::mem::take(&mut first) && goes_on;
        let is_begun = pairs.peek().is_none() && is_cut && !ends_whole;
        let value = match pair.iter().position(|&byte| byte == b'=') {
            _ if is_rest => 0,
            Some(at) if may_be_seen(&pair[..at]) => pair.len(),
            Some(at) => at + 1,
            None if is_begun => 0,
            None => pair.len(),
        };
        pair[value..].fill(MASK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &[u8], goes_on: bool, is_cut: bool) -> String {
        let mut text = text.to_vec();
        mask(&mut text, goes_on, is_cut);
        String::from_utf8(text).unwrap().replace('\0', " ")
    }

    #[test]
    fn what_proves_who_somebody_is_is_not_seen() {
        let text = b"CHAP_A=5\0CHAP_I=17\0CHAP_C=0x1234\0CHAP_N=user\0CHAP_R=0xabcd\0InitiatorName=iqn.a\0";
        let seen = "CHAP_A=5 CHAP_I=xx CHAP_C=xxxxxx CHAP_N=user CHAP_R=xxxxxx InitiatorName=iqn.a ";
        assert_eq!(masked(text, false, false), seen);
        // Without the null that ends it.
        assert_eq!(masked(b"CHAP_R=0xabcd", false, false), "CHAP_R=xxxxxx");
        assert_eq!(masked(b"", true, true), "");
    }

    #[test]
    fn a_text_that_is_cut_anywhere_shows_no_more_than_the_whole() {
        let text = b"CHAP_N=user\0CHAP_R=0xabcd\0HeaderDigest=None\0";
        let whole = masked(text, false, false);
        for at in 0..=text.len() {
            let (head, tail) = text.split_at(at);
            let both = masked(head, false, true) + &masked(tail, true, false);
            for (seen, may) in both.bytes().zip(whole.bytes()) {
                assert!(seen == MASK || seen == may, "cut at {at}: {both}");
            }
            assert!(both.bytes().filter(|&byte| byte != MASK).count() > text.len() / 4, "cut at {at}: {both}");
        }
        assert_eq!(masked(b"HeaderDigest=None\0CHAP_", false, true), "HeaderDigest=None xxxxx");
        assert_eq!(masked(b"R=0xabcd\0DataDigest=None\0", true, false), "xxxxxxxx DataDigest=None ");
    }
}
