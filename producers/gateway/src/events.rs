//! The records of a request for a topic with a schema of its own.

use crate::batch::Collector;
use crate::form::{DEPTH_MAX, Encoder, Form, TooMany, VALUES_MAX};
use crate::json::Records;
use crate::problem::{Kind, Problem};
use crate::rule::{Finding, Rule};

/// Takes the records of a body as events of a form.
pub(crate) struct Events<'f, 'c, 'd> {
    encoder: Encoder<'f>,
    records: &'c mut Collector<'d>,
}

impl<'f, 'c, 'd> Events<'f, 'c, 'd> {
    pub(crate) fn new(form: &'f Form, records: &'c mut Collector<'d>) -> Self {
        Self { encoder: Encoder::new(form), records }
    }
}

impl Records for Events<'_, '_, '_> {
    /// One more for the array of records.
    const DEPTH_MAX: usize = DEPTH_MAX + 1;

    fn take(&mut self, text: &str, line: Option<usize>) -> Result<(), Problem> {
        let encoder = &mut self.encoder;
        self.records.put(line, |id, out| {
            let text = text.trim_ascii();
            // What begins as an object is read as one; anything else of a line need not be JSON at all.
            if !text.starts_with('{')
                && let Err(error) = serde_json::from_str::<&serde_json::value::RawValue>(text)
            {
                let fix = "send one valid JSON object per record";
                return Ok((id, vec![Finding::whole(Rule::Malformed, format!("not JSON: {error}"), fix)]));
            }
            encoder.event(text, id, out).map_err(|TooMany| too_many())
        })
    }
}

fn too_many() -> Problem {
    let detail = format!(
        "more than {VALUES_MAX} values would be looked at in one body; nothing was accepted, send fewer records at a time"
    );
    Problem::new(Kind::TooManyRecords, detail)
}
