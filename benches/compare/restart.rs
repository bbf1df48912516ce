//! How long a server takes to the right answer after it was killed, and after it was stopped.

use std::{
    io::{Error, Result},
    process::Command,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::{
    http::{escape, get},
    peer::{Kind, Peer, Running},
    process::{cpu_seconds, folder_bytes, status_bytes},
    work::Report,
    write::{FAMILIES, Load, STEP},
};

pub(crate) struct Plan {
    pub(crate) series: usize,
    pub(crate) samples: usize,
}

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) fn run(peer: &Peer, plan: &Plan) -> Result<Report> {
    let folder = std::env::temp_dir().join(format!(
        "firesteel-restart-{}-{}",
        peer.kind.name(),
        std::process::id()
    ));
    std::fs::create_dir_all(&folder)?;
    let rows = measure(peer, plan, &folder);
    if rows.is_ok() {
        std::fs::remove_dir_all(&folder)?;
    } else {
        eprintln!("its log: {}", folder.join("log").display());
    }
    Ok(Report { name: peer.kind.name(), rows: rows? })
}

fn measure(peer: &Peer, plan: &Plan, folder: &std::path::Path) -> Result<Vec<(String, f64)>> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64);
    let start = (now - plan.samples as i64 * STEP) / STEP * STEP;
    let load = Load { series: plan.series, samples: plan.samples, start };
    let running = peer.start(folder, &[], 15_000)?;
    until_right(&running, "vector(1)", 1.0, now, Instant::now())?;
    let pid = running.child.id();
    let (began, cpu) = (Instant::now(), cpu_seconds(pid));
    load.send(running.address, "/api/v1/write")?;
    let (took, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds(pid) - cpu);
    let samples = (plan.series * plan.samples) as f64;
    let end = load.start + (plan.samples as i64 - 1) * STEP;
    if peer.kind == Kind::VictoriaMetrics {
        // What arrived is searchable a second later.
        thread::sleep(Duration::from_secs(3));
    }
    let one = "sum(count_over_time(bench_family_0007[1d]))";
    let right = (plan.series.div_ceil(FAMILIES) * plan.samples) as f64;
    until_right(&running, one, right, end, Instant::now())?;
    thread::sleep(Duration::from_secs(2));
    let anonymous = status_bytes(pid, "RssAnon");
    let mut rows = vec![
        ("million samples written per second".to_owned(), samples / took / 1e6),
        ("CPU seconds per million samples written".to_owned(), cpu / samples * 1e6),
        ("anonymous memory, MiB".to_owned(), anonymous / 1048576.0),
        ("anonymous bytes per series".to_owned(), anonymous / plan.series as f64),
        ("MiB on disk".to_owned(), folder_bytes(&running.data) / 1048576.0),
    ];
    drop(running);
    let began = Instant::now();
    let running = peer.start(folder, &[], 15_000)?;
    let lost = until_right(&running, one, right, end, began);
    rows.push(("seconds to the right answer after kill -9".to_owned(), lost.unwrap_or(f64::NAN)));
    let pid = running.child.id();
    rows.push(("anonymous memory then, MiB".to_owned(), status_bytes(pid, "RssAnon") / 1048576.0));
    let mut found = 0.0;
    for family in 0..FAMILIES.min(plan.series) {
        found +=
            ask(&running, &format!("sum(count_over_time(bench_family_{family:04}[1d]))"), end)?;
    }
    rows.push(("million samples found in all".to_owned(), found / 1e6));
    stop(running)?;
    let began = Instant::now();
    let running = peer.start(folder, &[], 15_000)?;
    let clean = until_right(&running, one, right, end, began);
    rows.push(("seconds to the right answer after a stop".to_owned(), clean.unwrap_or(f64::NAN)));
    Ok(rows)
}

/// Stops a server as its service manager would, and waits for it.
fn stop(mut running: Running) -> Result<()> {
    let began = Instant::now();
    Command::new("kill").arg("-TERM").arg(running.child.id().to_string()).status()?;
    while running.child.try_wait()?.is_none() {
        if began.elapsed() > PATIENCE {
            return Err(Error::other("the server does not stop"));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Seconds from `began` until a query has this answer.
fn until_right(
    running: &Running,
    query: &str,
    right: f64,
    end: i64,
    began: Instant,
) -> Result<f64> {
    let mut last = Err(Error::other("not asked"));
    while began.elapsed() < PATIENCE {
        last = ask(running, query, end);
        if last.as_ref().is_ok_and(|v| (v - right).abs() < 0.5) {
            return Ok(began.elapsed().as_secs_f64());
        }
        thread::sleep(Duration::from_millis(5));
    }
    eprintln!("{query} should be {right}, is {last:?}");
    Err(Error::other("the right answer does not come"))
}

/// The value of a query that has one.
fn ask(running: &Running, query: &str, end: i64) -> Result<f64> {
    let time = end as f64 / 1000.0;
    let path = format!("/api/v1/query?query={}&time={time}", escape(query));
    let (_, body) = get(running.address, &path)?;
    let text = String::from_utf8_lossy(&body);
    let value = text.rsplit_once("\"]").and_then(|(rest, _)| rest.rsplit_once('"'));
    let value = value.and_then(|(_, v)| v.parse().ok());
    value.ok_or_else(|| Error::other(text.chars().take(200).collect::<String>()))
}
