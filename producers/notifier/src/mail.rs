//! A mail as it was requested: read, held against the rules, its text made.

use lettre::Address;
use serde_json::{Map, Value};
use tidemark_schemas::notifications::MailRequested;

use crate::templates::{Rendered, Templates};

/// Bytes of a mail's id.
const ID_MAX: usize = 200;
/// Bytes of a tenant's name.
const TENANT_MAX: usize = 40;
/// Bytes of an address (RFC 5321, 4.5.3.1.3, less the brackets).
const ADDRESS_MAX: usize = 254;
/// Bytes of a mail's data.
const DATA_MAX: usize = 64 << 10;
/// The first millisecond that no date of four digits shows: year 10000.
const AT_END: i64 = 253_402_300_800_000;

/// A mail that can be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mail {
    /// Whose.
    pub(crate) tenant: String,
    /// Which of the tenant's.
    pub(crate) mail_id: String,
    /// Which of all: the id, after the tenant's name if that is not `default`. The Message-ID is made of it.
    pub(crate) name: String,
    /// When it was decided, milliseconds since the epoch.
    pub(crate) at: i64,
    /// To whom.
    pub(crate) to: Address,
    /// Of which template.
    pub(crate) template: String,
    /// Its text.
    pub(crate) text: Rendered,
}

/// A rule that a requested mail breaks: its short name, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    /// For the dead letter and for counting.
    pub(crate) rule: &'static str,
    /// For people.
    pub(crate) detail: String,
}

fn broken(rule: &'static str, detail: impl Into<String>) -> Broken {
    Broken { rule, detail: detail.into() }
}

impl Mail {
    /// Takes a requested mail.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub(crate) fn new(requested: MailRequested, templates: &Templates) -> Result<Self, Broken> {
        let MailRequested { tenant, mail_id, at, to, template, data } = requested;
        name_rule("mail_id", &mail_id, ID_MAX)?;
        name_rule("tenant", &tenant, TENANT_MAX)?;
        if !(0..AT_END).contains(&at) {
            return Err(broken("at", format!("{at} ms is no time from 1970 to 9999")));
        }
        let to = address(&to)?;
        let text =
            templates.render(&template, &object(&data)?).map_err(|problem| broken("template", problem.to_string()))?;
        let name = if tenant == "default" { mail_id.clone() } else { format!("{tenant}.{mail_id}") };
        Ok(Self { tenant, mail_id, name, at, to, template, text })
    }
}

fn name_rule(rule: &'static str, name: &str, max: usize) -> Result<(), Broken> {
    let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if is_name && (1..=max).contains(&name.len()) {
        return Ok(());
    }
    Err(broken(rule, format!("1 to {max} letters, digits, '-', '_' and '.' are allowed")))
}

fn address(to: &str) -> Result<Address, Broken> {
    let wrong =
        |why: &str| broken("to", format!("{:?} is no mail address: {why}", to.chars().take(100).collect::<String>()));
    if to.len() > ADDRESS_MAX {
        return Err(wrong("it is over 254 bytes"));
    }
    // A quoted local part may hold what breaks a line of the protocol: nobody has such an address.
    if to.contains(|c: char| c.is_control() || c.is_whitespace() || "<>\"\\".contains(c)) {
        return Err(wrong("it has spaces, quotes, brackets or control characters"));
    }
    to.parse().map_err(|error| wrong(&format!("{error}")))
}

fn object(data: &str) -> Result<Map<String, Value>, Broken> {
    if data.len() > DATA_MAX {
        return Err(broken("data", format!("{} bytes are more than {DATA_MAX}", data.len())));
    }
    match serde_json::from_str(data) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(broken("data", "it is not a JSON object")),
        Err(error) => Err(broken("data", format!("it is not JSON: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

    use super::*;

    fn requested() -> MailRequested {
        MailRequested {
            tenant: "default".to_owned(),
            mail_id: "progress-1".to_owned(),
            at: 1_790_000_000_000,
            to: "ann@example.com".to_owned(),
            template: "progress".to_owned(),
            data: r#"{"file_id":"ab","name":"n","type":"t","bytes":1,"owner":"o","at":"","done":1000,"queue":"q"}"#
                .to_owned(),
        }
    }

    fn rule(change: impl FnOnce(&mut MailRequested)) -> &'static str {
        let mut mail = requested();
        change(&mut mail);
        Mail::new(mail, &Templates::load(None, "http://x").unwrap()).unwrap_err().rule
    }

    #[test]
    fn every_rule_has_its_name() {
        assert_eq!(rule(|mail| mail.mail_id.clear()), "mail_id");
        assert_eq!(rule(|mail| mail.mail_id = "../../etc".to_owned()), "mail_id");
        assert_eq!(rule(|mail| mail.mail_id = "x".repeat(201)), "mail_id");
        assert_eq!(rule(|mail| mail.tenant = "a/b".to_owned()), "tenant");
        assert_eq!(rule(|mail| mail.at = -1), "at");
        assert_eq!(rule(|mail| mail.at = i64::MAX), "at");
        assert_eq!(rule(|mail| mail.template = "none".to_owned()), "template");
        assert_eq!(rule(|mail| mail.data = "[]".to_owned()), "data");
        assert_eq!(rule(|mail| mail.data = "{".to_owned()), "data");
        assert_eq!(rule(|mail| mail.data = "{}".to_owned()), "template");
        assert_eq!(rule(|mail| mail.data = format!(r#"{{"x":"{}"}}"#, "x".repeat(70_000))), "data");
    }

    #[test]
    fn an_address_cannot_end_its_line() {
        let long = format!("{}@example.com", "x".repeat(300));
        let bad = [
            "",
            "ann",
            "@example.com",
            "ann@",
            "ann@exa mple.com",
            "ann@example.com\r\nRCPT TO:<bob@example.com>",
            "\"a\r\nb\"@example.com",
            "a@b@c>",
            "<ann@example.com>",
            "\"a b\"@example.com",
            "ann@example.com,bob@example.com",
            &long,
        ];
        for to in bad {
            assert_eq!(rule(|mail| mail.to = to.to_owned()), "to", "{to:?}");
        }
    }

    #[test]
    fn another_tenants_mail_of_the_same_id_is_another_mail() {
        let templates = Templates::load(None, "http://x").unwrap();
        let other = MailRequested { tenant: "acme".to_owned(), ..requested() };
        assert_eq!(Mail::new(requested(), &templates).unwrap().name, "progress-1");
        assert_eq!(Mail::new(other, &templates).unwrap().name, "acme.progress-1");
    }
}
