//! Mails to a mail server (SMTP, RFC 5321), over one connection that is kept between mails.
//!
//! What an answer means depends on what it answers. About the connection, the login or the sender it is about every mail: those
//! wait, since a wrong password or sender must not cost a mail. About the recipient or the text it is about this mail alone.

use std::time::Duration;

use lettre::Address;
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Certificate, SmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt, Rset};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};

use crate::Error;
use crate::settings::{Smtp, Tls};
use crate::text::one_line;
use crate::transport::{Letter, Outcome, Transport};

/// What a server may take to accept a mail once it has it (RFC 5321, 4.5.3.2.6): whoever hangs up earlier sends it twice.
pub const ACCEPT_LIMIT: Duration = Duration::from_secs(600);
/// Mails over one connection; servers set bounds of their own, often 100.
const MAILS_MAX: u32 = 100;
/// The service is about to close the connection: whatever it answers, it is not about the mail.
const CLOSING: u16 = 421;
/// Log in first, or turn TLS on: about the settings, whatever it answers.
const LOG_IN: [u16; 2] = [530, 538];

/// A client of one mail server.
pub struct Client {
    smtp: Smtp,
    tls: Option<TlsParameters>,
    hello: ClientId,
    /// The connection and how many mails went over it.
    open: Option<(SmtpConnection, u32)>,
}

impl Client {
    /// Opens no connection. `certificates` are trusted beside the well-known ones.
    ///
    /// # Errors
    /// The TLS library refuses the host's name or a certificate.
    pub fn new(smtp: Smtp, certificates: &[Certificate]) -> Result<Self, Error> {
        let tls = if smtp.tls == Tls::None {
            None
        } else {
            let builder =
                certificates.iter().cloned().fold(TlsParameters::builder(smtp.host.clone()), |builder, certificate| {
                    builder.add_root_certificate(certificate)
                });
            Some(builder.build().map_err(|error| Error::setting("tls", error.to_string()))?)
        };
        Ok(Self { smtp, tls, hello: ClientId::default(), open: None })
    }

    fn connect(&self) -> Result<SmtpConnection, SmtpError> {
        let (server, timeout) = ((self.smtp.host.as_str(), self.smtp.port()), Some(self.smtp.timeout));
        let implicit = self.tls.as_ref().filter(|_| self.smtp.tls == Tls::Implicit);
        let mut connection = SmtpConnection::connect(server, timeout, &self.hello, implicit, None)?;
        if let (Tls::StartTls, Some(tls)) = (self.smtp.tls, &self.tls) {
            connection.starttls(tls, &self.hello)?;
        }
        if let Some((user, password)) = &self.smtp.credentials {
            let credentials = Credentials::new(user.clone(), password.clone());
            connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials)?;
        }
        Ok(connection)
    }

    /// The connection of the mail before, if the server still answers on it; else a new one.
    fn connection(&mut self) -> Result<(SmtpConnection, u32), SmtpError> {
        if let Some((mut connection, mails)) = self.open.take() {
            if mails < MAILS_MAX && connection.test_connected() {
                return Ok((connection, mails));
            }
            connection.abort();
        }
        self.connect().map(|connection| (connection, 0))
    }

    fn told(&self, what: &str, error: &SmtpError) -> String {
        format!("the mail server {}:{} {what}: {}", self.smtp.host, self.smtp.port(), one_line(&reasons(error)))
    }
}

impl Transport for Client {
    fn send(&mut self, letter: &Letter) -> Outcome {
        let (mut connection, mails) = match self.connection() {
            Ok(open) => open,
            Err(error) => return Outcome::Away(self.told("takes no mails", &error)),
        };
        let failed = match hand_over(&mut connection, letter, self.smtp.timeout) {
            Ok(()) => {
                self.open = Some((connection, mails + 1));
                return Outcome::Sent;
            }
            Err(failed) => failed,
        };
        let (outcome, goes_on) = match failed {
            Failed::Unable(reason) => (Outcome::Refused(reason), true),
            Failed::At(step, error) => (
                judge(step, code(&error), self.told(step.what(), &error)),
                error.status().is_some_and(|code| u16::from(code) != CLOSING),
            ),
        };
        // A server that still talks is talked to further, from a clean start.
        if goes_on && connection.command(Rset).is_ok() {
            self.open = Some((connection, mails + 1));
        } else {
            connection.abort();
        }
        outcome
    }

    fn rest(&mut self) {
        if let Some((mut connection, _)) = self.open.take() {
            let _ = connection.quit();
        }
    }
}

/// Where in handing a mail over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Sender,
    Recipient,
    Text,
}

impl Step {
    fn what(self) -> &'static str {
        match self {
            Self::Sender => "does not take the sender (setting `from`)",
            Self::Recipient => "does not take the recipient",
            Self::Text => "does not take the mail",
        }
    }
}

enum Failed {
    /// The server cannot take it by what it says of itself.
    Unable(String),
    At(Step, SmtpError),
}

fn hand_over(connection: &mut SmtpConnection, letter: &Letter, timeout: Duration) -> Result<(), Failed> {
    let parameters = parameters(connection, letter)?;
    let at = |step| move |error| Failed::At(step, error);
    connection.command(Mail::new(Some(letter.from.clone()), parameters)).map_err(at(Step::Sender))?;
    connection.command(Rcpt::new(letter.to.clone(), Vec::new())).map_err(at(Step::Recipient))?;
    connection.command(Data).map_err(at(Step::Text))?;
    // A socket that refuses a limit has one already.
    let _ = connection.set_timeout(Some(ACCEPT_LIMIT.max(timeout)));
    let accepted = connection.message(&letter.bytes).map_err(at(Step::Text));
    let _ = connection.set_timeout(Some(timeout));
    accepted.map(drop)
}

fn parameters(connection: &SmtpConnection, letter: &Letter) -> Result<Vec<MailParameter>, Failed> {
    let is_ascii = |address: &Address| AsRef::<str>::as_ref(address).is_ascii();
    if is_ascii(&letter.from) && is_ascii(&letter.to) {
        return Ok(Vec::new());
    }
    if connection.server_info().supports_feature(Extension::SmtpUtfEight) {
        return Ok(vec![MailParameter::SmtpUtfEight]);
    }
    Err(Failed::Unable("the address is not ASCII, and the mail server does not support such (SMTPUTF8)".to_owned()))
}

fn code(error: &SmtpError) -> Option<u16> {
    error.status().map(u16::from)
}

/// What a failure at this step with this answer means; no answer, the connection ended.
fn judge(step: Step, code: Option<u16>, reason: String) -> Outcome {
    match (step, code) {
        (Step::Sender, _) => Outcome::Away(reason),
        (Step::Recipient | Step::Text, None) => Outcome::Broken(reason),
        (Step::Recipient | Step::Text, Some(code)) if code == CLOSING || LOG_IN.contains(&code) => {
            Outcome::Away(reason)
        }
        (Step::Recipient | Step::Text, Some(500..)) => Outcome::Refused(reason),
        (Step::Recipient | Step::Text, Some(_)) => Outcome::Deferred(reason),
    }
}

/// An error with what caused it.
fn reasons(error: &SmtpError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Outcome, Step, judge};

    #[test]
    fn what_an_answer_means_depends_on_what_it_answers() {
        let judged = |step, code| judge(step, code, String::new());
        for code in [None, Some(421), Some(451), Some(530), Some(550), Some(553)] {
            assert_eq!(judged(Step::Sender, code), Outcome::Away(String::new()), "{code:?}");
        }
        for step in [Step::Recipient, Step::Text] {
            assert_eq!(judged(step, None), Outcome::Broken(String::new()));
            assert_eq!(judged(step, Some(421)), Outcome::Away(String::new()));
            assert_eq!(judged(step, Some(530)), Outcome::Away(String::new()));
            assert_eq!(judged(step, Some(450)), Outcome::Deferred(String::new()));
            assert_eq!(judged(step, Some(452)), Outcome::Deferred(String::new()));
            assert_eq!(judged(step, Some(550)), Outcome::Refused(String::new()));
            assert_eq!(judged(step, Some(554)), Outcome::Refused(String::new()));
        }
    }
}
