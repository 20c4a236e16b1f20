//! Windows, watermarks, lateness, accumulators and the two folds: pure, no I/O, no clock.
