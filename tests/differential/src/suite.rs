//! Lists of queries that people use, asked of both over data made for them.
//!
//! [`lists`] reads and expands them; [`synthesis`] makes series that they select, [`pages`] series
//! of a real exporter; [`ask`] asks both and compares.

pub mod ask;
pub mod demo;
pub mod lists;
pub mod pages;
pub mod synthesis;
