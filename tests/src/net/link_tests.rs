//! Tests of one direction of a link.
