//! The file of tokens: a line each, `NAME full|read TOKEN` or `NAME full|read sha256:HEX`. What stands behind `#` at the
//! beginning of a line, and empty lines, mean nothing.
//!
//! Invariant: no token is in a fault.

use crate::limits::{CONTROL_TOKENS, TOKEN_LEAST, TOKEN_MOST, TOKEN_NAME_BYTES};
use crate::model::control::{Scope, Token};
use sha2::{Digest, Sha256};

/// What a digest begins with.
const DIGEST: &str = "sha256:";

/// The tokens of a text. The error: the lines that are wrong, and what is.
pub(super) fn read(text: &str) -> Result<Vec<Token>, Vec<(usize, String)>> {
    let (mut tokens, mut wrong) = (Vec::<Token>::new(), Vec::new());
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let read = token(line).and_then(|token| match () {
            () if tokens.iter().any(|other| other.name == token.name) => {
                Err(format!("'{}' is the name of two tokens", token.name.escape_debug()))
            }
            () if tokens.iter().any(|other| other.digest == token.digest) => {
                Err("another line has this token".to_owned())
            }
            () if tokens.len() == CONTROL_TOKENS => Err(format!("more than {CONTROL_TOKENS} tokens")),
            () => Ok(token),
        });
        match read {
            Ok(token) => tokens.push(token),
            Err(why) => wrong.push((number, why)),
        }
    }
    if wrong.is_empty() && tokens.is_empty() {
        wrong.push((1, "there is no token: `ringsan token new --name NAME` prints a line for this file".to_owned()));
    }
    if wrong.is_empty() { Ok(tokens) } else { Err(wrong) }
}

/// Whether this can be the text of such a file.
///
/// # Errors
/// What is wrong with its first line that is.
pub fn check_tokens(text: &str) -> Result<(), String> {
    match read(text) {
        Ok(_) => Ok(()),
        Err(wrong) => Err(wrong.into_iter().next().map(|(_, why)| why).unwrap_or_default()),
    }
}

fn token(line: &str) -> Result<Token, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [name, scope, secret] = words.as_slice() else {
        return Err("is not NAME full|read TOKEN, with blanks between".to_owned());
    };
    let scope = Scope::named(scope).ok_or("is neither full nor read behind the name")?;
    if name.len() > TOKEN_NAME_BYTES || name.chars().any(char::is_control) {
        return Err(format!("a name has at most {TOKEN_NAME_BYTES} bytes of printable text"));
    }
    let digest = match secret.strip_prefix(DIGEST) {
        Some(hex) => digest(hex).ok_or("has no 64 hexadecimal digits behind sha256:")?,
        None if is_token(secret) => Sha256::digest(secret).into(),
        None => {
            return Err(format!(
                "a token has {TOKEN_LEAST} to {TOKEN_MOST} of A-Z a-z 0-9 - . _ ~ + /, and = at its end"
            ));
        }
    };
    Ok(Token { name: (*name).into(), scope, digest })
}

/// Whether it can be sent as one (RFC 6750 section 2.1), and is long enough to be none that can be guessed.
fn is_token(text: &str) -> bool {
    let is_one = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    (TOKEN_LEAST..=TOKEN_MOST).contains(&text.len()) && text.trim_end_matches('=').bytes().all(is_one)
}

fn digest(hex: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if hex.len() != 2 * digest.len() || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_is_a_token_in_either_form() {
        let secret = "abcdefghijklmnop";
        let hex: String = Sha256::digest(secret).iter().map(|byte| format!("{byte:02x}")).collect();
        let plain = read(&format!("# who\n\n ops\tfull  {secret}\r\n")).unwrap();
        assert_eq!(plain, read(&format!("ops full sha256:{}", hex.to_uppercase())).unwrap());
        assert_eq!((&*plain[0].name, plain[0].scope), ("ops", Scope::Full));
        assert_eq!(read(&format!("a read {secret}==")).unwrap()[0].scope, Scope::Read);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_without_the_token() {
        let good = "SECRETSECRETSECRET";
        for (text, line, said) in [
            (format!("a full {good}\na read OTHERSECRETOTHERSECRET"), 2, "name of two"),
            (format!("a full {good}\n#\nb read {good}"), 3, "another line has this token"),
            (format!("a some {good}"), 1, "neither full nor read"),
            (format!("a {good}"), 1, "NAME full|read TOKEN"),
            (format!("a full {good} more"), 1, "NAME full|read TOKEN"),
            ("a full SECRETSHORT".to_owned(), 1, "16 to 256"),
            (format!("a full {good}!"), 1, "16 to 256"),
            ("a full sha256:SECRET".to_owned(), 1, "64 hexadecimal"),
            (format!("{} full {good}", "n".repeat(65)), 1, "64 bytes"),
            (String::new(), 1, "there is no token"),
        ] {
            let wrong = read(&text).unwrap_err();
            assert!(wrong[0].0 == line && wrong[0].1.contains(said), "{text}: {wrong:?}");
            assert!(!format!("{wrong:?}").contains("SECRET"), "{wrong:?}");
        }
        let many: String = (0..=CONTROL_TOKENS).map(|n| format!("n{n} read {n:016}\n")).collect();
        assert_eq!(read(&many).unwrap_err(), [(CONTROL_TOKENS + 1, "more than 256 tokens".to_owned())]);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,200}") {
            if let Err(wrong) = read(&text) {
                prop_assert!(!wrong.is_empty());
            }
        }
    }
}
