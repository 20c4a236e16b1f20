//! Who may do what: tokens with roles, and the layer that asks for them.
//!
//! Promise: with tokens set up, nothing is answered to a caller without one but whether the process is ready, and the files of
//! a page that shows nothing; a token does what its roles say and no more, by one table ([`TABLE`]); what no rule names is
//! refused. Without tokens a process listens on loopback alone, and takes nothing from the pages of other sites.
//!
//! Invariants: of a token only its SHA-256 is kept; hashes are compared in constant time; a token reaches no handler, log, trace
//! or answer. A revoked or expired token is refused, and its live streams end, within five seconds.
//!
//! Limits: 1,000 tokens; 256 requests of a client at a time; a body that comes slower than 4 KiB/s after five seconds is given
//! up.

mod body;
pub mod clients;
pub mod command;
mod credentials;
pub mod file;
mod guard;
pub mod keyring;
mod openapi;
mod origin;
mod refusal;
pub mod roles;
mod session;
pub mod token;

pub use guard::{Error, Guard};
pub use openapi::openapi;
pub use roles::{Need, Role, Rule, TABLE};
