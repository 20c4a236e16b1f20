//! Text of DOCX: the main part, then footnotes and endnotes; title, author and pages from the document's properties.
//!
//! Format: ECMA-376, part 1, 17 (WordprocessingML).

use std::fs::File;
use std::io::BufReader;

use zip::ZipArchive;
use zip::result::ZipError;

use super::xml::{self, Piece};
use super::{TITLE_MAX, Text};
use crate::fault::{Fault, document};
use crate::input::Context;

type Archive = ZipArchive<BufReader<File>>;

/// Elements whose characters are not read: what was deleted, field codes, and the second form of what stands there already.
const HIDDEN: [&str; 4] = ["del", "moveFrom", "instrText", "Fallback"];

pub(super) fn read(context: &Context) -> Result<Text, Fault> {
    let mut archive =
        ZipArchive::new(BufReader::new(context.open()?)).map_err(|error| broken("the archive", &error))?;
    let mut text = Text::default();
    properties(&mut archive, &mut text)?;
    let main = main_part(&mut archive)?;
    body(&mut archive, &main, &mut text)?;
    for notes in ["word/footnotes.xml", "word/endnotes.xml"] {
        if archive.index_for_name(notes).is_some() {
            body(&mut archive, notes, &mut text)?;
        }
    }
    Ok(text)
}

/// The main part is named by the package's relationships.
fn main_part(archive: &mut Archive) -> Result<String, Fault> {
    let mut main = None;
    part(archive, "_rels/.rels", |piece| {
        if let Piece::Start("Relationship", attribute) = piece
            && attribute("Type").is_some_and(|kind| kind.ends_with("/officeDocument"))
        {
            main = attribute("Target").map(|target| target.trim_start_matches('/').to_owned());
        }
        main.is_none()
    })?;
    let main = main.unwrap_or_else(|| "word/document.xml".to_owned());
    if archive.index_for_name(&main).is_none() {
        return Err(document(format!(
            "the DOCX is broken: it has no {main}, which holds its text; save it again and upload it"
        )));
    }
    Ok(main)
}

fn body(archive: &mut Archive, name: &str, text: &mut Text) -> Result<(), Fault> {
    let mut hidden = 0_u32;
    let mut run = false;
    part(archive, name, |piece| {
        match piece {
            Piece::Start(name, _) if HIDDEN.contains(&name) => hidden = hidden.saturating_add(1),
            Piece::End(name) if HIDDEN.contains(&name) => hidden = hidden.saturating_sub(1),
            _ if hidden > 0 => (),
            Piece::Start("t", _) => run = true,
            Piece::End("t") => run = false,
            Piece::Text(more) if run => text.push(more),
            Piece::Start(name, _) => start(name, text),
            Piece::End(name) => end(name, text),
            Piece::Text(_) => (),
        }
        !text.full()
    })
}

fn start(name: &str, text: &mut Text) {
    match name {
        "tab" if text.text.ends_with(|c: char| c != '\n') => text.push_char('\t'),
        "br" | "cr" => text.push_char('\n'),
        "noBreakHyphen" => text.push_char('-'),
        "softHyphen" => text.push_char('\u{AD}'),
        _ => (),
    }
}

fn end(name: &str, text: &mut Text) {
    match name {
        // An empty line parts paragraphs; the normal form takes those away that are too many.
        "p" => text.push("\n\n"),
        "tbl" => text.push_char('\n'),
        // The paragraph in a cell has ended a line; the row is one line.
        "tc" => {
            text.text.truncate(text.text.trim_end_matches('\n').len());
            text.push_char('\t');
        }
        "tr" => {
            text.text.truncate(text.text.trim_end_matches('\t').len());
            text.push_char('\n');
        }
        _ => (),
    }
}

fn properties(archive: &mut Archive, text: &mut Text) -> Result<(), Fault> {
    let mut found: [String; 3] = Default::default();
    for name in ["docProps/core.xml", "docProps/app.xml"] {
        let mut field = None;
        part(archive, name, |piece| {
            match piece {
                Piece::Start("title", _) => field = Some(0),
                Piece::Start("creator", _) => field = Some(1),
                Piece::Start("Pages", _) => field = Some(2),
                Piece::Text(more) => {
                    if let Some(value) = field.and_then(|field: usize| found.get_mut(field)) {
                        let room = (TITLE_MAX * 4).saturating_sub(value.len());
                        value.extend(more.chars().take(room));
                    }
                }
                Piece::Start(..) | Piece::End(_) => field = None,
            }
            true
        })?;
    }
    let [title, author, pages] = found;
    (text.title, text.author) = (Some(title), Some(author));
    text.pages = pages.trim().parse().ok().filter(|pages| *pages > 0);
    Ok(())
}

/// Reads one part; nothing when it is not there.
fn part(archive: &mut Archive, name: &str, take: impl FnMut(Piece<'_>) -> bool) -> Result<(), Fault> {
    match archive.by_name(name) {
        Ok(entry) => xml::each(name, entry, take),
        Err(ZipError::FileNotFound) => Ok(()),
        Err(error) => Err(broken(name, &error)),
    }
}

fn broken(what: &str, error: &ZipError) -> Fault {
    document(format!("the DOCX is broken: {what}: {error}; save it again and upload it"))
}
