//! Scenarios: what a seed draws is run under faults, then healed, and checked against a model all the while.

mod act;
mod apart;
mod decode;
mod draw;
mod errors;
mod input;
mod model;
mod report;
mod run;
mod shorten;
mod tag;

pub use act::Act;
pub use decode::hostile_mesh;
pub use draw::{Options, Peer, Plan, Scenario, UnknownScenario};
pub use input::input;
pub use model::Violation;
pub use report::Report;
pub use run::{Progress, can_decode, run, run_tapped, run_weighed};
pub use shorten::shorten;
