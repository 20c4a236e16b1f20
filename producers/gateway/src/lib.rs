//! HTTP in, durable events out.
