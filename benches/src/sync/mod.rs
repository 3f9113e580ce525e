//! The sync manager's parts on seeded models and traces of networks, beside other policies and estimators.

pub mod callback;
pub mod drift_models;
pub mod drift_tables;
pub mod engine;
pub mod file;
pub mod fixed;
pub mod hours;
pub mod manager;
pub mod models;
#[cfg(feature = "neteq")]
pub mod neteq_crate;
pub mod neteq_like;
pub mod ntp_tables;
pub mod playout;
pub mod policies;
pub mod real;
pub mod stress;
pub mod table;
pub mod trace;
