//! Metrics of several jobs as one Prometheus text: each family once, each sample with its job's labels.

use super::Metrics;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Appends the metrics of jobs, each with labels such as `job="flows.hourly",version="1"`.
pub fn render(jobs: &[(String, Arc<Metrics>)], out: &mut String) {
    let mut families: Vec<(String, String)> = Vec::new();
    let mut samples: BTreeMap<String, String> = BTreeMap::new();
    for (labels, metrics) in jobs {
        let (mut text, mut family) = (String::new(), String::new());
        metrics.render(&mut text);
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                family = help.split(' ').next().unwrap_or_default().to_owned();
                if families.iter().all(|(known, _)| *known != family) {
                    families.push((family.clone(), format!("{line}\n")));
                }
            } else if line.starts_with("# TYPE ") {
                let head = families.iter_mut().find(|(known, head)| *known == family && !head.contains("# TYPE "));
                head.into_iter().for_each(|(_, head)| head.push_str(&format!("{line}\n")));
            } else {
                let samples = samples.entry(family.clone()).or_default();
                samples.push_str(&labelled(line, labels));
                samples.push('\n');
            }
        }
    }
    for (family, head) in families {
        out.push_str(&head);
        out.push_str(samples.get(&family).map(String::as_str).unwrap_or_default());
    }
}

/// `name{a="b"} 1` or `name 1`, with `labels` added at the end.
fn labelled(sample: &str, labels: &str) -> String {
    // A label's value may hold anything: the last brace is the one that ends them.
    match (sample.rfind("} "), sample.split_once(' ')) {
        (Some(at), _) => {
            let (head, tail) = sample.split_at(at);
            let comma = if head.ends_with('{') { "" } else { "," };
            format!("{head}{comma}{labels}{tail}")
        }
        (None, Some((name, value))) => format!("{name}{{{labels}}} {value}"),
        (None, None) => sample.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_get_labels_and_families_stand_once() {
        assert_eq!(labelled("a 1", "job=\"x\""), "a{job=\"x\"} 1");
        assert_eq!(labelled("a{b=\"}\"} 1", "job=\"x\""), "a{b=\"}\",job=\"x\"} 1");
        let jobs = ["x", "y"].map(|job| (format!("job=\"{job}\""), Arc::new(Metrics::default())));
        let mut text = String::new();
        render(&jobs, &mut text);
        assert_eq!(text.matches("# TYPE tidemark_view_rows_written_total").count(), 1, "{text}");
        let both = "tidemark_view_rows_written_total{job=\"x\"} 0\ntidemark_view_rows_written_total{job=\"y\"} 0\n";
        assert!(text.contains(both), "{text}");
    }
}
