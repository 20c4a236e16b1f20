//! What is asked of the index.

use std::collections::BTreeMap;
use std::ops::Bound;

use tantivy::collector::TopDocs;
use tantivy::query::{AllQuery, BooleanQuery, EmptyQuery, FuzzyTermQuery, Query, QueryParser, RangeQuery};
use tantivy::schema::{Field, Term, Value};
use tantivy::{TantivyDocument, TantivyError};

use super::{Index, STATES, exact};
use crate::document::Shown;

/// The order of a list: the newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Order {
    /// By the first upload, which never changes: paging shows each document once, whatever becomes of it meanwhile.
    #[default]
    Uploaded,
    /// By the last change: a document that changes comes to the front.
    Changed,
}

/// Which documents are wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    pub(crate) tenant: String,
    pub(crate) state: Option<String>,
    pub(crate) media_type: Option<String>,
    pub(crate) owner: Option<String>,
    /// Words of the name, the last one as far as it is written.
    pub(crate) name: Option<String>,
    /// Full text, in tantivy's query language.
    pub(crate) text: Option<String>,
    pub(crate) order: Order,
    /// Only those behind this place.
    pub(crate) after: Option<String>,
    pub(crate) limit: usize,
}

/// A page.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) documents: Vec<Shown>,
    /// The place of the last one, when there are more.
    pub(crate) next: Option<String>,
    /// By state, of all that fit but for the state.
    pub(crate) counts: BTreeMap<&'static str, usize>,
}

/// Why it cannot be answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Query(#[from] tantivy::query::QueryParserError),
    #[error(transparent)]
    Index(#[from] TantivyError),
}

impl Index {
    /// A page of documents. Blocks.
    pub(crate) fn list(&self, asked: &Asked) -> Result<Found, Error> {
        let filters = self.filters(asked)?;
        let with = |more: Vec<Box<dyn Query>>| {
            let own = filters.iter().map(|query| query.box_clone());
            BooleanQuery::intersection(own.chain(more).collect())
        };
        let counts = STATES.map(|state| (state, self.count(&with(vec![exact(self.fields.state, state)]))));
        let mut page: Vec<Box<dyn Query>> = Vec::new();
        page.extend(asked.state.as_deref().map(|state| exact(self.fields.state, state)));
        let (field, column) = match asked.order {
            Order::Uploaded => (self.fields.uploaded, "uploaded"),
            Order::Changed => (self.fields.changed, "changed"),
        };
        page.extend(asked.after.as_deref().map(|after| behind(field, after)));
        let (documents, next) = self.page(&with(page), column, asked.limit)?;
        Ok(Found { documents, next, counts: counts.into() })
    }

    fn page(&self, query: &dyn Query, column: &str, limit: usize) -> Result<(Vec<Shown>, Option<String>), Error> {
        let searcher = self.reader.searcher();
        let top = TopDocs::with_limit(limit + 1).order_by_string_fast_field(column, tantivy::Order::Desc);
        let mut hits = searcher.search(query, &top)?;
        let has_more = hits.len() > limit;
        hits.truncate(limit);
        let next = hits.last().and_then(|(place, _)| place.clone()).filter(|_| has_more);
        let documents = hits.into_iter().map(|(_, at)| {
            let entry: TantivyDocument = searcher.doc(at)?;
            let json = entry.get_first(self.fields.row).and_then(|row| row.as_str()).unwrap_or_default();
            let broken = |error| TantivyError::InternalError(format!("a row of the index cannot be read: {error}"));
            serde_json::from_str(json).map_err(broken).map_err(Error::from)
        });
        Ok((documents.collect::<Result<_, _>>()?, next))
    }

    /// All but state and place.
    fn filters(&self, asked: &Asked) -> Result<Vec<Box<dyn Query>>, Error> {
        let mut all = vec![exact(self.fields.tenant, &asked.tenant)];
        all.extend(asked.media_type.as_deref().map(|value| exact(self.fields.media_type, value)));
        all.extend(asked.owner.as_deref().map(|value| exact(self.fields.owner, value)));
        if let Some(name) = &asked.name {
            all.push(self.named(name)?);
        }
        if let Some(text) = &asked.text {
            let mut parser = QueryParser::for_index(&self.index, vec![self.fields.text, self.fields.name]);
            parser.set_conjunction_by_default();
            all.push(parser.parse_query(text)?);
        }
        Ok(all)
    }

    fn named(&self, name: &str) -> Result<Box<dyn Query>, Error> {
        let mut words: Vec<String> = Vec::new();
        let mut analyzer = self.index.tokenizer_for_field(self.fields.name)?;
        analyzer.token_stream(name).process(&mut |token| words.push(token.text.clone()));
        let Some(last) = words.pop() else {
            // Nothing but dots and spaces: no name has such a word.
            return Ok(if name.trim().is_empty() { Box::new(AllQuery) } else { Box::new(EmptyQuery) });
        };
        let mut all: Vec<Box<dyn Query>> = words.iter().map(|word| exact(self.fields.name, word)).collect();
        let begun = Term::from_field_text(self.fields.name, &last);
        all.push(Box::new(FuzzyTermQuery::new_prefix(begun, 0, true)));
        Ok(Box::new(BooleanQuery::intersection(all)))
    }
}

fn behind(field: Field, place: &str) -> Box<dyn Query> {
    Box::new(RangeQuery::new(Bound::Unbounded, Bound::Excluded(Term::from_field_text(field, place))))
}
