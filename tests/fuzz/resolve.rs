//! Data of strangers' schemas, read as one of ours: `kind, schema, NUL, datum`. What comes out is a record of ours, and written
//! again it says the same (arrays in other blocks and decimals of other lengths stay as the writer wrote them); where Apache's
//! library resolves it too, it says the same.

use crate::corpus::fuzz;
use crate::datum::{KINDS, apache, apaches, schemas, without_uuid};
use tidemark_schemas::resolve::{Plan, parse};

fn check(input: &[u8]) -> Result<(), String> {
    let Some((kind, rest)) = input.split_first() else { return Ok(()) };
    let (schema, datum) = rest.split_at(rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len()));
    let datum = datum.get(1..).unwrap_or_default();
    let kind = usize::from(*kind) % KINDS.len();
    let (reader, (ours, again)) = (&schemas()[kind], &KINDS[kind]);
    let Ok(text) = std::str::from_utf8(schema) else { return Ok(()) };
    let Ok(writer) = parse(text) else { return Ok(()) };
    let plan = Plan::new(&writer, reader, true);
    let mut out = Vec::new();
    if plan.run(datum, &mut out).is_err() {
        return Ok(());
    }
    if plan.refusal().is_some() {
        return Err("data were read that the plan refuses".into());
    }
    let read = match again(&out) {
        Ok(read) => read,
        // Longer than the precision of its schema allows: no value of the writer's either. Our records refuse it; the resolver,
        // which copies bytes, and Apache's library do not look.
        Err(error) if error.starts_with("decimal has ") => return Ok(()),
        Err(error) => return Err(format!("what was resolved is no {}: {error}", ours.name)),
    };
    let value = |bytes: &[u8]| {
        apache(&apaches()[kind], None, bytes).map_err(|error| format!("{bytes:02x?} is not read: {error}"))
    };
    let (resolved, again) = (value(&out)?, value(&read)?);
    if resolved != again {
        return Err(format!("what was resolved to {} is {resolved:?}, and written again {again:?}", ours.name));
    }
    let theirs = parse(&without_uuid(text)).and_then(|writer| apache(&writer, Some(&apaches()[kind]), datum));
    match theirs {
        Ok(theirs) if theirs != resolved => Err(format!("apache-avro resolves to {theirs:?}, we to {resolved:?}")),
        _ => Ok(()),
    }
}

#[test]
fn data_of_other_schemas() {
    schemas();
    apaches();
    fuzz("resolve", check);
}
