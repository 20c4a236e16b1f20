//! docs/jobs.md, as a reader follows it: every `sh` block is run, and every line of the `text` block after it must be in what was
//! said.

use crate::process::Tidemark;
use std::os::unix::fs::symlink;
use std::process::Command;
use tidemark_spec::View;
use tidemark_spec::view::Asked;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn doc() -> String {
    std::fs::read_to_string(format!("{ROOT}/docs/jobs.md")).unwrap()
}

/// The fenced blocks: language and text.
fn blocks(doc: &str) -> Vec<(&str, &str)> {
    let mut parts = doc.split("\n```");
    parts.next();
    parts.step_by(2).map(|block| block.split_once('\n').unwrap()).collect()
}

#[test]
fn each_command_of_the_tutorial_does_what_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let platform = Tidemark::start(&dir.path().join("data"), &["up"]);
    let work = dir.path().join("work");
    std::fs::create_dir(&work).unwrap();
    symlink(format!("{ROOT}/examples"), work.join("examples")).unwrap();
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_tidemark")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let (doc, mut commands, mut said) = (doc(), 0, String::new());
    for (language, text) in blocks(&doc) {
        match language {
            "sh" => {
                let ran = Command::new("bash")
                    .args(["-e", "-o", "pipefail", "-c", text])
                    .current_dir(&work)
                    .envs([("PATH", path.as_str()), ("TIDEMARK_URL", &platform.url)])
                    .output()
                    .unwrap();
                said = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
                assert!(ran.status.success(), "{text}\n{said}");
                commands += text.lines().count();
            }
            "text" => {
                for line in text.lines().filter(|line| !line.is_empty()) {
                    assert!(said.contains(line), "`{line}` is not in what was said:\n{said}");
                }
            }
            "yaml" => check_yaml(text),
            "console" => {
                // What is not run here is the start of the platform, and what a test in Rust says.
                let is_start = ["tidemark up", "export TIDEMARK_URL=http://127.0.0.1:8080"].contains(&text.trim());
                assert!(is_start || text.starts_with("Error: the view is not"), "{text}");
            }
            // The example, compared by the tests of `tidemark-spec`.
            "rust" => {}
            other => panic!("a block of language `{other}` is neither run nor compared"),
        }
    }
    assert!(commands >= 20, "only {commands} commands");
    platform.stop();
}

/// The schemas beside the examples.
struct Examples;

impl tidemark_spec::Topics for Examples {
    fn schema(&self, topic: &str) -> Result<Option<String>, String> {
        let folders = std::fs::read_dir(format!("{ROOT}/examples")).unwrap();
        let files = folders.map(|folder| folder.unwrap().path().join(format!("{topic}.avsc")));
        Ok(files.filter_map(|file| std::fs::read_to_string(file).ok()).next())
    }
    fn names(&self) -> Vec<String> {
        vec![]
    }
    fn view(&self, asked: &Asked<'_>) -> Result<Option<View>, String> {
        let folders = std::fs::read_dir(format!("{ROOT}/examples")).unwrap();
        let files = folders.map(|folder| folder.unwrap().path().join(format!("{}.yaml", asked.view)));
        let text = files.filter_map(|file| std::fs::read_to_string(file).ok()).next();
        let job = text.map(|text| tidemark_spec::compile("view.yaml", &text, self)).transpose();
        Ok(job.map_err(|problems| problems.to_string())?.as_ref().map(View::of))
    }
}

/// A part of a job file is YAML; a whole one is a job.
fn check_yaml(text: &str) {
    tidemark_spec::yaml::parse(text).unwrap_or_else(|problem| panic!("{problem:?}\n{text}"));
    if text.lines().any(|line| line.starts_with("job:")) {
        tidemark_spec::compile("docs/jobs.md", text, &Examples).unwrap_or_else(|problems| panic!("{problems}"));
    }
}

#[test]
fn the_reference_is_what_the_code_says() {
    let doc = doc();
    let (_, reference) = doc.split_once("compared by a test -->\n").unwrap();
    assert_eq!(
        reference,
        tidemark_spec::file::reference(),
        "run: tidemark job reference, and put it at the end of docs/jobs.md"
    );
}
