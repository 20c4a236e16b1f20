//! XML parts of an office document, event by event.

use std::io::{BufRead, BufReader, Read};

use quick_xml::Reader;
use quick_xml::events::Event;

use crate::fault::{Fault, document};

/// The most bytes of one part that are read.
const PART_MAX: u64 = 256 << 20;

/// What a part is made of.
pub(super) enum Piece<'a> {
    /// An element begins: its name without prefix, and its attributes by name without prefix.
    Start(&'a str, &'a dyn Fn(&str) -> Option<String>),
    End(&'a str),
    Text(&'a str),
}

/// Reads a part to its end, or until `take` says that it has enough.
pub(super) fn each(part: &str, reader: impl Read, mut take: impl FnMut(Piece<'_>) -> bool) -> Result<(), Fault> {
    let mut reader = Reader::from_reader(BufReader::new(reader.take(PART_MAX)));
    // A part that is cut off still gives its text; D1 has found what is broken.
    reader.config_mut().check_end_names = false;
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        let more = next(part, &mut reader, &mut buffer, &mut take)?;
        if !more {
            return Ok(());
        }
    }
}

fn next<R: BufRead>(
    part: &str,
    reader: &mut Reader<R>,
    buffer: &mut Vec<u8>,
    take: &mut impl FnMut(Piece<'_>) -> bool,
) -> Result<bool, Fault> {
    let event = reader.read_event_into(buffer).map_err(|error| {
        document(format!("the DOCX is broken: {part} is no XML: {error}; save it again and upload it"))
    })?;
    Ok(match event {
        Event::Start(tag) => take(Piece::Start(local(tag.name().as_ref()), &|name| attribute(&tag, name))),
        Event::Empty(tag) => {
            let name = tag.name();
            let name = local(name.as_ref());
            take(Piece::Start(name, &|name| attribute(&tag, name))) && take(Piece::End(name))
        }
        Event::End(tag) => take(Piece::End(local(tag.name().as_ref()))),
        Event::Text(text) => take(Piece::Text(&text)),
        Event::CData(text) => take(Piece::Text(&text)),
        Event::GeneralRef(reference) => {
            let known = quick_xml::escape::resolve_predefined_entity(&reference).map(str::to_owned);
            let text = known.or_else(|| reference.resolve_char_ref().ok().flatten().map(String::from));
            take(Piece::Text(text.as_deref().unwrap_or("\u{FFFD}")))
        }
        Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => true,
        Event::Eof => false,
    })
}

fn attribute(tag: &quick_xml::events::BytesStart<'_>, name: &str) -> Option<String> {
    let found = tag.attributes().flatten().find(|attribute| local(attribute.key.as_ref()) == name)?;
    Some(found.value.into_owned())
}

fn local(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or(name)
}
