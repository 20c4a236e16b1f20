//! Sends the mails that have been decided, at least once each.
//!
//! [`NotifierStage`] reads `notifications.mails`, hands one mail at a time to a [`transport::Transport`] and commits the mail's
//! `MailHandled` together with its offset before the next one is begun.
//!
//! Promises:
//! - **none lost**: an offset is committed only once its mail is acknowledged by the server, refused for good or dead-lettered;
//! - **repeats ≤ kills**: between an acknowledgement and its commit there is never more than one mail, and while the process lives it
//!   remembers what was acknowledged and not committed;
//! - **a repeat can be told**: a mail has one `Message-ID`, one `Date` and one file name for ever;
//! - **a server that is away holds the queue back** with growing pauses, and the stage stays in its group and says so;
//! - **one mail never holds the others for long**: what the server refuses for good is recorded as REFUSED; what it puts off is deferred by
//!   itself while others go on, [`waiting::AHEAD_MAX`] of a partition at most, until it is sent or given up ([`settings::Settings::give_up_after_ms`]).

mod backoff;
mod courier;
pub mod error;
mod letter;
mod mail;
pub mod maildir;
pub mod metrics;
pub mod plan;
pub mod settings;
pub mod smtp;
mod stage;
pub mod templates;
mod text;
pub mod transport;
pub mod waiting;

use std::sync::Arc;

use tidemark_runtime::keyed::Parts;
use tidemark_runtime::run::Seat;
use tidemark_runtime::{Running, Settings as StageSettings};

pub use error::Error;
pub use metrics::Metrics;
pub use plan::Plan;
pub use settings::{Delivery, Settings};
pub use stage::NotifierStage;

/// Checks the settings, makes topics, schemas and first offsets, and adds a stage thread for each of `stages.threads` to those that
/// run already.
///
/// # Errors
/// A setting or template breaks a rule; the log or the registry refuses or does not answer.
pub fn start(
    running: &mut Running,
    settings: &Settings,
    parts: &Parts,
    stages: &StageSettings,
    metrics: &Arc<Metrics>,
) -> Result<(), Error> {
    let setup = settings.check()?;
    let plan = Arc::new(Plan::create(parts.log.as_ref(), parts.registry.as_ref())?);
    for thread in 0..stages.threads {
        let transport = setup.delivery().transport()?;
        let (log, registry) = (Arc::clone(&parts.log), Arc::clone(&parts.registry));
        let stage = NotifierStage::new(Arc::clone(&plan), setup.clone(), transport, log, registry, Arc::clone(metrics));
        let seat = Seat {
            name: "notifier".to_owned(),
            group: plan::GROUP.to_owned(),
            topics: vec![plan::MAILS.to_owned()],
            thread,
            commit_interval_ms: stages.commit_interval_ms,
        };
        running.add(seat, Box::new(stage), parts, stages);
    }
    Ok(())
}
