//! Which network addresses may be used.

use std::fmt;

use crate::error::ConfigError;

/// Which kinds of candidates are gathered and offered (RFC 8445, section 5.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum IcePolicy {
    /// The addresses of this machine's interfaces: local networks, tests, simulations.
    #[default]
    HostOnly,
    /// Every kind, with STUN and TURN servers.
    All,
    /// Through TURN alone.
    RelayOnly,
}

impl IcePolicy {
    /// Host candidates are all that this version gathers: everything that would need a STUN or TURN
    /// client is refused by name instead of being ignored silently.
    pub(crate) fn validate(self, stun: &[String], turn: &[TurnServer]) -> Result<(), ConfigError> {
        let refused =
            |field| Err(ConfigError::new(field, "not supported: this version is host-only"));
        if !stun.is_empty() {
            return refused("stun_servers");
        }
        if !turn.is_empty() {
            return refused("turn_servers");
        }
        match self {
            Self::HostOnly => Ok(()),
            Self::All | Self::RelayOnly => refused("ice_policy"),
        }
    }
}

/// A TURN server and its long-term credential (RFC 8489, section 9.2).
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TurnServer {
    /// `turn:host:port?transport=udp` or `tcp`, or `turns:` over TLS (RFC 7065).
    pub url: String,
    /// The user's name.
    pub username: String,
    /// The password.
    pub credential: String,
}

impl TurnServer {
    /// A server with its credential.
    pub fn new(
        url: impl Into<String>,
        username: impl Into<String>,
        credential: impl Into<String>,
    ) -> Self {
        Self { url: url.into(), username: username.into(), credential: credential.into() }
    }
}

impl fmt::Debug for TurnServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The credential must not reach a log.
        f.debug_struct("TurnServer").field("url", &self.url).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_built_is_refused_by_name() {
        let turn = [TurnServer::new("turn:h", "u", "secret")];
        let field = |result: Result<(), ConfigError>| result.unwrap_err().field;
        assert_eq!(IcePolicy::HostOnly.validate(&[], &[]), Ok(()));
        assert_eq!(field(IcePolicy::HostOnly.validate(&["stun:h".into()], &[])), "stun_servers");
        assert_eq!(field(IcePolicy::HostOnly.validate(&[], &turn)), "turn_servers");
        assert_eq!(field(IcePolicy::All.validate(&[], &[])), "ice_policy");
        assert_eq!(field(IcePolicy::RelayOnly.validate(&[], &[])), "ice_policy");
        assert!(!format!("{turn:?}").contains("secret"));
    }
}
