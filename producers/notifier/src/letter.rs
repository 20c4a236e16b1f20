//! A mail as it goes over the wire (RFC 5322): the same mail gives the same bytes, whenever and by whomever it is sent.

use std::time::{Duration, UNIX_EPOCH};

use lettre::Address;
use lettre::message::header::{ContentType, HeaderName, HeaderValue, MIME_VERSION_1_0};
use lettre::message::{Mailbox, Message};

use crate::mail::Mail;
use crate::text::one_line;

/// Whom mails are from.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    /// The sender.
    pub(crate) from: Mailbox,
    /// Of the Message-ID.
    pub(crate) domain: String,
}

/// A mail with its envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Which mail: letters, digits, `-`, `_` and `.`, at most 241 bytes.
    pub name: String,
    /// When it was decided, milliseconds since the epoch.
    pub at: i64,
    /// Who is told when it bounces.
    pub from: Address,
    /// To whom.
    pub to: Address,
    /// Header and text, in ASCII, lines of at most 998 bytes that end with CR LF.
    pub bytes: Vec<u8>,
}

impl Sender {
    /// The mail as a letter. What is in it twice or wrong makes no letter: the reason.
    ///
    /// # Errors
    /// The mail cannot be written as RFC 5322 wants it.
    pub(crate) fn letter(&self, mail: &Mail) -> Result<Letter, String> {
        let decided = UNIX_EPOCH + Duration::from_millis(u64::try_from(mail.at).unwrap_or(0));
        let automatic = HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, mail.to.clone()))
            .date(decided)
            .message_id(Some(format!("<{}@{}>", mail.name, self.domain)))
            .subject(one_line(&mail.text.subject))
            // RFC 3834: no out-of-office answers.
            .raw_header(automatic)
            .header(MIME_VERSION_1_0)
            .header(ContentType::TEXT_PLAIN)
            .body(mail.text.body.clone())
            .map_err(|error| error.to_string())?;
        let (name, at, to) = (mail.name.clone(), mail.at, mail.to.clone());
        Ok(Letter { name, at, from: self.from.email.clone(), to, bytes: message.formatted() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

    use super::*;
    use crate::templates::Rendered;

    fn letter(name: &str, subject: &str, body: &str) -> String {
        let mail = Mail {
            tenant: "default".to_owned(),
            mail_id: name.to_owned(),
            name: name.to_owned(),
            at: 1_790_000_000_000,
            to: "ann@example.com".parse().unwrap(),
            template: "error".to_owned(),
            text: Rendered { subject: subject.to_owned(), body: body.to_owned() },
        };
        let sender = Sender { from: "Tide Mark <t@example.org>".parse().unwrap(), domain: "example.org".to_owned() };
        let letter = sender.letter(&mail).unwrap();
        assert_eq!(letter, sender.letter(&mail).unwrap(), "the same mail gives the same bytes");
        String::from_utf8(letter.bytes).unwrap()
    }

    /// Names of the headers, in order.
    fn headers(letter: &str) -> Vec<&str> {
        let (head, _) = letter.split_once("\r\n\r\n").unwrap();
        head.split("\r\n")
            .filter(|line| !line.starts_with([' ', '\t']))
            .map(|line| line.split(':').next().unwrap())
            .collect()
    }

    const HEADERS: [&str; 9] = [
        "From",
        "To",
        "Date",
        "Message-ID",
        "Subject",
        "Auto-Submitted",
        "Content-Type",
        "MIME-Version",
        "Content-Transfer-Encoding",
    ];

    fn has_only_our_headers(letter: &str) {
        let (mut found, mut expected) = (headers(letter), HEADERS.to_vec());
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{letter}");
    }

    #[test]
    fn headers_are_stable_and_whole() {
        let letter = letter("error-ab.1_2", "Hello", "Text\n.\nmore\n");
        has_only_our_headers(&letter);
        assert!(letter.contains("Message-ID: <error-ab.1_2@example.org>\r\n"), "{letter}");
        assert!(letter.contains("Date: Mon, 21 Sep 2026 14:13:20 +0000\r\n"), "{letter}");
        assert!(letter.contains("From: \"Tide Mark\" <t@example.org>\r\n"), "{letter}");
        assert!(letter.contains("To: ann@example.com\r\n"), "{letter}");
        assert!(letter.contains("Auto-Submitted: auto-generated\r\n"), "{letter}");
        assert!(letter.ends_with("\r\n\r\nText\r\n.\r\nmore\r\n"), "{letter}");
    }

    #[test]
    fn no_subject_becomes_a_header_or_a_long_line() {
        let long = "x".repeat(3_000);
        let hostile = [
            "a\r\nBcc: all@example.com",
            "a\nBcc: all@example.com",
            "a\rBcc: all@example.com",
            "a\r\n\r\nbody",
            "=?utf-8?q?=0D=0ABcc:_x?=",
            "ünï\r\ncode",
            "\u{2028}\u{202e}",
            "\0\u{7f}",
            &long,
            "ä\u{85}\u{b}",
        ];
        for subject in hostile {
            let letter = letter("n", subject, "body");
            has_only_our_headers(&letter);
            assert!(
                letter.is_ascii() && letter.split("\r\n").all(|line| line.len() <= 998 && !line.contains(['\r', '\n'])),
                "{letter:?}"
            );
            assert!(letter.ends_with("\r\n\r\nbody"), "{letter}");
        }
    }

    #[test]
    fn no_body_is_over_the_limits_of_the_protocol() {
        let long = "y".repeat(5_000);
        for body in [long.as_str(), "ä\n", "\0\u{1}", "a\rb\nc", "日本語".repeat(2_000).as_str()] {
            let letter = letter("n", "s", body);
            has_only_our_headers(&letter);
            assert!(
                letter.is_ascii() && letter.split("\r\n").all(|line| line.len() <= 998 && !line.contains(['\n'])),
                "{letter:?}"
            );
        }
    }

    #[test]
    fn the_longest_name_stays_in_one_line() {
        let name = "n".repeat(241);
        assert!(letter(&name, "s", "b").contains(&format!("<{name}@example.org>\r\n")));
    }
}
