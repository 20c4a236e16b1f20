//! From pieces of text and their places to words and lines.

use super::place::Map;
use crate::text::Text;

/// A gap of that share of the font's size is a space. Spaces are 0.25 wide in most fonts, and squeezed to 0.2 at times.
const SPACE: f64 = 0.15;
/// Off the line by that share of the size: another line. Superscripts stand off by 0.3 to 0.4.
const LINE: f64 = 0.5;
/// Lines further apart than that share of the size are paragraphs.
const PARAGRAPH: f64 = 1.9;
/// Lines whose sizes differ by that factor are paragraphs: a heading and what is under it.
const HEADING: f64 = 1.25;
/// Back by that share of the size: another line on the same height, as of a second column.
const BACK: f64 = 1.0;

/// Where the last piece of text ended.
#[derive(Debug, Default)]
pub(super) struct Layout {
    end: Option<(f64, f64)>,
    size: f64,
}

impl Layout {
    /// A piece of text that begins at the origin of `start` and ends at that of `end`.
    pub(super) fn add(&mut self, piece: &str, start: Map, end: Map, text: &mut Text) {
        let size = start.height();
        if let Some(last) = self.end {
            let (small, large) = (size.min(self.size), size.max(self.size));
            separate(last, start, large, large > HEADING * small, piece, text);
        }
        text.push(piece);
        self.end = Some(end.origin());
        self.size = size;
    }
}

fn separate(last: (f64, f64), start: Map, size: f64, heading: bool, piece: &str, text: &mut Text) {
    let ((x, y), _) = start.along();
    let (to_x, to_y) = (start.origin().0 - last.0, start.origin().1 - last.1);
    let (along, off) = (to_x * x + to_y * y, (to_y * x - to_x * y).abs());
    if off > PARAGRAPH * size || heading && off > LINE * size {
        text.line();
        text.push_char('\n');
    } else if off > LINE * size || along < -BACK * size {
        text.line();
    } else if along > SPACE * size && !text.text.ends_with([' ', '\n']) && !piece.starts_with(' ') {
        text.push_char(' ');
    }
}
