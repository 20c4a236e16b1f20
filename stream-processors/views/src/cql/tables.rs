//! Making the keyspace and tables, and refusing those of other columns.

use std::collections::BTreeSet;

use super::CqlViews;
use super::bind::{BadCell, Bound, Cells, quoted};
use super::session::unreadable;
use crate::{Error, ViewSpec, check};

/// A column as `system_schema.columns` has it: name, kind, position in its key or −1, type, order in its key.
type Described = (String, String, i32, String, String);

const PARTITION_KEY: [(&str, &str); 3] = [("tenant", "text"), ("window_start", "bigint"), ("merge_partition", "int")];
const VERSION: [(&str, &str); 3] = [("epoch", "int"), ("revision", "bigint"), ("written_at", "bigint")];

/// Suffix and columns. `entry` is the Avro record and all that is read; the plain columns are for people. A view's entries are in
/// one partition, which its name keeps apart from the others' when tables are exported together.
pub(super) const LEDGER: (&str, &str) = (
    check::SUFFIXES[0],
    "view_name text, window_start bigint, merge_partition int, window_end bigint, records bigint, late bigint, \
     held bigint, amended boolean, sealed boolean, epoch int, revision bigint, entry blob, \
     PRIMARY KEY ((view_name), window_start, merge_partition)",
);
pub(super) const PROGRESS: (&str, &str) = (
    check::SUFFIXES[1],
    "view_name text, merge_partition int, as_of bigint, epoch int, revision bigint, entry blob, \
     PRIMARY KEY ((view_name), merge_partition)",
);
/// `entry` is JSON.
const CATALOG: &str = "scope text, view_name text, entry text, PRIMARY KEY ((scope), view_name)";

impl CqlViews {
    pub(super) async fn create_shared(&self, replication_factor: u32) -> Result<(), Error> {
        let about = ViewSpec { name: self.keyspace.clone(), clustering: vec![], values: vec![], retention_ms: 0 };
        let keyspace = quoted(&self.keyspace);
        let replication = format!("{{'class': 'NetworkTopologyStrategy', 'replication_factor': {replication_factor}}}");
        let text = format!("CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = {replication}");
        self.session.change_schema(&about, &text).await?;
        let text = format!("CREATE TABLE IF NOT EXISTS {} ({CATALOG})", self.table("catalog"));
        self.make_table(&about, "catalog", &text).await
    }

    pub(super) async fn create_view(&self, view: &ViewSpec) -> Result<(), Error> {
        check::spec(view)?;
        for (suffix, columns) in [LEDGER, PROGRESS] {
            let name = format!("{}{suffix}", view.name);
            let text = format!("CREATE TABLE IF NOT EXISTS {} ({columns})", self.table(&name));
            self.make_table(view, &name, &text).await?;
        }
        self.make_table(view, &view.name, &create_table(view, &self.table(&view.name))).await?;
        let (there, wanted) = (self.described(view, &view.name).await?, expected(view));
        if there == wanted {
            return Ok(());
        }
        let differ: Vec<_> = there.symmetric_difference(&wanted).map(|column| column.0.as_str()).collect();
        let reason = "its table exists with other columns; use another name (a new job version) for other columns";
        Err(check::invalid(view, format!("{reason}; these differ: {}", differ.join(", "))))
    }

    /// Makes the table unless it is there, and waits until statements can use it.
    async fn make_table(&self, view: &ViewSpec, name: &str, create: &str) -> Result<(), Error> {
        // Asked for first: on Cassandra, nodes that make one table at the same time can disagree about it.
        if self.described(view, name).await?.is_empty() {
            self.session.change_schema(view, create).await?;
        }
        // Another process may have begun to make it: a node describes a table a little before it takes statements on it.
        self.session.wait_for_schema(view, &format!("SELECT * FROM {} LIMIT 1", self.table(name))).await
    }

    pub(super) async fn drop_view_tables(&self, view: &ViewSpec) -> Result<(), Error> {
        for suffix in ["", LEDGER.0, PROGRESS.0] {
            let name = self.table(&format!("{}{suffix}", view.name));
            self.session.change_schema(view, &format!("DROP TABLE IF EXISTS {name}")).await?;
        }
        Ok(())
    }

    /// Whether the view has a table of this suffix.
    pub(super) async fn has_table(&self, view: &ViewSpec, suffix: &str) -> Result<bool, Error> {
        Ok(!self.described(view, &format!("{}{suffix}", view.name)).await?.is_empty())
    }

    async fn described(&self, view: &ViewSpec, table: &str) -> Result<BTreeSet<Described>, Error> {
        let text = "SELECT column_name, kind, position, type, clustering_order FROM system_schema.columns \
                    WHERE keyspace_name = ? AND table_name = ?";
        let values = vec![Bound::Text(&self.keyspace), Bound::Text(table)];
        let rows = self.session.read(view, text, values).await?;
        rows.into_iter().map(|row| describe(Cells::of(row)).map_err(|e| unreadable(view, e))).collect()
    }
}

fn describe(mut cells: Cells) -> Result<Described, BadCell> {
    Ok((cells.text()?, cells.text()?, cells.int()?, cells.text()?, cells.text()?))
}

/// What `system_schema.columns` says of a table made by [`create_table`]. JSON is text there.
fn expected(view: &ViewSpec) -> BTreeSet<Described> {
    let column = |name: &str, kind: &str, at: i32, cql: &str, order: &str| {
        (name.to_owned(), kind.to_owned(), at, cql.to_owned(), order.to_owned())
    };
    let partition = (0..).zip(PARTITION_KEY).map(|(at, (name, cql))| column(name, "partition_key", at, cql, "none"));
    let clustering = (0..).zip(&view.clustering).map(|(at, c)| column(&c.name, "clustering", at, c.kind.cql(), "asc"));
    let values = view.values.iter().map(|c| column(&c.name, "regular", -1, c.kind.cql(), "none"));
    let version = VERSION.map(|(name, cql)| column(name, "regular", -1, cql, "none"));
    partition.chain(clustering).chain(values).chain(version).collect()
}

fn create_table(view: &ViewSpec, table: &str) -> String {
    let own = PARTITION_KEY.iter().chain(&VERSION).map(|(name, cql)| format!("{} {cql}", quoted(name)));
    let columns = view.clustering.iter().chain(&view.values).map(|c| format!("{} {}", quoted(&c.name), c.kind.cql()));
    let columns: Vec<_> = own.chain(columns).collect();
    let clustering: String = view.clustering.iter().map(|c| format!(", {}", quoted(&c.name))).collect();
    let key = "\"tenant\", \"window_start\", \"merge_partition\"";
    format!("CREATE TABLE IF NOT EXISTS {table} ({}, PRIMARY KEY (({key}){clustering}))", columns.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Column, Kind};

    #[test]
    fn a_table_is_derived_from_its_spec() {
        let column = |name: &str, kind| Column { name: name.into(), kind };
        let view = ViewSpec {
            name: "flows_hourly_v1".into(),
            clustering: vec![column("src_app", Kind::Text)],
            values: vec![column("bytes_rx", Kind::Integer)],
            retention_ms: 1_000,
        };
        let text = "CREATE TABLE IF NOT EXISTS t (\"tenant\" text, \"window_start\" bigint, \"merge_partition\" int, \
                    \"epoch\" int, \"revision\" bigint, \"written_at\" bigint, \"src_app\" text, \"bytes_rx\" varint, \
                    PRIMARY KEY ((\"tenant\", \"window_start\", \"merge_partition\"), \"src_app\"))";
        assert_eq!(create_table(&view, "t"), text);
    }
}
