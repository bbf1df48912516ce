//! Go's `text/template` language, and Prometheus' functions for it.
