//! The checks of conformance in virtual time.

use super::world::World;
use crate::conformance;

#[test]
fn in_virtual_time() {
    let world = World::new();
    world.block_on(conformance::check(world.clone()));
}
