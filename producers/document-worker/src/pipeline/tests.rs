use super::*;

#[test]
fn the_example_shows_the_default() {
    let example = Pipeline::parse("pipeline.example.toml", include_str!("../../pipeline.example.toml")).unwrap();
    assert_eq!(example, Pipeline::default());
}

#[test]
fn what_is_given_is_kept_and_what_is_not_is_the_default() {
    let text = "name = 'mine'\n[[steps]]\nname = 'D1'\ncommand = ['/a', 'b']\nmemory_bytes = 33554432\ncpu_seconds = 2\n\
                wall_seconds = 3\noutput_bytes = 4\nretries = 0\n[[steps]]\nname = 'D2'\ncommand = ['c']\n";
    let pipeline = Pipeline::parse("p.toml", text).unwrap();
    let limits =
        Limits { memory_bytes: 33_554_432, cpu: Duration::from_secs(2), wall: Duration::from_secs(3), output_bytes: 4 };
    let first = Step { name: "D1".into(), command: vec!["/a".into(), "b".into()], limits, retries: 0 };
    let second = Step { name: "D2".into(), command: vec!["c".into()], limits: Limits::default(), retries: 3 };
    assert_eq!(pipeline, Pipeline { name: "mine".into(), steps: vec![first, second] });
}

/// What the error of a file with this text says.
fn refusal(text: &str) -> String {
    Pipeline::parse("p.toml", text).unwrap_err().to_string()
}

#[test]
fn errors_name_file_line_key_rule_and_fix() {
    let step = "name = 'p'\n[[steps]]\nname = 'D1'\ncommand = ['a']\n";
    let cases = [
        (format!("{step}retries = 4\n"), "p.toml:5: steps.retries: it is from 0 to 3, not 4; leave it out for 3, or"),
        (format!("{step}output_bytes = 33554433\n"), "p.toml:5: steps.output_bytes: it is from 1 to 33554432"),
        (format!("{step}memory_bytes = 1\n"), "p.toml:5: steps.memory_bytes: it is from 16777216 to"),
        (format!("{step}wall_seconds = 0\n"), "p.toml:5: steps.wall_seconds: it is from 1 to 86400, not 0"),
        (format!("{step}wall = 3\n"), "p.toml:5: wall: unknown field `wall`, expected one of"),
        (format!("{step}cpu_seconds = 'x'\n"), "p.toml:5: cpu_seconds: invalid type: string \"x\", expected u64; see"),
        (format!("{step}[[steps]]\nname = 'D1'\ncommand = ['b']\n"), "p.toml:6: steps.name: \"D1\" is the name of two"),
        ("name = 'p'\n[[steps]]\nname = 'D 1'\ncommand = ['a']\n".into(), "p.toml:3: steps.name: a name has 1 to 64"),
        ("name = 'p'\n[[steps]]\nname = 'D1'\ncommand = []\n".into(), "p.toml:4: steps.command: it is a program and"),
        (
            "name = 'p'\n[[steps]]\nname = 'D1'\ncommand = ['./a']\n".into(),
            "p.toml:4: steps.command: the program \"./a\"",
        ),
        ("name = 'p'\nsteps = []\n".into(), "p.toml:2: steps: a pipeline has 1 to 16 steps, this one 0; give each"),
        ("name = 'p'\n[[steps]\n".into(), "p.toml:2: [[steps]: "),
        ("[[steps]]\nname = 'D1'\ncommand = ['a']\n".into(), "missing field `name`; see pipeline.example.toml"),
    ];
    for (text, told) in cases {
        let refusal = refusal(&text);
        assert!(refusal.contains(told), "{refusal}\nshould contain\n{told}");
    }
    let missing = Pipeline::load(Path::new("/nowhere/p.toml")).unwrap_err().to_string();
    assert!(missing.starts_with("cannot read the pipeline file /nowhere/p.toml: "), "{missing}");
}
