//! What whoever runs the notifier may set.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lettre::Address;
use lettre::message::Mailbox;
use lettre::transport::smtp::client::Certificate;

use crate::Error;
use crate::backoff::Backoff;
use crate::letter::Sender;
use crate::maildir::Maildir;
use crate::smtp::Client;
use crate::templates::Templates;
use crate::transport::Transport;

/// Longest domain of a Message-ID, bytes (RFC 1035, 2.3.4).
const DOMAIN_MAX: usize = 253;

/// What may be set. [`Settings::default`] puts mails into the folder `mails`.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where mails go.
    pub delivery: Delivery,
    /// The sender: `Tidemark <tidemark@example.com>` or the bare address. Answers and bounces go there.
    pub from: String,
    /// Of the Message-ID; that of `from` if none is set. To change it makes a mail that is sent again look like another one.
    pub domain: Option<String>,
    /// Where the pages are, `https://tidemark.example.com`: links begin with it.
    pub base_url: String,
    /// Folder with templates that replace the built-in ones file by file.
    pub templates: Option<PathBuf>,
    /// First pause after a failure, milliseconds.
    pub backoff_first_ms: i64,
    /// Longest pause after failures, milliseconds.
    pub backoff_longest_ms: i64,
    /// A mail that the server puts off again and again is given up, as REFUSED, when it was decided so long ago (milliseconds) and has been
    /// tried [`crate::waiting::TRIES_MIN`] times by this process. A server that is away gives no mail up.
    pub give_up_after_ms: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            delivery: Delivery::Maildir(PathBuf::from("mails")),
            from: "Tidemark <tidemark@localhost>".to_owned(),
            domain: None,
            base_url: "http://127.0.0.1:8080".to_owned(),
            templates: None,
            backoff_first_ms: 1_000,
            backoff_longest_ms: 300_000,
            give_up_after_ms: 3 * 86_400_000,
        }
    }
}

/// Where mails go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// Files in a folder; see [`crate::maildir`].
    Maildir(PathBuf),
    /// A mail server; see [`crate::smtp`].
    Smtp(Smtp),
}

/// How the connection to the server is kept private.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tls {
    /// STARTTLS, and nothing is sent without it (port 587).
    #[default]
    StartTls,
    /// TLS from the first byte (port 465).
    Implicit,
    /// In the clear (port 25). With credentials only to this machine itself.
    None,
}

/// A mail server.
#[derive(Clone, PartialEq, Eq)]
pub struct Smtp {
    /// Name or address of the server. Its certificate must be for this.
    pub host: String,
    /// That of `tls` if none is set.
    pub port: Option<u16>,
    /// STARTTLS unless said otherwise.
    pub tls: Tls,
    /// User and password; from the environment rather than from a file.
    pub credentials: Option<(String, String)>,
    /// PEM file with certificates that are trusted beside the well-known ones: of an installation's own authority.
    pub ca_file: Option<PathBuf>,
    /// What a connection or an answer may take. The answer to a whole mail may take [`crate::smtp::ACCEPT_LIMIT`]: whoever gives it up
    /// earlier sends it twice.
    pub timeout: Duration,
}

impl Smtp {
    /// STARTTLS to this host, without credentials.
    pub fn new(host: impl Into<String>) -> Self {
        let timeout = Duration::from_secs(60);
        Self { host: host.into(), port: None, tls: Tls::StartTls, credentials: None, ca_file: None, timeout }
    }

    /// The port that is set, or that of the kind of TLS.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match self.tls {
            Tls::StartTls => 587,
            Tls::Implicit => 465,
            Tls::None => 25,
        })
    }

    fn check(&self) -> Result<Vec<Certificate>, Error> {
        if self.host.is_empty() || !self.host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:".contains(&b)) {
            return Err(Error::setting(
                "host",
                format!("{:?} is neither the name nor the address of a mail server", self.host),
            ));
        }
        if self.timeout.is_zero() {
            return Err(Error::setting("timeout", "0 leaves no time for an answer; 60 s are usual"));
        }
        if self.tls == Tls::None && self.credentials.is_some() && !is_this_machine(&self.host) {
            let rule = format!(
                "the password would go to {} in the clear; use starttls or implicit, or no credentials",
                self.host
            );
            return Err(Error::setting("tls", rule));
        }
        let Some(path) = &self.ca_file else { return Ok(Vec::new()) };
        let pem = std::fs::read(path).map_err(|source| Error::Io { path: path.clone(), source })?;
        let certificate = Certificate::from_pem(&pem).map_err(|error| {
            Error::setting("ca_file", format!("{} holds no PEM certificate: {error}", path.display()))
        })?;
        Ok(vec![certificate])
    }
}

impl fmt::Debug for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.credentials.as_ref().map(|(user, _)| (user, "redacted"));
        f.debug_struct("Smtp")
            .field("host", &self.host)
            .field("port", &self.port())
            .field("tls", &self.tls)
            .field("credentials", &user)
            .field("ca_file", &self.ca_file)
            .field("timeout", &self.timeout)
            .finish()
    }
}

fn is_this_machine(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Settings that have been checked, with what was read for them.
#[derive(Clone)]
pub struct Setup {
    pub(crate) delivery: Checked,
    pub(crate) sender: Arc<Sender>,
    pub(crate) templates: Arc<Templates>,
    pub(crate) backoff: Backoff,
    pub(crate) give_up_after_ms: i64,
}

/// A delivery that transports can be made of.
#[derive(Clone)]
pub struct Checked(Delivery, Vec<Certificate>);

impl Checked {
    /// Opens no connection; the folders of a maildir are made.
    ///
    /// # Errors
    /// The folders cannot be made; the TLS library refuses what it is given.
    pub fn transport(&self) -> Result<Box<dyn Transport>, Error> {
        Ok(match &self.0 {
            Delivery::Maildir(dir) => Box::new(Maildir::open(dir)?),
            Delivery::Smtp(smtp) => Box::new(Client::new(smtp.clone(), &self.1)?),
        })
    }
}

impl Setup {
    /// Makes transports.
    pub fn delivery(&self) -> &Checked {
        &self.delivery
    }
}

impl Settings {
    /// Holds every setting against its rule and reads the templates and certificates; opens no connection.
    ///
    /// # Errors
    /// The first that breaks its rule.
    pub fn check(&self) -> Result<Setup, Error> {
        let certificates = match &self.delivery {
            Delivery::Smtp(smtp) => smtp.check()?,
            Delivery::Maildir(_) => Vec::new(),
        };
        let from: Mailbox = self.from.parse().map_err(|error| {
            Error::setting("from", format!("{:?} is no sender ({error}): Name <user@example.com>", self.from))
        })?;
        let domain = self.domain.clone().unwrap_or_else(|| from.email.domain().to_owned());
        // A Message-ID is ASCII without spaces (RFC 5322, 3.6.4).
        if domain.len() > DOMAIN_MAX || !domain.is_ascii() || Address::new("x", &domain).is_err() {
            return Err(Error::setting("domain", format!("{domain:?} is no domain in ASCII, such as example.com")));
        }
        let base_url = self.base_url.trim_end_matches('/');
        let is_url =
            base_url.strip_prefix("https://").or(base_url.strip_prefix("http://")).is_some_and(|rest| !rest.is_empty());
        if !is_url || base_url.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(Error::setting(
                "base_url",
                format!("{base_url:?} does not begin with https:// or http:// and a host"),
            ));
        }
        if self.backoff_first_ms < 1 || self.backoff_longest_ms < self.backoff_first_ms {
            return Err(Error::setting(
                "backoff",
                "the first pause is 1 ms or more, and the longest is not shorter than the first",
            ));
        }
        if self.give_up_after_ms < 0 {
            return Err(Error::setting("give_up_after_ms", "0 or more"));
        }
        Ok(Setup {
            delivery: Checked(self.delivery.clone(), certificates),
            sender: Arc::new(Sender { from, domain }),
            templates: Arc::new(Templates::load(self.templates.as_deref(), base_url)?),
            backoff: Backoff { first_ms: self.backoff_first_ms, longest_ms: self.backoff_longest_ms },
            give_up_after_ms: self.give_up_after_ms,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

    use super::{Delivery, Settings, Smtp, Tls};

    fn refused(change: impl FnOnce(&mut Settings)) -> String {
        let mut settings = Settings::default();
        change(&mut settings);
        settings.check().err().unwrap().to_string()
    }

    fn smtp(host: &str, tls: Tls) -> Smtp {
        Smtp { tls, credentials: Some(("ann".to_owned(), "hunter2".to_owned())), ..Smtp::new(host) }
    }

    #[test]
    fn each_setting_has_its_rule() {
        Settings::default().check().unwrap();
        assert!(refused(|settings| settings.from = "nobody".to_owned()).starts_with("from: "));
        assert!(refused(|settings| settings.from = "a@b.c\r\nBcc: d@e.f".to_owned()).starts_with("from: "));
        assert!(refused(|settings| settings.domain = Some("a b".to_owned())).starts_with("domain: "));
        assert!(refused(|settings| settings.domain = Some("müller.de".to_owned())).starts_with("domain: "));
        assert!(refused(|settings| settings.base_url = "tidemark".to_owned()).starts_with("base_url: "));
        assert!(refused(|settings| settings.base_url = "https://a\nb".to_owned()).starts_with("base_url: "));
        assert!(refused(|settings| settings.backoff_first_ms = 0).starts_with("backoff: "));
        assert!(refused(|settings| settings.backoff_longest_ms = 10).starts_with("backoff: "));
        let missing = Smtp { ca_file: Some("/nowhere.pem".into()), ..Smtp::new("mail") };
        assert!(refused(|settings| settings.delivery = Delivery::Smtp(missing)).starts_with("/nowhere.pem"));
    }

    #[test]
    fn a_password_never_goes_over_a_network_in_the_clear() {
        let check = |smtp| Settings { delivery: Delivery::Smtp(smtp), ..Settings::default() }.check().map(drop);
        for host in ["mail.example.com", "192.0.2.1", "localhost.example.com", "2001:db8::1"] {
            assert!(check(smtp(host, Tls::None)).is_err(), "{host}");
            assert!(check(smtp(host, Tls::StartTls)).is_ok() && check(smtp(host, Tls::Implicit)).is_ok(), "{host}");
            assert!(check(Smtp { credentials: None, ..smtp(host, Tls::None) }).is_ok(), "{host}");
        }
        for host in ["localhost", "127.0.0.1", "127.9.9.9", "::1"] {
            assert!(check(smtp(host, Tls::None)).is_ok(), "{host}");
        }
    }

    #[test]
    fn a_password_is_not_printed() {
        let printed =
            format!("{:?}", Settings { delivery: Delivery::Smtp(smtp("mail", Tls::StartTls)), ..Settings::default() });
        assert!(printed.contains("ann") && !printed.contains("hunter2"), "{printed}");
    }
}
