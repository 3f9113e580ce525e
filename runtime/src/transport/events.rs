//! What happens, as a stream.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use rtcmesh_core::transport::{Event, Media, Transport};

use crate::runtime::Runtime;
use crate::transport::shared::{Shared, Ticket};

/// An event, or media that arrived.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum TransportEvent {
    /// Something happened.
    Event(Event),
    /// Audio or video is due for playout.
    Media(Media),
}

/// The events of a transport, as a [`Stream`]: those that wait, then those to come, and `None` after the
/// end. Events come before media that wait at the same time.
///
/// What is not fetched is kept within bounds: media go first, then data messages, never the latest state
/// of anything, and [`Event::Lagged`] tells how much is gone. Several of one transport share its
/// events: each is given to one of them. They do not keep the transport alive.
pub struct Events<R: Runtime> {
    shared: Arc<Shared<R, Transport>>,
    ticket: Ticket,
}

impl<R: Runtime> Events<R> {
    pub(crate) fn new(shared: Arc<Shared<R, Transport>>) -> Self {
        let ticket = shared.lock().ticket();
        Self { shared, ticket }
    }

    /// The next one; `None` after the end. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<TransportEvent> {
        poll_fn(|cx| self.shared.lock().poll_event(self.ticket, cx)).await
    }

    /// The next one, if it is there already.
    pub fn try_next(&mut self) -> Option<TransportEvent> {
        let mut state = self.shared.lock();
        let event = state.machine.poll_event().map(TransportEvent::Event);
        event.or_else(|| state.machine.poll_media().map(TransportEvent::Media))
    }
}

impl<R: Runtime> Stream for Events<R> {
    type Item = TransportEvent;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<TransportEvent>> {
        self.shared.lock().poll_event(self.ticket, cx)
    }
}

impl<R: Runtime> Drop for Events<R> {
    fn drop(&mut self) {
        self.shared.lock().forget(self.ticket);
    }
}

impl<R: Runtime> fmt::Debug for Events<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}
