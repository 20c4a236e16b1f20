//! Text of plain text: all of it.

use super::{Text, decode};
use crate::fault::Fault;
use crate::input::Context;

pub(super) fn read(context: &Context, encoding: Option<&str>) -> Result<Text, Fault> {
    let mut text = Text::default();
    decode::each(context.open()?, encoding, |piece| {
        text.push(piece);
        !text.full()
    })?;
    Ok(text)
}
