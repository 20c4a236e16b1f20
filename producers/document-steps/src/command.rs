//! A step as a command: standard input and environment in, one JSON value out.

use std::env;
use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;

use crate::fault::{Fault, failed};
use crate::{Context, Step, run};

/// Runs the step of that name (`D1` … `D5`) as a command of the step protocol and says how to exit: 0 with one JSON value on standard
/// output; 65 when the document is at fault, or 1, with one line on standard error.
pub fn main(name: &str) -> ExitCode {
    // A defect is told in the one line below, not in the runtime's report before it.
    panic::set_hook(Box::new(|_| ()));
    let outcome =
        panic::catch_unwind(AssertUnwindSafe(|| step(name))).unwrap_or_else(|panic| Err(defect(name, &*panic)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            // Nobody is left to be told if this fails.
            let _ = writeln!(io::stderr(), "{fault}");
            ExitCode::from(fault.exit())
        }
    }
}

fn step(name: &str) -> Result<(), Fault> {
    let step =
        Step::of(name).ok_or_else(|| failed(format!("there is no step {name:?}; the built-in steps are D1 to D5")))?;
    let output = run(step, &mut io::stdin().lock(), &context())?;
    let bytes = serde_json::to_vec(&output).map_err(|error| failed(format!("cannot write the output: {error}")))?;
    let mut out = io::stdout().lock();
    out.write_all(&bytes)
        .and_then(|()| out.flush())
        .map_err(|error| failed(format!("cannot write the output: {error}")))
}

fn context() -> Context {
    Context {
        contents: env::var_os("TIDEMARK_CONTENTS").map(Into::into),
        file_id: env::var("TIDEMARK_FILE_ID").ok().filter(|id| !id.is_empty()),
    }
}

fn defect(name: &str, panic: &(dyn std::any::Any + Send)) -> Fault {
    let why = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    failed(format!(
        "step {name} has a defect: {}; please report it with the document",
        why.unwrap_or("no reason given")
    ))
}
