//! Bytes of any encoding as text, in pieces.

use std::io::Read;

use encoding_rs::{Encoding, UTF_8};

use crate::fault::{Fault, failed};

const PIECE: usize = 32 << 10;

/// Reads to the end, or until `take` says that it has enough; what is not of the encoding becomes U+FFFD.
pub(super) fn each(
    mut reader: impl Read,
    encoding: Option<&str>,
    mut take: impl FnMut(&str) -> bool,
) -> Result<(), Fault> {
    let encoding = encoding.and_then(|label| Encoding::for_label(label.as_bytes())).unwrap_or(UTF_8);
    let mut decoder = encoding.new_decoder_with_bom_removal();
    let mut piece = vec![0; PIECE];
    loop {
        let count = reader.read(&mut piece).map_err(|error| failed(format!("cannot read the contents: {error}")))?;
        let bytes = piece.get(..count).unwrap_or_default();
        let mut text = String::with_capacity(decoder.max_utf8_buffer_length(count).unwrap_or(4 * PIECE));
        let _ = decoder.decode_to_string(bytes, &mut text, count == 0);
        if !take(&text) || count == 0 {
            return Ok(());
        }
    }
}
