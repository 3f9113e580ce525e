//! The sync manager's parts, measured on seeded models of networks.

pub mod drift_models;
pub mod drift_tables;
pub mod ntp_tables;
