//! Relabelling, with every action of Prometheus. Source: `model/relabel/relabel.go`.
