//! Tests of the workspace as a whole; each file beside this folder is one.

#![forbid(unsafe_code)]
