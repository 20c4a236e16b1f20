//! HTTP out: windows, rows and how complete they are.
