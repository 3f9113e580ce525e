//! Tests of the NAT by itself.
