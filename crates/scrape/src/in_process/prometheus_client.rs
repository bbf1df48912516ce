//! The registry of the `prometheus-client` crate.

use prometheus_client::{encoding::prometheus_protobuf, registry::Registry};

use super::Source;
use crate::ScrapeError;

impl Source for Registry {
    fn write_families(&self, out: &mut Vec<u8>) -> Result<(), ScrapeError> {
        let families = prometheus_protobuf::encode_to_vec(self);
        let families = families.map_err(|e| ScrapeError::Fetch(e.to_string()))?;
        out.extend_from_slice(&families);
        Ok(())
    }
}
