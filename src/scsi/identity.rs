//! What a logical unit is called: its NAA designator and its default serial number, both derived so that they are the same
//! after every restart and on every path.

/// The company identifier in our NAA designators. The second-lowest bit of its first byte marks it as locally
/// administered (IEEE 802), so no vendor's identifiers can be the same.
const COMPANY_ID: [u8; 3] = [0x02, 0x52, 0x53];

/// T10 VENDOR IDENTIFICATION.
pub(super) const VENDOR: &[u8; 8] = b"RINGSAN ";

/// The NAA type 6 designator (SPC-4 clause 7.8.6.6.5) of a logical unit.
///
/// With a configured serial number it follows the target's name and that serial, so that the unit may move to another
/// LUN; without one it follows the target's name and the LUN.
pub fn naa(target_name: &str, lun: u16, serial: Option<&str>) -> [u8; 16] {
    naa_of(digest(target_name, lun, serial))
}

/// The NAA type 6 designator that has these bits, as far as there is room for them.
pub fn naa_of(bits: u128) -> [u8; 16] {
    let hash = bits.to_be_bytes();
    let mut naa = hash;
    let [first, second, third] = COMPANY_ID;
    naa[0] = 0x60 | first >> 4;
    naa[1] = first << 4 | second >> 4;
    naa[2] = second << 4 | third >> 4;
    naa[3] = third << 4 | hash[3] & 0x0f;
    naa
}

/// The unit serial number (VPD page 80h) of a logical unit that was configured without one: 16 hexadecimal digits.
pub fn default_serial(target_name: &str, lun: u16) -> String {
    let hash = digest(target_name, lun, None);
    format!("{:016x}", (hash ^ (hash >> 64)) as u64)
}

/// The unit serial number of a logical unit whose designator is not derived from its place: 16 hexadecimal digits.
pub fn serial_of(naa: &[u8; 16]) -> String {
    let bits = u128::from_be_bytes(*naa);
    format!("{:016x}", (bits ^ (bits >> 64)) as u64)
}

/// The digest of any text, in 128 bits: stable for ever, but no protection against malice.
pub fn digest_of(text: &str) -> u128 {
    digest(text, 0, None)
}

/// FNV-1a with 128 bits: stable for ever, unlike the hashes of the standard library. Not against malice: whoever names
/// targets may name two the same anyhow.
fn digest(target_name: &str, lun: u16, serial: Option<&str>) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let step = |hash: u128, byte: u8| (hash ^ u128::from(byte)).wrapping_mul(PRIME);
    let hash = target_name.bytes().chain([0]).fold(OFFSET, step);
    match serial {
        Some(serial) => serial.bytes().fold(step(hash, b's'), step),
        None => lun.to_be_bytes().into_iter().fold(step(hash, b'l'), step),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn designators_are_stable_and_distinct() {
        let name = "iqn.2026-01.org.example:disk";
        // These bytes are on hosts' disks and in their configurations: they must never change.
        assert_eq!(hex(&naa(name, 0, None)), "6025253f0af9b5f75da01330fefb709e");
        assert_ne!(naa(name, 0, None), naa(name, 1, None));
        assert_ne!(naa(name, 0, None), naa("iqn.2026-01.org.example:other", 0, None));
        assert_eq!(naa(name, 0, Some("a")), naa(name, 7, Some("a")));
        assert_ne!(naa(name, 0, Some("a")), naa(name, 0, Some("b")));
        assert_eq!(default_serial(name, 3).len(), 16);
        assert_ne!(default_serial(name, 3), default_serial(name, 4));
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
