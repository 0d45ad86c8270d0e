//! What is counted of the protocol by cause, as metrics: of all cores together, for it does not matter on which of them a login
//! was refused. While a core does not answer there is nothing of this, lest a sum seem to begin again.

use crate::fabric::report::{CoreReport, Counted, Protocol};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

/// What all cores have counted; `None`: not all of them have answered.
#[derive(Debug)]
pub(super) struct Causes(Option<Protocol>);

/// What it is called without `_total`, what its label is called, and what it means.
const fn named(counted: Counted) -> (&'static str, &'static str, &'static str) {
    match counted {
        Counted::LoginFailures => (
            "login_failures_by_cause",
            "cause",
            "Logins that were refused, by status (RFC 7143 section 11.13.5), or given up",
        ),
        Counted::Logouts => ("logouts", "reason", "Logouts that initiators have asked for"),
        Counted::LogoutResponses => ("logout_responses", "response", "Answers to those"),
        Counted::TaskManagement => {
            ("task_management", "function", "Task management functions that initiators have asked for")
        }
        Counted::TaskManagementResponses => ("task_management_responses", "response", "Answers to those"),
        Counted::Rejects => ("rejects", "reason", "PDUs that were rejected"),
        Counted::AsynchronousMessages => ("asynchronous_messages", "event", "Asynchronous Messages sent"),
        Counted::ConnectionsEnded => {
            ("connections_ended", "reason", "Connections in full feature phase that have ended")
        }
    }
}

impl Causes {
    pub(super) fn of(reports: &[Option<CoreReport>]) -> Causes {
        let sum = reports.iter().try_fold(Protocol::default(), |mut sum, report| {
            sum.add(&report.as_ref()?.protocol);
            Some(sum)
        });
        Causes(sum)
    }
}

impl Collector for Causes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(protocol) = &self.0 else { return Ok(()) };
        for counted in Counted::ALL {
            let (name, label, help) = named(counted);
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (cause, count) in protocol.of(counted) {
                let labels = [(label, cause.to_lowercase())];
                ConstCounter::new(count).encode(metric.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
