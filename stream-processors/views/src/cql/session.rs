//! One session with the store: connecting, running prepared statements, and what their errors mean.

use std::time::{Duration, Instant};

use scylla::client::caching_session::CachingSession;
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::{DbError, ExecutionError, PrepareError, RequestAttemptError};
use scylla::response::{PagingState, PagingStateResponse};
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::{Consistency, Statement};
use scylla::value::Row as CqlRow;

use super::CqlConfig;
use super::bind::Bound;
use crate::{Error, ViewSpec, check};

/// Finding a node, logging in and reading the cluster's metadata.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(9);
/// One statement, its tries on other nodes included. A node gives up after 2 seconds and says so.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(8);
/// A change of the schema waits for all nodes to agree.
const SCHEMA_TIMEOUT: Duration = Duration::from_secs(30);
/// Waiting for an agreement on somebody else's change; a cluster in health needs milliseconds.
const AGREE_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a statement on a table in the making is tried.
const SCHEMA_POLL: Duration = Duration::from_millis(50);
/// Prepared statements kept: a view has one for writes and some for each way of reading it.
const PREPARED: usize = 1_024;
/// Rows fetched at a time.
const PAGE_ROWS: i32 = 5_000;

pub(super) struct Session {
    driver: CachingSession,
    contact_points: String,
}

impl Session {
    pub(super) async fn connect(config: &CqlConfig) -> Result<Self, Error> {
        let contact_points = config.contact_points.join(", ");
        // LOCAL_QUORUM and the driver's default retry policy are said here once, for every statement.
        let profile = ExecutionProfile::builder()
            .consistency(Consistency::LocalQuorum)
            .request_timeout(None) // bounded in `answer`, preparing included
            .build();
        let mut builder = SessionBuilder::new()
            .known_nodes(&config.contact_points)
            .default_execution_profile_handle(profile.into_handle());
        if let Some(credentials) = &config.credentials {
            builder = builder.user(&credentials.user, &credentials.password);
        }
        let cannot = |why: String| {
            Error::Unavailable(format!(
                "cannot connect to the CQL store at {contact_points}: {why}; is it up, and are address and credentials right?"
            ))
        };
        let session = tokio::time::timeout(CONNECT_TIMEOUT, builder.build()).await;
        let session = session.map_err(|_| cannot(format!("no answer in {} s", CONNECT_TIMEOUT.as_secs())))?;
        let session = session.map_err(|e| cannot(e.to_string()))?;
        Ok(Self { driver: CachingSession::from(session, PREPARED), contact_points })
    }

    /// A change of the schema; returns once all nodes agree on it.
    pub(super) async fn change_schema(&self, view: &ViewSpec, text: &str) -> Result<(), Error> {
        let mut statement = Statement::new(text);
        statement.set_request_timeout(Some(SCHEMA_TIMEOUT));
        let done = self.driver.get_session().query_unpaged(statement, ()).await;
        done.map(drop).map_err(|e| self.failed(view, &e))
    }

    /// Waits until all nodes that can be asked agree on the schema and `text` can be prepared.
    pub(super) async fn wait_for_schema(&self, view: &ViewSpec, text: &str) -> Result<(), Error> {
        let session = self.driver.get_session();
        // A node that is down must not keep a process from starting: the others are enough for a quorum.
        let _ = tokio::time::timeout(AGREE_TIMEOUT, session.await_schema_agreement()).await;
        let deadline = Instant::now() + SCHEMA_TIMEOUT;
        loop {
            let refused = match tokio::time::timeout(REQUEST_TIMEOUT, session.prepare(text)).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(refused)) => refused,
                Err(_) => return Err(self.silent()),
            };
            // Cassandra answers "invalid" at first and, for a moment, "internal error: unknown table id".
            let answered =
                matches!(&refused, PrepareError::AllAttemptsFailed { first_attempt: RequestAttemptError::DbError(..) });
            if !answered || Instant::now() >= deadline {
                return Err(self.failed(view, &refused.into()));
            }
            tokio::time::sleep(SCHEMA_POLL).await;
        }
    }

    /// A single write.
    pub(super) async fn write(&self, view: &ViewSpec, text: &str, values: Vec<Bound<'_>>) -> Result<(), Error> {
        self.answer(view, self.driver.execute_unpaged(idempotent(text), values)).await.map(drop)
    }

    /// The same write with several rows of one partition: one message, applied as one mutation.
    pub(super) async fn write_batch(
        &self,
        view: &ViewSpec,
        text: &str,
        rows: Vec<Vec<Bound<'_>>>,
    ) -> Result<(), Error> {
        let insert = idempotent(text);
        let prepare = async { Ok(self.driver.add_prepared_statement(&insert).await?) };
        let prepared = self.answer(view, prepare).await?;
        let mut batch = Batch::new(BatchType::Unlogged);
        batch.set_is_idempotent(true);
        rows.iter().for_each(|_| batch.append_statement(prepared.clone()));
        self.answer(view, self.driver.batch(&batch, rows)).await.map(drop)
    }

    /// All rows of a query, page by page; the statement bounds them by `LIMIT` or by what it asks for.
    pub(super) async fn read(&self, view: &ViewSpec, text: &str, values: Vec<Bound<'_>>) -> Result<Vec<CqlRow>, Error> {
        let (mut rows, mut state) = (Vec::new(), PagingState::start());
        loop {
            let statement = idempotent(text).with_page_size(PAGE_ROWS);
            let page = self.driver.execute_single_page(statement, &values, state);
            let (page, next) = self.answer(view, page).await?;
            let page = page.into_rows_result().map_err(|e| unreadable(view, e))?;
            for row in page.rows::<CqlRow>().map_err(|e| unreadable(view, e))? {
                rows.push(row.map_err(|e| unreadable(view, e))?);
            }
            match next {
                PagingStateResponse::HasMorePages { state: more } => state = more,
                PagingStateResponse::NoMorePages => return Ok(rows),
            }
        }
    }

    /// Waits for an answer, within [`REQUEST_TIMEOUT`].
    async fn answer<T>(
        &self,
        view: &ViewSpec,
        call: impl Future<Output = Result<T, ExecutionError>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(REQUEST_TIMEOUT, call).await {
            Ok(done) => done.map_err(|e| self.failed(view, &e)),
            Err(_) => Err(self.silent()),
        }
    }

    fn silent(&self) -> Error {
        let waited = REQUEST_TIMEOUT.as_secs();
        Error::Unavailable(format!("CQL store at {}: no answer in {waited} s", self.contact_points))
    }

    fn failed(&self, view: &ViewSpec, error: &ExecutionError) -> Error {
        if is_refusal(error) {
            return check::invalid(
                view,
                format!("the CQL store refuses: {error}; was the view created, and with these columns?"),
            );
        }
        Error::Unavailable(format!("CQL store at {}: {error}", self.contact_points))
    }
}

fn idempotent(text: &str) -> Statement {
    let mut statement = Statement::new(text);
    statement.set_is_idempotent(true);
    statement
}

pub(super) fn unreadable(view: &ViewSpec, error: impl std::fmt::Display) -> Error {
    check::invalid(
        view,
        format!("what the CQL store holds cannot be read: {error}; drop its table and rebuild the view"),
    )
}

/// Whether the statement itself is at fault, so that another try is of no use.
fn is_refusal(error: &ExecutionError) -> bool {
    match error {
        ExecutionError::BadQuery(_) => true,
        ExecutionError::LastAttemptError(attempt)
        | ExecutionError::PrepareError(PrepareError::AllAttemptsFailed { first_attempt: attempt }) => {
            is_bad_attempt(attempt)
        }
        // The driver may add more; what is not known to be our fault is worth another try.
        _ => false,
    }
}

fn is_bad_attempt(error: &RequestAttemptError) -> bool {
    match error {
        RequestAttemptError::SerializationError(_) => true,
        RequestAttemptError::DbError(error, _) => {
            matches!(error, DbError::SyntaxError | DbError::Invalid | DbError::ConfigError | DbError::Unauthorized)
        }
        _ => false,
    }
}
