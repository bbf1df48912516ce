//! Labels that objects of several kinds have. Source: `discovery/kubernetes/kubernetes.go`.

use super::objects::Meta;
use crate::labels::MetaLabels;

/// What all labels begin with.
pub(crate) const PREFIX: &str = "__meta_kubernetes_";

/// Labels of a group or a target.
pub(crate) fn meta_labels() -> MetaLabels {
    MetaLabels::new(PREFIX)
}

/// The name of an object, its labels and annotations.
pub(crate) fn object(labels: &mut MetaLabels, meta: &Meta, role: &str) {
    labels.set(&format!("{role}_name"), &meta.name);
    labels_and_annotations(labels, meta, role);
}

/// Its labels and annotations.
pub(crate) fn labels_and_annotations(labels: &mut MetaLabels, meta: &Meta, role: &str) {
    for (kind, values) in [("label", &meta.labels), ("annotation", &meta.annotations)] {
        let (value_of, present) = (format!("{role}_{kind}_"), format!("{role}_{kind}present_"));
        for (name, value) in values {
            labels.set_free(&value_of, name, value);
            labels.set_free(&present, name, "true");
        }
    }
}
