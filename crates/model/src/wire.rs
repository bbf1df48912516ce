//! Bare protobuf bytes: varints, tags, lengths, with limits.
