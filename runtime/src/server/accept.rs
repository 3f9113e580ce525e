//! Accepting connections.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::connection;
use super::shared::{self, Shared};
use crate::runtime::{Runtime, TcpListener, Timer};

/// The pause after an error of the listener. The usual one, too many open files, passes when some
/// connection ends, and would otherwise be told again at once.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections until the server stops, and starts a task for each.
pub(super) async fn accept<R: Runtime>(shared: Arc<Shared<R>>, mut listener: R::Listener) {
    let mut pause = shared.runtime().timer(shared.runtime().now());
    let mut failing = false;
    loop {
        let accepted = poll_fn(|cx| {
            if shared.poll_stopping(cx).is_ready() {
                return Poll::Ready(None);
            }
            std::task::ready!(pause.poll(cx));
            listener.poll_accept(cx).map(Some)
        })
        .await;
        match accepted {
            None => return,
            Some(Ok((tcp, remote))) => {
                failing = false;
                shared::spawn(&shared, connection::serve(shared.clone(), tcp, remote.ip()));
            }
            Some(Err(error)) => {
                // Once a series: it may go on for as long as the cause does.
                if !failing {
                    tracing::warn!(%error, "connections cannot be accepted for the time being");
                }
                failing = true;
                pause.reset(shared.runtime().now() + PAUSE);
            }
        }
    }
}
