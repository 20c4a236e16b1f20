//! Stages: consume, fold, commit.
