//! One packet after the other, through ours and through the engine alone: to be run under a profiler.
//!
//! `profile audio|video BATCHES`; see README.md for how callgrind compares the two.

use rtcmesh_benches::frames::Kind;
use rtcmesh_benches::packet::Link;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let video = arguments.next().is_some_and(|kind| kind == "video");
    let batches = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(100);
    let mut link = Link::new(if video { Kind::Video } else { Kind::Audio }, false);
    let mut run = |act: &mut dyn FnMut()| act();
    for _ in 0..batches {
        link.ours(&mut run);
        link.engine(&mut run);
    }
}
