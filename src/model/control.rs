//! Who may use the control plane, and where it is found besides its unix socket.

use super::chap::Secret;
use std::net::SocketAddr;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// What `[control]` of a file asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Control {
    /// Whose members may use the unix socket: its name and number. `None`: nobody but the user that ringsan runs as.
    pub group: Option<(String, u32)>,
    /// Where HTTPS is listened on.
    pub listen: Vec<SocketAddr>,
    /// What it shows its clients; `None`: one that it makes itself.
    pub identity: Option<Arc<Identity>>,
    /// Who may come over TCP.
    pub tokens: Arc<[Token]>,
}

/// A certificate and its key, as PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, and those that vouch for it.
    pub chain: Vec<u8>,
    /// Its private key.
    pub key: Secret,
}

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// See.
    Read,
    /// See and change.
    Full,
}

impl Scope {
    /// The word for it in a file of tokens.
    pub fn word(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Full => "full",
        }
    }

    /// What a word means.
    pub fn named(word: &str) -> Option<Scope> {
        [Scope::Read, Scope::Full].into_iter().find(|scope| scope.word() == word)
    }
}

/// A token, of which only the SHA-256 is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is called in the log.
    pub name: Arc<str>,
    /// What its owner may do.
    pub scope: Scope,
    /// Its SHA-256.
    pub digest: [u8; 32],
}

impl Token {
    /// The one with this SHA-256. How long that takes tells nothing of those that there are.
    pub fn find<'t>(tokens: &'t [Token], digest: &[u8; 32]) -> Option<&'t Token> {
        // All are compared, whichever it is.
        tokens
            .iter()
            .fold(None, |found, token| if bool::from(token.digest.ct_eq(digest)) { Some(token) } else { found })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_by_all_of_its_digest() {
        let token = |name: &str, byte| Token { name: name.into(), scope: Scope::Read, digest: [byte; 32] };
        let tokens = [token("a", 1), token("b", 2)];
        assert_eq!(Token::find(&tokens, &[2; 32]).map(|token| &*token.name), Some("b"));
        let mut near = [2; 32];
        near[31] = 3;
        assert_eq!(Token::find(&tokens, &near), None);
        assert_eq!(Token::find(&[], &[0; 32]), None);
    }
}
