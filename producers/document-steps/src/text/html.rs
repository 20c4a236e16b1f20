//! Text of HTML, by the tokenizer of a browser. No tree is built: what a tree would cost grows with the depth of the document, while this
//! is one pass in constant memory but for the token in hand.

use std::cell::{Cell, RefCell};
use std::io::Read;

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::{Rawtext, Rcdata, ScriptData};
use html5ever::tokenizer::{
    BufferQueue, CharacterTokens, StartTag, Tag, TagToken, Token, TokenSink, TokenSinkResult, Tokenizer,
};

use super::{TITLE_MAX, Text, decode};
use crate::fault::Fault;
use crate::input::Context;

/// The most bytes that are read; a token, which is held, cannot be longer.
const READ_MAX: u64 = 32 << 20;

pub(super) fn read(context: &Context, encoding: Option<&str>) -> Result<Text, Fault> {
    let tokenizer = Tokenizer::new(Sink::default(), Default::default());
    let queue = BufferQueue::default();
    let mut contents = context.open()?.take(READ_MAX + 1);
    decode::each(&mut contents, encoding, |piece| {
        queue.push_back(StrTendril::from_slice(piece));
        // The sink asks for no script and no encoding: each call takes all.
        let _ = tokenizer.feed(&queue);
        !tokenizer.sink.text.borrow().full()
    })?;
    tokenizer.end();
    let mut text = tokenizer.sink.text.into_inner();
    if contents.limit() == 0 {
        text.cut();
    }
    text.title = Some(tokenizer.sink.title.into_inner());
    Ok(text)
}

#[derive(Default)]
struct Sink {
    text: RefCell<Text>,
    title: RefCell<String>,
    author: Cell<bool>,
    /// Inside an element whose characters are no text: its name.
    hidden: RefCell<Option<String>>,
    /// Inside `pre`, where white space counts.
    preformatted: Cell<u32>,
    in_title: Cell<bool>,
    titled: Cell<bool>,
}

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        match token {
            CharacterTokens(characters) => self.characters(&characters),
            TagToken(tag) if tag.kind == StartTag => return self.start(&tag),
            TagToken(tag) => self.end(&tag.name),
            _ => (),
        }
        TokenSinkResult::Continue
    }
}

impl Sink {
    fn characters(&self, characters: &str) {
        if self.in_title.get() {
            let mut title = self.title.borrow_mut();
            let room = (TITLE_MAX * 4).saturating_sub(title.len());
            title.extend(characters.chars().take(room));
        } else if self.hidden.borrow().is_none() {
            self.text.borrow_mut().flow(characters, self.preformatted.get() > 0);
        }
    }

    fn start(&self, tag: &Tag) -> TokenSinkResult<()> {
        let name = &*tag.name;
        if self.hidden.borrow().is_some() {
            return TokenSinkResult::Continue;
        }
        match name {
            "title" if !self.titled.get() => self.in_title.set(true),
            "meta" => self.meta(tag),
            "pre" => self.preformatted.set(self.preformatted.get().saturating_add(1)),
            "td" | "th" => self.text.borrow_mut().cell(),
            "br" => self.text.borrow_mut().push_char('\n'),
            "script" | "style" | "title" | "textarea" | "iframe" | "noembed" | "noframes" | "template" | "xmp" => {
                *self.hidden.borrow_mut() = Some(name.to_owned());
            }
            _ => (),
        }
        self.block(name);
        match name {
            "script" => TokenSinkResult::RawData(ScriptData),
            "title" | "textarea" => TokenSinkResult::RawData(Rcdata),
            "style" | "iframe" | "noembed" | "noframes" | "xmp" => TokenSinkResult::RawData(Rawtext),
            _ => TokenSinkResult::Continue,
        }
    }

    fn end(&self, name: &str) {
        let was = self.hidden.borrow().clone();
        if was.as_deref() == Some(name) {
            *self.hidden.borrow_mut() = None;
        }
        match name {
            "title" if self.in_title.get() => {
                self.in_title.set(false);
                self.titled.set(true);
            }
            "pre" => self.preformatted.set(self.preformatted.get().saturating_sub(1)),
            _ => (),
        }
        if was.is_none() {
            self.block(name);
        }
    }

    fn block(&self, name: &str) {
        match name {
            "p" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "blockquote" | "table" | "ul" | "ol" | "dl" | "pre" => {
                self.text.borrow_mut().paragraph();
            }
            "address" | "article" | "aside" | "body" | "caption" | "dd" | "details" | "dialog" | "div" | "dt"
            | "fieldset" | "figcaption" | "figure" | "footer" | "form" | "head" | "header" | "hr" | "html"
            | "legend" | "li" | "main" | "nav" | "option" | "section" | "summary" | "tr" => {
                self.text.borrow_mut().line()
            }
            _ => (),
        }
    }

    fn meta(&self, tag: &Tag) {
        let value =
            |name: &str| tag.attrs.iter().find(|attribute| &*attribute.name.local == name).map(|found| &*found.value);
        if !self.author.get() && value("name").is_some_and(|name| name.eq_ignore_ascii_case("author")) {
            self.author.set(true);
            self.text.borrow_mut().author = value("content").map(|author| author.chars().take(TITLE_MAX * 4).collect());
        }
    }
}

impl Text {
    /// Characters in the flow of a page: white space is one space, and none where a line begins.
    fn flow(&mut self, characters: &str, preformatted: bool) {
        for c in characters.chars() {
            if preformatted || !matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{c}') {
                self.push_char(c);
            } else if !self.text.is_empty() && !self.text.ends_with([' ', '\n', '\t']) {
                self.push_char(' ');
            }
        }
    }

    /// A blank line before what comes, unless nothing has come.
    fn paragraph(&mut self) {
        self.line();
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.push_char('\n');
        }
    }

    /// A tab between the cells of a row.
    fn cell(&mut self) {
        while self.text.ends_with(' ') {
            self.text.pop();
        }
        if !self.text.is_empty() && !self.text.ends_with(['\n', '\t']) {
            self.push_char('\t');
        }
    }
}
