//! Which kind of document a ZIP archive is, by the names of its entries.

use super::READS;
use crate::fault::{Fault, document};

const DOCX: &str = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";

/// Entries that tell other kinds, and what these are called.
const OTHERS: [(&str, &str); 6] = [
    ("xl/workbook.xml", "an XLSX spreadsheet"),
    ("ppt/presentation.xml", "a PPTX presentation"),
    ("META-INF/container.xml", "an EPUB book"),
    ("META-INF/manifest.xml", "an OpenDocument file"),
    ("META-INF/MANIFEST.MF", "a Java archive"),
    ("AndroidManifest.xml", "an Android package"),
];

/// The media type of the archive, which must be a DOCX.
pub(super) fn media_type(names: &[String]) -> Result<&'static str, Fault> {
    let has = |name: &str| names.iter().any(|entry| entry == name);
    let word = names.iter().any(|name| name.starts_with("word/"));
    if has("[Content_Types].xml") && word {
        // Office 365 has written document2.xml.
        let main = |name: &String| name.starts_with("word/document") && name.ends_with(".xml");
        return names.iter().any(main).then_some(DOCX).ok_or_else(|| {
            document(
                "the DOCX is broken: it has no word/document.xml, which holds its text; save it again and upload it",
            )
        });
    }
    let kind = OTHERS.iter().find(|(name, _)| has(name)).map_or("a ZIP archive", |(_, kind)| kind);
    Err(document(format!("the file is {kind}; {READS}")))
}
