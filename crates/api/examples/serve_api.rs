//! Lets Grafana and promtool query the data of a program of your own, without a database:
//! `cargo run -p firesteel-api --example serve_api`, then
//! `promtool query instant http://127.0.0.1:9091 'sum by (room) (room_temperature_celsius)'`.
#![allow(clippy::print_stdout, reason = "an example")]

use std::{error::Error, sync::Arc};

use firesteel_api::{Api, ServeOptions, serve};
use firesteel_model::{
    Labels, Timestamp,
    clock::{Clock, SystemClock},
    storage::{Querier, Queryable, StorageError, memory::MemoryStorage},
};
use firesteel_promql::{Engine, EngineOptions};
use tokio::net::TcpListener;

/// A program's own data: rooms whose temperature is a formula. Any source will do that can say
/// which series it has and what their samples are.
struct Rooms;

impl Queryable for Rooms {
    fn querier(&self, mint: Timestamp, maxt: Timestamp) -> Result<Arc<dyn Querier>, StorageError> {
        let data = MemoryStorage::new();
        let now = SystemClock::new().now();
        let (from, to) = (mint.max(now - 3_600_000), maxt.min(now));
        for (i, room) in ["kitchen", "cellar"].into_iter().enumerate() {
            let labels =
                Labels::from_pairs([("__name__", "room_temperature_celsius"), ("room", room)]);
            let minutes = (from / 60_000)..=(to / 60_000);
            let samples =
                minutes.map(|m| (m * 60_000, 20.0 - 8.0 * i as f64 + (m as f64 / 60.0).sin()));
            data.add_floats(&labels, samples).map_err(|e| StorageError::other("rooms", e))?;
        }
        data.querier(mint, maxt)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9091".to_owned());
    let engine = Arc::new(Engine::new(EngineOptions::default()));
    let service = Api::builder(engine, Arc::new(Rooms)).build();
    let listener = TcpListener::bind(&address).await?;
    println!("listening on http://{}/query", listener.local_addr()?);
    let stop = async { drop(tokio::signal::ctrl_c().await) };
    serve(listener, service, ServeOptions::default(), stop).await;
    Ok(())
}
