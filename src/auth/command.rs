//! `tidemark token`: makes, lists and revokes tokens.

use super::file::{Tokens, instant};
use super::keyring::now;
use super::roles::{Caller, Role};
use super::token::Token;
use anyhow::{Context, bail};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Adds a token to the file, which is made if it is not there, and prints it: alone on standard output, so that it can go
/// straight to where it is kept.
///
/// # Errors
/// The file cannot be read or written, the name is taken, or there is no role.
pub fn new(file: &Path, name: &str, roles: &[Role], days: Option<u32>) -> anyhow::Result<()> {
    let _lock = lock(file)?;
    let mut tokens = if file.exists() { read(file)? } else { Tokens::default() };
    let (token, made) = (Token::random()?, now());
    let expires = days.map(|days| made + i64::from(days) * 86_400);
    let caller = Caller { name: name.into(), roles: roles.to_vec() };
    tokens.add(&token, caller, made, expires).with_context(|| format!("{}", file.display()))?;
    write(file, &tokens)?;
    let roles: Vec<String> = roles.iter().map(ToString::to_string).collect();
    let until = expires.map_or(String::new(), |expires| format!(" until {}", instant(expires)));
    eprintln!(
        "token {name} ({}) is good{until}; it is shown this once, {} keeps its hash alone",
        roles.join(", "),
        file.display()
    );
    println!("{}", token.reveal());
    Ok(())
}

/// Prints the tokens of the file, without secrets.
///
/// # Errors
/// The file cannot be read.
pub fn list(file: &Path) -> anyhow::Result<()> {
    let tokens = read(file)?;
    println!("{:<32} {:<30} {:<22} expires", "name", "roles", "created");
    for entry in tokens.entries() {
        let roles: Vec<String> = entry.caller.roles.iter().map(ToString::to_string).collect();
        let expires = match entry.expires {
            None => "never".into(),
            Some(expires) if expires <= now() => format!("expired {}", instant(expires)),
            Some(expires) => instant(expires),
        };
        println!("{:<32} {:<30} {:<22} {expires}", entry.caller.name, roles.join(","), instant(entry.created));
    }
    Ok(())
}

/// Takes a token out of the file.
///
/// # Errors
/// It is not there, or the file cannot be read or written.
pub fn revoke(file: &Path, name: &str) -> anyhow::Result<()> {
    let _lock = lock(file)?;
    let mut tokens = read(file)?;
    if !tokens.revoke(name) {
        bail!("no token in {} is called {name:?}; see: tidemark token list --file {}", file.display(), file.display());
    }
    write(file, &tokens)?;
    eprintln!("token {name} is revoked; processes that run refuse it within seconds");
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<Tokens> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Tokens::parse(&text).with_context(|| format!("{}", file.display()))
}

fn directory(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Two commands at a time must not undo each other's change; the directory is locked because the file is replaced.
fn lock(file: &Path) -> anyhow::Result<File> {
    let directory = directory(file);
    let locked = File::open(directory).and_then(|directory| directory.lock().map(|()| directory));
    locked.with_context(|| format!("cannot use {}; make it first", directory.display()))
}

/// Replaces the file at once, so that a process never reads half of it, for its owner's eyes alone.
fn write(file: &Path, tokens: &Tokens) -> anyhow::Result<()> {
    let half = file.with_extension("new");
    let replace = || -> io::Result<()> {
        let _ = fs::remove_file(&half); // left by a command that was killed
        let mut out = File::options().write(true).create_new(true).mode(0o600).open(&half)?;
        out.write_all(tokens.render().as_bytes())?;
        out.sync_all()?;
        if let Ok(before) = fs::metadata(file) {
            out.set_permissions(before.permissions())?;
        }
        fs::rename(&half, file)?;
        File::open(directory(file))?.sync_all()
    };
    replace().with_context(|| format!("cannot write {}", file.display()))
}
