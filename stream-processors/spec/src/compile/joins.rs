//! `join`: tables found, their keys and times checked, their fields made names.

use super::sources::{Compiled, schema_of};
use super::{Compiler, TENANT_FIELD};
use crate::cel::check::{self, Checked, Place, Scope};
use crate::file;
use crate::join::{Join, Table};
use crate::near;
use crate::problem::Problem;
use std::collections::BTreeSet;
use std::sync::Arc;
use tidemark_core::value::Type;

/// A join whose table's fields are names already; which of them are used is known at the end.
pub(super) struct Begun<'c> {
    file: &'c file::Join,
    compiled: &'c Compiled,
    on: Checked,
}

/// What is said of a field of a table that an expression names in vain.
fn usable(kind: &Result<Type, String>) -> Result<Type, String> {
    match kind {
        Ok(Type::Bytes) => Err("bytes of a table cannot be used in expressions".to_owned()),
        kind => kind.clone(),
    }
}

impl<'c> Compiler<'c> {
    /// Checks the joins and names the fields of their tables, all of them nullable: there may be no row.
    pub(super) fn joins(&mut self) -> Vec<Begun<'c>> {
        let (file, tables) = (self.file, self.tables);
        let mut begun: Vec<Begun<'c>> = Vec::new();
        let mut names: Vec<(String, Result<Type, String>)> = Vec::new();
        // Tables and joins are of one length: a table that is missing was told, and nothing is compiled.
        for (join, compiled) in file.joins.iter().zip(tables) {
            let prefix = format!("{}.", join.name);
            if self.fields.iter().any(|field| *field == join.name || field.starts_with(&prefix)) {
                let what = format!("`{}` is a field of the source already", join.name);
                self.problems.push(Problem::new(join.at, what).fix("give the join another name"));
            }
            let key =
                self.table_field(compiled, &join.key, &format!("join.{}.key", join.name), &[Type::Text, Type::Long]);
            if let Some(time) = &join.time {
                self.table_field(compiled, time, &format!("join.{}.time", join.name), &[Type::Time]);
            }
            let on = self.check(&join.on);
            let fields = compiled.source.fields.iter();
            names.extend(fields.map(|field| (format!("{prefix}{}", field.name), usable(&field.kind))));
            let (Some(key), Some(on)) = (key, on) else { continue };
            if on.kind.kind != Some(key) {
                let (name, key) = (&join.key.value, key.name());
                let what = format!(
                    "`join.{}.on` is {}, and the key `{name}` of {} is {key}",
                    join.name,
                    on.kind.name(),
                    compiled.topic
                );
                let fix =
                    format!("write an expression that is {key}: {}", if key == "int" { "int(x)" } else { "string(x)" });
                self.problems.push(Problem::new(join.on.place(0), what).fix(fix));
            }
            begun.push(Begun { file: join, compiled, on });
        }
        // Only now: `on` is of the stream's record alone.
        for (number, (name, kind)) in names.iter().enumerate() {
            self.scope.add(name, kind.clone(), true, Place::Let(number));
        }
        self.joined = names.into_iter().map(|(name, _)| name).collect();
        begun
    }

    /// Type of a field of a table, which must be one of these.
    fn table_field(
        &mut self,
        table: &Compiled,
        placed: &file::Placed<String>,
        what: &str,
        kinds: &[Type],
    ) -> Option<Type> {
        let name = &placed.value;
        let Some(field) = table.source.field(name) else {
            let fix =
                near::advice(name, table.source.fields.iter().map(|field| field.name.as_str()).collect::<Vec<_>>());
            let problem =
                Problem::new(placed.at, format!("`{what}` names `{name}`, which is no field of {}", table.topic));
            self.problems.push(problem.fix(fix));
            return None;
        };
        match &field.kind {
            Ok(kind) if kinds.contains(kind) => Some(*kind),
            found => {
                let wanted: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
                let found = found.as_ref().map_or("of a type that cannot be used", |kind| kind.name());
                let problem = format!("`{what}` takes {}; `{name}` is {found}", wanted.join(" or "));
                self.problems.push(Problem::new(placed.at, problem));
                None
            }
        }
    }

    /// Whether records of a tenant see its own rows of a table: both say whose theirs are.
    fn of_tenant(&self, table: &Compiled) -> bool {
        let of_table = table.source.field(TENANT_FIELD).is_some_and(|field| field.kind == Ok(Type::Text));
        of_table && self.tenant().is_some()
    }

    /// The joins as they stand in the specification.
    pub(super) fn join_texts(&self) -> impl Iterator<Item = String> {
        self.file.joins.iter().zip(self.tables).map(|(join, table)| {
            let time = join.time.as_ref().map(|time| time.value.as_str());
            let of_tenant = self.of_tenant(table);
            Join::text(&join.name, &join.table.value, &join.key.value, join.on.text.trim(), time, of_tenant)
        })
    }

    /// The joins, whose rows have the fields that are used and no others, and the new number of each name in front of the `let`s.
    pub(super) fn joined(&self, begun: Vec<Begun<'c>>) -> (Vec<Join>, Vec<usize>) {
        let used: BTreeSet<usize> = self.used_joined.clone();
        let numbers = (0..self.joined.len()).map(|old| used.iter().take_while(|number| **number < old).count());
        let join = |Begun { file, compiled, on }: Begun<'c>| {
            let prefix = format!("{}.", file.name);
            let named = |number: &usize| self.joined.get(*number)?.strip_prefix(&prefix).map(str::to_owned);
            let fields: Vec<String> = used.iter().filter_map(named).collect();
            let (key, time) = (file.key.value.clone(), file.time.as_ref().map(|time| time.value.clone()));
            let tenant = self.of_tenant(compiled).then(|| TENANT_FIELD.to_owned());
            let all: BTreeSet<String> = fields.iter().chain([&key]).chain(&time).chain(&tenant).cloned().collect();
            let wanted: Vec<String> = all.into_iter().collect();
            let slot = |name: &String| wanted.iter().position(|known| known == name).unwrap_or(usize::MAX);
            let (row, walk) = (fields.iter().map(slot).collect(), compiled.source.walk(&wanted, &[]));
            let (at, of) = (time.as_ref().map(slot), tenant.as_ref().map(slot));
            let table = Table::new(&compiled.topic, schema_of(compiled), walk, slot(&key), of, at, row);
            Join { name: file.name.clone(), on, table: Arc::new(table), key, time, fields }
        };
        (begun.into_iter().map(join).collect(), numbers.collect())
    }

    /// What expressions are told that names are.
    pub(super) fn scope_of(sources: &[Compiled], joins: &[file::Join]) -> Scope {
        let topics: Vec<&str> = sources.iter().map(Compiled::name).collect();
        let besides = if joins.is_empty() { "nor `let`" } else { "nor of a table, nor `let`" };
        check::Scope::new(format!("field of {} ({besides})", topics.join(", ")))
    }
}
