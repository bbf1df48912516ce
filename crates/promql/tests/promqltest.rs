//! Runs the conformance scripts.
