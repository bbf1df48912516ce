//! Labels and names that 3.14 gives otherwise, and `info`.

use super::{
    Effect, Exception,
    shape::{error, has_more},
};

pub(super) const ALL: &[Exception] = &[
    Exception {
        name: "names under last_over_time",
        reason: "what dropped the name within a subquery drops it under last_over_time too, where names are removed late",
        source: "promql/engine.go:2317 inputDropName",
        effect: Effect::Names(|q| q.around(&["last_over_time", "first_over_time"], &["subquery"])),
    },
    Exception {
        name: "names of groups",
        reason: "a group drops its name if any of its series does, not if the one does that stands where the group does",
        source: "promql/engine.go:3740 group.dropName",
        effect: Effect::Names(|q| q.text.contains("__name__")),
    },
    Exception {
        name: "names under info",
        reason: "info keeps in mind that a name is to be dropped, where names are removed late",
        source: "promql/info.go:372, 445 DropName",
        effect: Effect::Names(|q| q.has(&["info"])),
    },
    Exception {
        name: "info",
        reason: "info series are found by their labels, not by a position in another list; errors name the series; offsets count; what needs no label more is kept",
        source: "promql/info.go:48, 326, 432, 491",
        effect: Effect::All(|q, theirs, ours| {
            let moved = q.text.contains("offset") || q.text.contains('@');
            q.has(&["info"])
                && (error(theirs).contains("found duplicate series for info metric")
                    || error(theirs).contains("index out of range")
                    || ours.error.is_none() && error(theirs).contains("same labelset")
                    || ours.error.is_none() && (q.is_range() || q.has(&["subquery"]) || moved)
                    || theirs.error == ours.error && (q.filters() || has_more(ours, theirs)))
        }),
    },
];
