//! What several examples need.

use std::fmt::Display;
use std::path::Path;

use rtcmesh_core::transport::Event;
use rtcmesh_runtime::{Events, Runtime, TransportEvent};

use crate::Error;

/// Waits for the event that `wanted` accepts.
///
/// # Errors
/// Where a peer leaves or is lost meanwhile, and at the end of the mesh.
pub(crate) async fn wait<R: Runtime>(
    events: &mut Events<R>,
    mut wanted: impl FnMut(&Event) -> bool,
) -> Result<(), Error> {
    while let Some(event) = events.next().await {
        match event {
            TransportEvent::Event(event) if wanted(&event) => return Ok(()),
            TransportEvent::Event(Event::Closed { peer, by }) => {
                return Err(format!("{peer} has left: {by}").into());
            }
            TransportEvent::Event(Event::Failed { peer, fault }) => {
                return Err(format!("{peer}: {fault}").into());
            }
            _ => {}
        }
    }
    Err("the mesh has ended".into())
}

/// An error that names the file which it is about.
pub(crate) fn about<E: Display>(file: &Path) -> impl Fn(E) -> Error {
    move |error| format!("{}: {error}", file.display()).into()
}
