//! Adaptive playout on traces of networks, beside other policies.

pub mod engine;
pub mod file;
pub mod fixed;
pub mod models;
#[cfg(feature = "neteq")]
pub mod neteq_crate;
pub mod neteq_like;
pub mod playout;
pub mod policies;
pub mod table;
pub mod trace;
