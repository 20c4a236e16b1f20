//! The compose file runs the versions that the tests run.

use tidemark_harness::jars::{KAFKA, REGISTRY};

#[test]
fn compose_runs_what_is_tested() {
    let compose = include_str!("../../../docker-compose.yml");
    for image in
        [format!("apache/kafka:{}", KAFKA.version), format!("apicurio/apicurio-registry-mem:{}", REGISTRY.version)]
    {
        assert!(compose.lines().any(|line| line.trim() == format!("image: {image}")), "no `image: {image}`");
    }
}
