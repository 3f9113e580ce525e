//! What a signaling server is told at its start.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use rtcmesh_core::signaling::{ServerConfig, Verdict};

use super::http::{Assets, Origins};
use super::shared::Admission;
use crate::tls::TlsIdentity;

/// A verdict to come.
pub(super) type Judging = Pin<Box<dyn Future<Output = Verdict> + Send>>;
/// Who may join.
pub(super) type Authorize = Arc<dyn Fn(Admission) -> Judging + Send + Sync>;

/// How a signaling server serves. The default: plain `ws:`, pages of any origin, no page of its own,
/// everybody may join, and the limits of [`ServerConfig`]'s default.
#[derive(Clone, Default)]
pub struct SignalingServerOptions {
    pub(super) config: ServerConfig,
    pub(super) origins: Origins,
    pub(super) assets: Assets,
    pub(super) tls: Option<TlsIdentity>,
    pub(super) authorize: Option<Authorize>,
}

impl SignalingServerOptions {
    /// The default.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the limits. Whether the machine asks for verdicts follows from
    /// [`SignalingServerOptions::authorize`] alone.
    pub fn config(mut self, config: ServerConfig) -> Self {
        self.config = config;
        self
    }

    /// Sets which pages in browsers may signal here.
    pub fn origins(mut self, origins: Origins) -> Self {
        self.origins = origins;
        self
    }

    /// Sets the files that plain HTTP requests get.
    pub fn assets(mut self, assets: Assets) -> Self {
        self.assets = assets;
        self
    }

    /// Speaks TLS (`wss:`, `https:`) as `identity`, and nothing else.
    pub fn tls(mut self, identity: TlsIdentity) -> Self {
        self.tls = Some(identity);
        self
    }

    /// Asks `judge` at every announce whether that peer may join: it may look at the room, the id and
    /// the token. It is awaited in a task of its own, and has 9 s: then the newcomer
    /// is refused.
    pub fn authorize<F, V>(mut self, judge: F) -> Self
    where
        F: Fn(Admission) -> V + Send + Sync + 'static,
        V: Future<Output = Verdict> + Send + 'static,
    {
        self.authorize = Some(Arc::new(move |request| Box::pin(judge(request))));
        self
    }
}

impl fmt::Debug for SignalingServerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignalingServerOptions")
            .field("config", &self.config)
            .field("origins", &self.origins)
            .field("assets", &self.assets)
            .field("tls", &self.tls)
            .field("authorize", &self.authorize.is_some())
            .finish()
    }
}
