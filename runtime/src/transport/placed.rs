//! The driver as a value, for those who decide themselves where it runs.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use rtcmesh_core::transport::Transport;

use crate::runtime::Runtime;
use crate::transport::driver::Driver;

/// What moves a mesh: a future that ends with it. [`WebRtcTransport::into_driver`](crate::WebRtcTransport::into_driver)
/// gives it.
///
/// Nothing happens unless it is polled, by any executor: it is [`Send`], asks for no particular one, and spawns nothing.
/// It never blocks, and lets others have their turn when there is much to do. Timers and sockets are those of the
/// runtime `R`, whose reactor has to run somewhere.
///
/// Its end is the mesh's, after [`shutdown`](crate::WebRtcTransport::shutdown) or the last handle. Dropped before, it
/// ends the mesh at once, without goodbyes: whoever waits for something gets an error, and the events end.
#[must_use = "a mesh does nothing unless its driver is polled"]
pub struct TransportDriver<R: Runtime>(pub(super) Driver<R, Transport>);

impl<R: Runtime> Future for TransportDriver<R> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl<R: Runtime> fmt::Debug for TransportDriver<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportDriver").finish_non_exhaustive()
    }
}
