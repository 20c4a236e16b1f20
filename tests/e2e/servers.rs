//! On real Kafka, a real CQL store and a real registry.
