//! A text that is shown has no secrets in it; one that comes back has those of the file again.

use super::kinds::EditError;
use super::tables::{parsed, tables};
use toml_edit::{Item, Table, Value};

/// In the place of a secret.
const CONCEALED: &str = "********";

fn secret(account: &mut Table) -> Option<&mut Value> {
    account.get_mut("secret").and_then(Item::as_value_mut)
}

/// Puts a text in the place of a secret. What stands behind it stays.
fn say(secret: &mut Value, text: &str) {
    let decor = secret.decor().clone();
    *secret = Value::from(text);
    *secret.decor_mut() = decor;
}

/// The text of a file as it may be shown: without the secrets that are in it.
///
/// # Errors
/// It is not TOML, or writes its accounts otherwise.
pub fn concealed(text: &str) -> Result<String, EditError> {
    let mut document = parsed(text)?;
    for account in tables(document.as_table_mut(), "account")?.iter_mut() {
        if let Some(secret) = secret(account) {
            say(secret, CONCEALED);
        }
    }
    Ok(document.to_string())
}

/// A text that was shown by [`concealed`], and may have been changed since: each account has the secret again that
/// the account of its user has in the text `before`.
///
/// # Errors
/// One of the two is not TOML, or writes its accounts otherwise.
pub fn revealed(text: &str, before: &str) -> Result<String, EditError> {
    // Nothing is to be done, and nothing to be said of what is not valid: who reads it can say more.
    if !text.contains(CONCEALED) {
        return Ok(text.to_owned());
    }
    let (mut document, mut before) = (parsed(text)?, parsed(before)?);
    let known = tables(before.as_table_mut(), "account")?;
    for account in tables(document.as_table_mut(), "account")?.iter_mut() {
        let user = account.get("user").and_then(Item::as_str).map(ToOwned::to_owned);
        let Some(own) = secret(account).filter(|secret| secret.as_str() == Some(CONCEALED)) else { continue };
        let same = known.iter().find(|account| account.get("user").and_then(Item::as_str) == user.as_deref());
        if let Some(secret) = same.and_then(|account| account.get("secret")).and_then(Item::as_str) {
            say(own, secret);
        }
    }
    Ok(document.to_string())
}
