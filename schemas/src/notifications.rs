//! Mails, field by field as in `avsc/notifications/`.

use crate::avro_record;

avro_record! {
    /// `MailHandled.avsc`: What has become of a mail. Keyed by mail_id.
    pub struct MailHandled {
        /// Whose.
        pub tenant: String,
        /// Which mail.
        pub mail_id: String,
        /// When, milliseconds since the epoch.
        pub at: i64,
        /// Mail address.
        pub to: String,
        /// Name of the template.
        pub template: String,
        /// SENT, or REFUSED for good by the server or for its address.
        pub outcome: String,
        /// Why it was refused.
        pub message: Option<String>,
        /// 1 and more, since the process that handled it began with it.
        pub tries: i32,
    }
}

avro_record! {
    /// `MailRequested.avsc`: A mail to be sent, decided once; it is sent at least once, always under the same Message-ID. Keyed by mail_id.
    pub struct MailRequested {
        /// Whose.
        pub tenant: String,
        /// Letters, digits, '-', '_' and '.'; 1 to 200 bytes. The Message-ID is made of it.
        pub mail_id: String,
        /// When it was decided.
        pub at: i64,
        /// Mail address.
        pub to: String,
        /// duplicate, error, progress, …
        pub template: String,
        /// What the template names, a JSON object of texts and numbers.
        pub data: String,
    }
}
