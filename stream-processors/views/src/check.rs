//! What both stores refuse alike, before anything is written.

use crate::{Column, Error, Revision, Row, RowPartition, RowQuery, Unfit, Value, ViewSpec};

/// CQL's longest time to live, 20 years of 365 days.
const MAX_RETENTION_MS: i64 = 20 * 365 * 86_400_000;
/// CQL's longest name.
const MAX_NAME_BYTES: usize = 48;
/// What the names of a view's other tables end in.
pub(crate) const SUFFIXES: [&str; 2] = ["_ledger", "_progress"];
/// So that its other tables have a name too.
const MAX_VIEW_NAME_BYTES: usize = MAX_NAME_BYTES - "_progress".len();
/// Far more than a view needs; bounds statements and keys.
const MAX_COLUMNS: usize = 64;
/// Both stores hold keys of 65,535 bytes; locally each NUL in a text takes two.
const MAX_KEY_TEXT_BYTES: usize = 30_000;
/// Columns that every view has.
const OWN_COLUMNS: [&str; 6] = ["tenant", "window_start", "merge_partition", "epoch", "revision", "written_at"];
/// The table shared by all views.
const CATALOG: &str = "catalog";

/// An [`Error::Invalid`] about `view`.
pub(crate) fn invalid(view: &ViewSpec, reason: impl Into<String>) -> Error {
    Error::Invalid { view: view.name.clone(), reason: reason.into() }
}

fn ensure(ok: bool, view: &ViewSpec, reason: impl FnOnce() -> String) -> Result<(), Error> {
    if ok { Ok(()) } else { Err(invalid(view, reason())) }
}

/// A name that CQL takes between double quotes and people read without surprise.
pub(crate) fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME_BYTES
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// A name whose case does not matter, as CQL folds the case of table names that are not quoted.
pub(crate) fn is_lower_name(name: &str) -> bool {
    is_name(name) && !name.bytes().any(|b| b.is_ascii_uppercase())
}

/// Whether a view can be made of `view`.
pub(crate) fn spec(view: &ViewSpec) -> Result<(), Error> {
    parts(view).map_err(|unfit| invalid(view, unfit.to_string()))
}

/// The same, and what of it is unfit.
pub(crate) fn parts(view: &ViewSpec) -> Result<(), Unfit> {
    let ensure = |ok: bool, unfit: fn(String) -> Unfit, reason: &dyn Fn() -> String| {
        if ok { Ok(()) } else { Err(unfit(reason())) }
    };
    let is_free = view.name != CATALOG && !SUFFIXES.iter().any(|suffix| view.name.ends_with(suffix));
    let is_sound = is_lower_name(&view.name) && view.name.len() <= MAX_VIEW_NAME_BYTES && is_free;
    ensure(is_sound, Unfit::Name, &|| {
        format!(
            "a view's name is a-z, 0-9 and _, begins with a letter, has at most {MAX_VIEW_NAME_BYTES} bytes, is not {CATALOG} and ends \
             in neither {}",
            SUFFIXES.join(" nor ")
        )
    })?;
    ensure((1_000..=MAX_RETENTION_MS).contains(&view.retention_ms), Unfit::Retention, &|| {
        format!("retention is {} ms; choose 1,000 to {MAX_RETENTION_MS}", view.retention_ms)
    })?;
    let columns = || view.clustering.iter().chain(&view.values);
    ensure(columns().count() <= MAX_COLUMNS, Unfit::Columns, &|| format!("more than {MAX_COLUMNS} columns"))?;
    for (at, column) in columns().enumerate() {
        let name = column.name.as_str();
        let twice = columns().take(at).any(|other| other.name.eq_ignore_ascii_case(name));
        ensure(is_name(name) && !OWN_COLUMNS.contains(&name) && !twice, Unfit::Columns, &|| {
            let own = OWN_COLUMNS.join(", ");
            format!(
                "column {name}: names are letters, digits and _, begin with a letter, differ, and are none of {own}"
            )
        })?;
    }
    let unordered = view.clustering.iter().find(|column| !column.kind.can_cluster());
    unordered.map_or(Ok(()), |column| {
        let reason = format!(
            "clustering column {} is of kind {}; rows are ordered by text, long, integer, boolean or time: make it a value column",
            column.name,
            column.kind.name()
        );
        Err(Unfit::Columns(reason))
    })
}

/// Whether `row` fits the view.
pub(crate) fn row(view: &ViewSpec, row: &Row) -> Result<(), Error> {
    revision(view, row.revision)?;
    keys(view, &view.clustering, &row.clustering)?;
    kinds(view, &view.values, &row.values)?;
    key(view, &row.partition, &row.clustering)
}

/// Whether `query` can be asked of the view.
pub(crate) fn query(view: &ViewSpec, query: &RowQuery) -> Result<(), Error> {
    ensure((1..=100_000).contains(&query.limit), view, || {
        format!("limit is {}; ask for 1 to 100,000 rows", query.limit)
    })?;
    let named = view.clustering.get(..query.prefix.len());
    keys(view, named.ok_or_else(|| invalid(view, "the prefix is longer than the clustering key"))?, &query.prefix)?;
    key(view, &query.partition, &query.prefix)?;
    let Some(after) = &query.after else {
        return Ok(());
    };
    keys(view, &view.clustering, after)?;
    key(view, &query.partition, after)
}

/// Whether the revision fits a CQL write timestamp.
pub(crate) fn revision(view: &ViewSpec, revision: Revision) -> Result<(), Error> {
    let fits = (0..1 << 10).contains(&revision.epoch) && (0..1 << 40).contains(&revision.offset);
    ensure(fits, view, || format!("{revision:?} is out of range: the epoch is below 1,024 and the offset below 2^40"))
}

/// Values of clustering columns: of their kinds, and none of them missing.
fn keys(view: &ViewSpec, columns: &[Column], values: &[Value]) -> Result<(), Error> {
    let null = columns.iter().zip(values).find(|(_, value)| **value == Value::Null);
    ensure(null.is_none(), view, || {
        let name = null.map(|(column, _)| column.name.as_str()).unwrap_or_default();
        format!("clustering column {name:?} is null; a key has a value for each column: give it a default")
    })?;
    kinds(view, columns, values)
}

/// Values of their columns' kinds, or missing.
fn kinds(view: &ViewSpec, columns: &[Column], values: &[Value]) -> Result<(), Error> {
    let fits = |(column, value): (&Column, &Value)| value.kind().is_none_or(|kind| kind == column.kind);
    let fit = columns.len() == values.len() && columns.iter().zip(values).all(fits);
    ensure(fit, view, || {
        let named: Vec<String> = columns.iter().map(Column::to_string).collect();
        format!("{} values do not fit the columns {}", values.len(), named.join(", "))
    })
}

fn key(view: &ViewSpec, partition: &RowPartition, clustering: &[Value]) -> Result<(), Error> {
    let text = |value: &Value| {
        if let Value::Text(text) = value { text.len() } else { 0 }
    };
    let bytes = partition.tenant.len() + clustering.iter().map(text).sum::<usize>();
    ensure(bytes <= MAX_KEY_TEXT_BYTES, view, || {
        format!("the key has {bytes} bytes of text; at most {MAX_KEY_TEXT_BYTES} fit")
    })
}
