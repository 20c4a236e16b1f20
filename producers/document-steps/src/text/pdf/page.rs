//! The text that the contents of a page show, in the order in which they show it.

use std::collections::BTreeMap;

use lopdf::content::{Content, Operation};
use lopdf::{Dictionary, Document, Object, ObjectId};

use super::STREAM_MAX;
use super::font::Font;
use super::layout::Layout;
use super::place::Map;
use crate::text::Text;

/// Forms within forms.
const DEPTH_MAX: usize = 8;
/// States saved and not yet restored.
const SAVED_MAX: usize = 64;
/// How far up the page tree resources are looked for.
const PARENTS_MAX: usize = 32;

/// Adds the text of a page; takes what its contents inflate to from `left`.
pub(super) fn read(document: &Document, page: ObjectId, left: &mut usize, text: &mut Text) {
    text.line();
    if !text.text.is_empty() {
        text.push_char('\n');
    }
    let limit = STREAM_MAX.min(*left);
    let Ok(contents) = document.get_page_content_with_limit(page, limit) else {
        return text.cut();
    };
    let mut reading = Reading { document, left, text, layout: Layout::default() };
    reading.contents(&contents, resources(document, page), Map::SAME, 0);
}

/// The resources of a page: its own, or those of the nearest node above it.
fn resources(document: &Document, page: ObjectId) -> Option<&Dictionary> {
    let mut node = document.get_dictionary(page).ok()?;
    for _ in 0..PARENTS_MAX {
        if let Ok(found) = node.get_deref(b"Resources", document).and_then(Object::as_dict) {
            return Some(found);
        }
        node = node.get_deref(b"Parent", document).and_then(Object::as_dict).ok()?;
    }
    None
}

struct Reading<'a, 'b> {
    document: &'a Document,
    left: &'b mut usize,
    text: &'b mut Text,
    layout: Layout,
}

/// What text operators set (ISO 32000-1, table 104).
#[derive(Clone)]
struct State {
    page: Map,
    font: Vec<u8>,
    size: f64,
    spacing: f64,
    word_spacing: f64,
    scale: f64,
    leading: f64,
    rise: f64,
}

/// The contents of a page or form as they are read.
struct Frame<'a> {
    resources: Option<&'a Dictionary>,
    fonts: BTreeMap<Vec<u8>, Option<Font<'a>>>,
    state: State,
    saved: Vec<State>,
    line: Map,
    place: Map,
    depth: usize,
}

impl<'a> Reading<'a, '_> {
    fn contents(&mut self, contents: &[u8], resources: Option<&'a Dictionary>, page: Map, depth: usize) {
        *self.left = self.left.saturating_sub(contents.len().max(1));
        let state = State {
            page,
            font: Vec::new(),
            size: 0.0,
            spacing: 0.0,
            word_spacing: 0.0,
            scale: 1.0,
            leading: 0.0,
            rise: 0.0,
        };
        let (fonts, saved) = Default::default();
        let mut frame = Frame { resources, fonts, state, saved, line: Map::SAME, place: Map::SAME, depth };
        // What cannot be read ends the page, not the document.
        for operation in Content::decode_iter(contents).map_while(Result::ok) {
            if self.text.full() {
                return;
            }
            self.operation(&operation, &mut frame);
        }
    }

    fn operation(&mut self, operation: &Operation, frame: &mut Frame<'a>) {
        let operands = operation.operands.as_slice();
        match operation.operator.as_str() {
            "Tj" => self.show(operands.first(), frame),
            "TJ" => self.show_adjusted(operands, frame),
            "'" => {
                frame.next_line();
                self.show(operands.first(), frame);
            }
            "\"" => {
                let [word_spacing, spacing] = numbers(operands);
                (frame.state.word_spacing, frame.state.spacing) = (word_spacing, spacing);
                frame.next_line();
                self.show(operands.get(2), frame);
            }
            "Do" => self.form(operands.first(), frame),
            "Tf" => {
                frame.state.font = operands.first().and_then(|name| name.as_name().ok()).unwrap_or_default().to_vec();
                [_, frame.state.size] = numbers(operands);
            }
            operator => frame.set(operator, operands),
        }
    }

    fn show_adjusted(&mut self, operands: &[Object], frame: &mut Frame<'a>) {
        for piece in operands.first().and_then(|list| list.as_array().ok()).map(Vec::as_slice).unwrap_or_default() {
            match piece.as_float() {
                Ok(back) => frame.forward(-f64::from(back) / 1000.0 * frame.state.size * frame.state.scale),
                Err(_) => self.show(Some(piece), frame),
            }
        }
    }

    fn show(&mut self, string: Option<&Object>, frame: &mut Frame<'a>) {
        let Some(Ok(mut rest)) = string.map(Object::as_str) else { return };
        let document = self.document;
        let start = frame.device();
        let mut shown = String::new();
        let name = frame.state.font.clone();
        if !frame.fonts.contains_key(&name) {
            let font = font(frame.resources, &name, document);
            frame.fonts.insert(name.clone(), font);
        }
        let mut width = 0.0;
        if let Some(Some(font)) = frame.fonts.get(&name) {
            while !rest.is_empty() {
                let (glyph, after) = font.next(rest);
                rest = after;
                shown.push_str(&glyph.text);
                let word = if glyph.space { frame.state.word_spacing } else { 0.0 };
                width += (glyph.width * frame.state.size + frame.state.spacing + word) * frame.state.scale;
            }
        }
        frame.forward(width);
        if !shown.is_empty() {
            self.layout.add(&shown, start, frame.device(), self.text);
        }
    }

    fn form(&mut self, name: Option<&Object>, frame: &mut Frame<'a>) {
        let document = self.document;
        if frame.depth >= DEPTH_MAX || *self.left == 0 {
            return;
        }
        let objects = frame.resources.and_then(|all| all.get_deref(b"XObject", document).ok()?.as_dict().ok());
        let name = name.and_then(|name| name.as_name().ok()).unwrap_or_default();
        let Some(stream) = objects.and_then(|all| all.get_deref(name, document).ok()?.as_stream().ok()) else { return };
        if !stream.dict.get(b"Subtype").and_then(Object::as_name).is_ok_and(|kind| kind == b"Form") {
            return;
        }
        let Ok(contents) = stream.decompressed_content_with_limit(STREAM_MAX.min(*self.left)) else { return };
        let resources = stream.dict.get_deref(b"Resources", document).and_then(Object::as_dict).ok();
        let matrix = stream.dict.get_deref(b"Matrix", document).and_then(Object::as_array).ok();
        let matrix = matrix.filter(|matrix| matrix.len() == 6).map_or(Map::SAME, |matrix| Map(numbers(matrix)));
        self.contents(&contents, resources.or(frame.resources), matrix.then(frame.state.page), frame.depth + 1);
    }
}

fn font<'a>(resources: Option<&'a Dictionary>, name: &[u8], document: &'a Document) -> Option<Font<'a>> {
    let fonts = resources?.get_deref(b"Font", document).ok()?.as_dict().ok()?;
    Some(Font::new(fonts.get_deref(name, document).ok()?.as_dict().ok()?, document))
}

impl Frame<'_> {
    fn set(&mut self, operator: &str, operands: &[Object]) {
        let [first, second, ..]: [f64; 6] = numbers(operands);
        match operator {
            "BT" => (self.line, self.place) = (Map::SAME, Map::SAME),
            "Tm" => (self.line, self.place) = (Map(numbers(operands)), Map(numbers(operands))),
            "Td" => self.move_line(first, second),
            "TD" => {
                self.state.leading = -second;
                self.move_line(first, second);
            }
            "T*" => self.next_line(),
            "Tc" => self.state.spacing = first,
            "Tw" => self.state.word_spacing = first,
            "Tz" => self.state.scale = first / 100.0,
            "TL" => self.state.leading = first,
            "Ts" => self.state.rise = first,
            "cm" => self.state.page = Map(numbers(operands)).then(self.state.page),
            "q" if self.saved.len() < SAVED_MAX => self.saved.push(self.state.clone()),
            "Q" => self.state = self.saved.pop().unwrap_or_else(|| self.state.clone()),
            _ => (),
        }
    }

    fn move_line(&mut self, x: f64, y: f64) {
        self.line = Map::shift(x, y).then(self.line);
        self.place = self.line;
    }

    fn next_line(&mut self) {
        self.move_line(0.0, -self.state.leading);
    }

    fn forward(&mut self, by: f64) {
        self.place = Map::shift(by, 0.0).then(self.place);
    }

    /// From the space of a glyph of size 1 to the page.
    fn device(&self) -> Map {
        let state = &self.state;
        Map([state.size * state.scale, 0.0, 0.0, state.size, 0.0, state.rise]).then(self.place).then(state.page)
    }
}

/// The first numbers among operands; what is missing or none is 0.
fn numbers<const N: usize>(operands: &[Object]) -> [f64; N] {
    let mut numbers = [0.0; N];
    for (number, operand) in numbers.iter_mut().zip(operands) {
        *number = operand.as_float().map(f64::from).unwrap_or_default();
    }
    numbers
}
