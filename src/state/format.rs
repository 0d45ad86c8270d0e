//! The format of a unit's file: TOML between a first line that names the format and a last one with the CRC32C of all
//! before it. People may read it; only ringsan writes it.

use super::owner::{Identity, Name, Owner, Record};
use crate::limits::{self, MAX_STATE_BYTES};
use crate::model::{InitiatorPort, IscsiName, ItNexus};
use crate::scsi::reservation::{Held, Registration, ReservationType, Reservations};
use crate::scsi::{Erasure, IdentifyingInformation, Lost, Modes, Saved};
use crate::wire::Isid;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The format that is written.
pub(super) const VERSION: u32 = 3;
/// Those before are read, too. The last had no lost writes; the first neither stores nor erasures, and a registration was that
/// of an initiator port, at whatever target port.
const OLDEST: u32 = 1;

const TITLE: &str = "# ringsan: saved state of a logical unit, format ";
const HINT: &str = "# Do not change it: the last line has the checksum of all before it.\n";
const CHECKSUM: &str = "# crc32c ";
/// The checksum's digits and the line break.
const CHECKSUM_BYTES: usize = 9;

/// What is wrong with the bytes of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    Damaged(String),
    Version(String),
    Foreign(String),
}

fn damaged(why: impl Into<String>) -> Flaw {
    Flaw::Damaged(why.into())
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Document {
    /// NAA designator.
    unit: String,
    target: String,
    serial: String,
    modes: ModesTable,
    /// The store that the designator belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<StoreTable>,
    /// There while an erasure is not complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    unfinished: Option<UnfinishedTable>,
    /// There while somebody has to hear that writes may be lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    lost_writes: Option<LostTable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identifying_information: Option<IdentifyingTable>,
    /// There when APTPL is in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    persistent_reservations: Option<ReservationsTable>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ModesTable {
    d_sense: bool,
    swp: bool,
    write_through: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct StoreTable {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mark: Option<String>,
    machine: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct UnfinishedTable {
    command: UnfinishedCommand,
    /// AUSE of SANITIZE.
    unrestricted: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum UnfinishedCommand {
    FormatUnit,
    Sanitize,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct LostTable {
    /// All but those that follow.
    others_have_heard: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    port: Vec<HearerTable>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct HearerTable {
    initiator: String,
    isid: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proof: Option<String>,
    has_heard: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct IdentifyingTable {
    /// Hexadecimal digits.
    binary: String,
    text: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ReservationsTable {
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<HeldTable>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    registration: Vec<RegistrationTable>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct HeldTable {
    r#type: u8,
    initiator: String,
    isid: String,
    /// Not there in the format before.
    target_port: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proof: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RegistrationTable {
    initiator: String,
    isid: String,
    target_port: u16,
    all_target_ports: bool,
    key: String,
    /// What the initiator port has proved; not there: nothing, or it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proof: Option<String>,
}

/// The text of a file.
pub(super) fn encode(saved: &Saved, identity: &Identity) -> String {
    let Modes { descriptor_sense, swp, write_through } = saved.modes;
    let information = Some(&saved.identifying).filter(|information| **information != Default::default());
    let document = Document {
        unit: identity.naa.clone(),
        target: identity.target.clone(),
        serial: identity.serial.clone(),
        modes: ModesTable { d_sense: descriptor_sense, swp, write_through },
        store: identity.owner.as_ref().map(|owner| StoreTable {
            path: owner.path.clone(),
            mark: owner.mark.clone(),
            machine: owner.machine.clone(),
        }),
        unfinished: saved.unfinished.map(|erasure| match erasure {
            Erasure::Format => UnfinishedTable { command: UnfinishedCommand::FormatUnit, unrestricted: false },
            Erasure::Sanitize { unrestricted } => {
                UnfinishedTable { command: UnfinishedCommand::Sanitize, unrestricted }
            }
        }),
        lost_writes: saved.lost.as_ref().map(lost_table),
        identifying_information: information
            .map(|information| IdentifyingTable { binary: hex(&information.binary), text: information.text.clone() }),
        persistent_reservations: saved.reservations.as_ref().map(reservations_table),
    };
    // Strings, numbers and flags below struct names: there is nothing that TOML could not say.
    let body = toml::to_string(&document).unwrap_or_default();
    let mut text = format!("{TITLE}{VERSION}\n{HINT}\n{body}\n");
    let checksum = crc32c::crc32c(text.as_bytes());
    text.push_str(&format!("{CHECKSUM}{checksum:08x}\n"));
    text
}

fn lost_table(lost: &Lost) -> LostTable {
    let hearer = |(port, has_heard): &(InitiatorPort, bool)| HearerTable {
        initiator: port.name.to_string(),
        isid: hex(&port.isid.0),
        proof: port.proof.as_deref().map(str::to_owned),
        has_heard: *has_heard,
    };
    LostTable { others_have_heard: lost.others, port: lost.ports.iter().map(hearer).collect() }
}

fn reservations_table(reservations: &Reservations) -> ReservationsTable {
    let registration = |each: &Registration| RegistrationTable {
        initiator: each.nexus.initiator.name.to_string(),
        isid: hex(&each.nexus.initiator.isid.0),
        target_port: each.nexus.target_port,
        all_target_ports: each.all_target_ports,
        key: hex(&each.key.to_be_bytes()),
        proof: each.nexus.initiator.proof.as_deref().map(str::to_owned),
    };
    ReservationsTable {
        held: reservations.held.as_ref().map(|held| HeldTable {
            r#type: held.kind as u8,
            initiator: held.holder.initiator.name.to_string(),
            isid: hex(&held.holder.initiator.isid.0),
            target_port: Some(held.holder.target_port),
            proof: held.holder.initiator.proof.as_deref().map(str::to_owned),
        }),
        registration: reservations.registrations.iter().map(registration).collect(),
    }
}

/// Reads the bytes of a file, up to what they mean, and their format.
fn document(bytes: &[u8]) -> Result<(Document, u32), Flaw> {
    if bytes.len() as u64 > MAX_STATE_BYTES {
        return Err(damaged("it is too long"));
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return Err(damaged("it is no text")) };
    let Some((version, _)) = text.strip_prefix(TITLE).and_then(|rest| rest.split_once('\n')) else {
        return Err(damaged("it does not begin as such a file does"));
    };
    // Before the checksum, which a later format may have elsewhere. A flipped bit in here is told by its own words.
    let Some(format) = (OLDEST..=VERSION).find(|known| version == known.to_string()) else {
        return Err(Flaw::Version(version.escape_default().to_string()));
    };
    let body = check_sum(text).ok_or_else(|| damaged("its checksum is wrong or missing"))?;
    let document = toml::from_str(body).map_err(|error| damaged(error.message().replace('\n', ", ")))?;
    Ok((document, format))
}

/// Whose the bytes of a file are.
pub(super) fn record(bytes: &[u8]) -> Result<Record, Flaw> {
    let (Document { unit, serial, store, .. }, _) = document(bytes)?;
    let naa = naa_of(&unit).ok_or_else(|| damaged(format!("'{}' is no designator", unit.escape_debug())))?;
    let owner = store.map(|StoreTable { path, mark, machine }| Owner { path, mark, machine });
    Ok(Record { name: Name { naa, serial }, owner })
}

/// The designator that 32 digits are.
pub(super) fn naa_of(digits: &str) -> Option<[u8; 16]> {
    unhex(digits)?.try_into().ok()
}

/// Reads the bytes of a file of the unit that `identity` says.
pub(super) fn decode(bytes: &[u8], identity: &Identity) -> Result<Saved, Flaw> {
    let (document, format) = document(bytes)?;
    let of_all_ports = format == OLDEST;
    if document.unit != identity.naa {
        return Err(Flaw::Foreign(format!("serial number {}, target {}", document.serial, document.target)));
    }
    let information = document.identifying_information.map(information).transpose()?.unwrap_or_default();
    let ModesTable { d_sense, swp, write_through } = document.modes;
    Ok(Saved {
        reservations: { document.persistent_reservations }
            .map(|table| reservations(table, of_all_ports))
            .transpose()?,
        modes: Modes { descriptor_sense: d_sense, swp, write_through },
        identifying: information,
        unfinished: document.unfinished.map(|UnfinishedTable { command, unrestricted }| match command {
            UnfinishedCommand::FormatUnit => Erasure::Format,
            UnfinishedCommand::Sanitize => Erasure::Sanitize { unrestricted },
        }),
        lost: document.lost_writes.map(lost).transpose()?,
    })
}

/// What the checksum at the end is of, if it is right.
fn check_sum(text: &str) -> Option<&str> {
    let at = text.len().checked_sub(CHECKSUM.len() + CHECKSUM_BYTES)?;
    let (body, last) = text.split_at_checked(at)?;
    (last == format!("{CHECKSUM}{:08x}\n", crc32c::crc32c(body.as_bytes()))).then_some(body)
}

fn information(table: IdentifyingTable) -> Result<IdentifyingInformation, Flaw> {
    let binary = unhex(&table.binary).ok_or_else(|| damaged("identifying information is wrong"))?;
    let (most, most_text) = (limits::IDENTIFYING_INFORMATION_BYTES, limits::IDENTIFYING_TEXT_BYTES);
    if binary.len() > most || table.text.len() > most_text {
        return Err(damaged("identifying information is too long"));
    }
    Ok(IdentifyingInformation { binary, text: table.text })
}

fn lost(table: LostTable) -> Result<Lost, Flaw> {
    if table.port.len() > limits::LOST_PORTS {
        return Err(damaged("there are too many ports that have to hear of lost writes"));
    }
    let port =
        |each: HearerTable| Ok((initiator_port(&each.initiator, &each.isid, each.proof.as_deref())?, each.has_heard));
    let ports = table.port.into_iter().map(port).collect::<Result<_, _>>()?;
    Ok(Lost { ports, others: table.others_have_heard })
}

/// `of_all_ports`: each registration is good at all target ports, as it was when it was saved.
fn reservations(table: ReservationsTable, of_all_ports: bool) -> Result<Reservations, Flaw> {
    let mut registrations: Vec<Registration> = Vec::new();
    for each in table.registration {
        let initiator = initiator_port(&each.initiator, &each.isid, each.proof.as_deref())?;
        let key = unhex(&each.key).and_then(|key| Some(u64::from_be_bytes(key.try_into().ok()?)));
        let key = key.filter(|key| *key != 0).ok_or_else(|| damaged(format!("the key '{}' is wrong", each.key)))?;
        if each.target_port == 0 {
            return Err(damaged(format!("there is no target port {}", each.target_port)));
        }
        let nexus = ItNexus { initiator, target_port: each.target_port };
        if registrations.iter().any(|other| other.nexus == nexus) {
            return Err(damaged(format!("{} is registered twice", nexus.initiator.name)));
        }
        registrations.push(Registration::new(nexus, key, each.all_target_ports || of_all_ports));
    }
    if registrations.len() > limits::REGISTRATIONS {
        return Err(damaged("there are too many registrations"));
    }
    let held = |held: HeldTable| {
        let kind = ReservationType::from_code(held.r#type)
            .ok_or_else(|| damaged(format!("there is no reservation of type {}", held.r#type)))?;
        let initiator = initiator_port(&held.initiator, &held.isid, held.proof.as_deref())?;
        let registered = registrations.iter().find(|each| each.nexus.initiator == initiator);
        let target_port = held.target_port.or(registered.map(|each| each.nexus.target_port)).unwrap_or(1);
        Ok(Held { kind, holder: ItNexus { initiator, target_port } })
    };
    let held = table.held.map(held).transpose()?;
    Ok(Reservations::persistent(registrations, held))
}

fn initiator_port(name: &str, isid: &str, proof: Option<&str>) -> Result<InitiatorPort, Flaw> {
    let wrong =
        || damaged(format!("'{}' with ISID '{}' is no initiator port", name.escape_debug(), isid.escape_debug()));
    let isid = unhex(isid).and_then(|isid| Some(Isid(isid.try_into().ok()?)));
    let port = InitiatorPort::new(IscsiName::recorded(name).map_err(|_| wrong())?, isid.ok_or_else(wrong)?);
    Ok(InitiatorPort { proof: proof.map(Arc::from), ..port })
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|value| value as u8);
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    rest.is_empty().then_some(())?;
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}
