//! Two thousand random queries with fixed seeds: no difference from the real Prometheus. Skips where
//! that is not there.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::Write as _;

use firesteel_differential::{
    Result,
    data::Dataset,
    http::Client,
    peer::{self, Server},
    remote,
    run::{self, Plan},
    subject::{Library, Subject},
};

fn check(seed: u64, delayed_name_removal: bool) {
    let Some(program) = peer::prometheus() else {
        // Straight to standard error: what the print macros write is swallowed.
        let _ = writeln!(std::io::stderr(), "skipped: Prometheus not found");
        return;
    };
    let data = Dataset::new(seed);
    let mut features = peer::FEATURES.to_vec();
    if delayed_name_removal {
        features.push("promql-delayed-name-removal");
    }
    let server = Server::start(&program, &features).unwrap();
    let mut client = Client::new(server.address);
    remote::write(&mut client, &data).unwrap();
    let held = remote::read(&mut client).unwrap();
    let mut library = Library::new(&data, &held, delayed_name_removal).unwrap();
    let plan = Plan { seed, queries: 1000, differences: 5 };
    let pair = (&mut client as &mut dyn Subject, &mut library as &mut dyn Subject);
    let fresh = || -> Result<Box<dyn Subject>> {
        Ok(Box::new(remote::Filled::start(&program, &features, &data)?))
    };
    let report = run::run(&data, plan, vec![pair], &fresh).unwrap();
    assert!(report.different == 0, "{:#?}", report.differences);
    assert!(report.asked >= 1000);
    assert!(report.ranges * 2 >= report.asked, "{} range queries", report.ranges);
    // Four of five, give or take what chance does to a thousand.
    assert!(report.found * 100 >= report.asked * 78, "{} found something", report.found);
}

#[test]
fn no_difference() {
    check(1, false);
}

#[test]
fn no_difference_where_names_are_removed_late() {
    check(2, true);
}
