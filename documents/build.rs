//! Lists the page's files, so that each is compiled in whatever it is called.

use std::fmt::Write;
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=page");
    println!("cargo:rerun-if-changed=build.rs");
    let root = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let mut files: Vec<_> = std::fs::read_dir(Path::new(&root).join("page"))
        .into_iter()
        .flatten()
        .flatten()
        // By its path, so that a link counts: the page shares some files with the dashboard.
        .filter(|entry| entry.path().is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.'))
        .collect();
    files.sort();
    let mut list = "&[\n".to_owned();
    for name in files {
        let path = Path::new(&root).join("page").join(&name);
        // Writing to a text does not fail.
        let _ = writeln!(list, "({name:?}, include_bytes!({:?}).as_slice()),", path.display().to_string());
    }
    list.push(']');
    let out = std::env::var("OUT_DIR").unwrap_or_default();
    if let Err(error) = std::fs::write(Path::new(&out).join("page.rs"), list) {
        println!("cargo:error=the list of the page's files cannot be written: {error}");
    }
}
