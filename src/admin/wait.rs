//! `--wait`: what a change has left waiting is waited for.

use crate::cli::Wait;
use ringsan::mgmt::client::{Client, ClientError};
use ringsan::mgmt::view::{Applied, Target};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often the server is asked.
const LOOK: Duration = Duration::from_millis(250);

impl Wait {
    /// What came of a change, when all of it is served, if that is wanted.
    ///
    /// # Errors
    /// Those of the client; [`ClientError::Late`] if it is not served in time.
    pub fn of(self, client: &Client, mut came: Applied) -> Result<Applied, ClientError> {
        let until = Instant::now() + Duration::from_secs(self.timeout);
        while self.wait && !came.waiting.is_empty() {
            served(&mut came, &client.get::<Vec<Target>>("/v1/targets")?);
            if came.waiting.is_empty() {
                break;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let what = came.waiting.join(", ");
                return Err(ClientError::Late { what, seconds: self.timeout });
            }
            sleep(left.min(LOOK));
        }
        Ok(came)
    }
}

/// Notes what is served meanwhile: a logical unit that waits is not among those of its target.
fn served(came: &mut Applied, targets: &[Target]) {
    let there = |what: &String| {
        let luns = targets.iter().flat_map(|target| target.luns.iter().map(move |lun| (lun, target)));
        luns.into_iter().any(|(lun, target)| *what == format!("LUN {} of {}", lun.lun, target.name))
    };
    let (done, waiting): (Vec<_>, Vec<_>) = came.waiting.drain(..).partition(there);
    came.waiting = waiting;
    came.done.extend(done.into_iter().map(|what| format!("{what} added")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_served_meanwhile_waits_no_more() {
        let lun = serde_json::json!({
            "lun": 3, "kind": "ram", "size_bytes": 512, "block_bytes": 512, "readonly": false, "thin": false,
            "serial": "", "naa": "", "hung": 0
        });
        let target = serde_json::json!([{
            "name": "iqn.2026-11.io.ringsan:a", "portal_groups": [], "groups_only": false, "users": [], "luns": [lun],
            "groups": []
        }]);
        let targets: Vec<Target> = serde_json::from_value(target).unwrap();
        let waiting = [
            "LUN 3 of iqn.2026-11.io.ringsan:a",
            "LUN 3 of iqn.2026-11.io.ringsan:b",
            "LUN 33 of iqn.2026-11.io.ringsan:a",
        ];
        let mut came = Applied { waiting: waiting.map(str::to_owned).into(), ..Applied::default() };
        served(&mut came, &targets);
        assert_eq!(came.waiting, waiting[1..]);
        assert_eq!(came.done, ["LUN 3 of iqn.2026-11.io.ringsan:a added"]);
    }
}
