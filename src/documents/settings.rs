//! What the configuration says, in the words of the crates that it is for.

use crate::config::{Config, DocumentsConfig, MailTls};
use anyhow::Context;
use std::path::Path;
use std::time::Duration;
use tidemark_core::dispatch;
use tidemark_documents::{Learning, S3Config, StoreConfig, UploadConfig};
use tidemark_jobs::documents;
use tidemark_notifier::settings::{Delivery, Smtp, Tls};

/// How often expected run times are learned from the figures.
const LEARN_EVERY: Duration = Duration::from_secs(60);

/// Of the keyed process.
pub(super) fn process(config: &DocumentsConfig) -> documents::Settings {
    documents::Settings {
        dispatch: dispatch::Settings {
            heartbeat_timeout_ms: config.heartbeat_timeout_ms,
            accept_ms: config.accept_ms,
            floor_ms: config.lease_floor_ms,
            factor: config.lease_factor,
            ..dispatch::Settings::default()
        },
        progress_every: config.progress_every,
        progress_to: config.progress_to.clone(),
        ..documents::Settings::default()
    }
}

/// Of the API: its index is in `dir`, which is this process's own.
///
/// # Errors
/// The store is named in a way that there is none of.
pub(super) fn api(config: &Config, dir: &Path, replica: &str) -> anyhow::Result<tidemark_documents::Config> {
    let defaults = tidemark_documents::Config::new(dir, format!("tidemark.documents.commands-{replica}"));
    Ok(tidemark_documents::Config {
        store: store(config)?,
        index: dir.join("documents-index"),
        upload: UploadConfig {
            bytes_max: config.documents.max_bytes,
            types: config.documents.types.clone(),
            ..UploadConfig::default()
        },
        learning: Some(Learning { every: LEARN_EVERY, run_times: documents::run_times, differs: documents::differs }),
        ..defaults
    })
}

fn store(config: &Config) -> anyhow::Result<StoreConfig> {
    let Some(place) = &config.documents.store else {
        return Ok(StoreConfig::Folder(config.data_dir.join("documents")));
    };
    let Some((scheme, rest)) = place.split_once("://") else { return Ok(StoreConfig::Folder(place.into())) };
    anyhow::ensure!(scheme == "s3", "documents.store is {place}: it must be a folder, or s3://BUCKET");
    let bucket = rest.trim_end_matches('/');
    anyhow::ensure!(!bucket.is_empty() && !bucket.contains('/'), "documents.store is {place}: it must be s3://BUCKET");
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let endpoint = set("AWS_ENDPOINT_URL").or_else(|| set("AWS_ENDPOINT"));
    Ok(StoreConfig::S3(S3Config {
        bucket: bucket.to_owned(),
        allow_http: endpoint.as_deref().is_some_and(|url| url.starts_with("http://")),
        endpoint,
        region: set("AWS_REGION"),
        access_key: set("AWS_ACCESS_KEY_ID"),
        secret_key: set("AWS_SECRET_ACCESS_KEY"),
    }))
}

/// Of the notifier.
///
/// # Errors
/// The server is named in a way that cannot be read, or its password is missing.
pub(super) fn mails(config: &Config) -> anyhow::Result<tidemark_notifier::Settings> {
    let mail = &config.mail;
    let delivery = match &mail.smtp {
        None => Delivery::Maildir(mail.maildir.clone().unwrap_or_else(|| config.data_dir.join("mail"))),
        Some(server) => Delivery::Smtp(smtp(config, server)?),
    };
    Ok(tidemark_notifier::Settings {
        delivery,
        from: mail.from.clone(),
        base_url: mail.base_url.clone(),
        templates: mail.templates.clone(),
        ..tidemark_notifier::Settings::default()
    })
}

fn smtp(config: &Config, server: &str) -> anyhow::Result<Smtp> {
    let mail = &config.mail;
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) => {
            (host, Some(port.parse().with_context(|| format!("mail.smtp is {server}: it must be host:port"))?))
        }
        None => (server, None),
    };
    let password = || {
        std::env::var("TIDEMARK_SMTP_PASSWORD")
            .context("mail.user is given: put the password in TIDEMARK_SMTP_PASSWORD")
    };
    let credentials = mail.user.as_ref().map(|user| password().map(|password| (user.clone(), password))).transpose()?;
    let tls = match mail.tls {
        MailTls::Starttls => Tls::StartTls,
        MailTls::Implicit => Tls::Implicit,
        MailTls::None => Tls::None,
    };
    Ok(Smtp { port, tls, credentials, ca_file: mail.ca_file.clone(), ..Smtp::new(host) })
}
