//! Every setting with its bounds. Validation names the field; nothing here touches the network.

mod ice;
mod media;
mod patch;
mod url;

use std::time::Duration;

use serde_json::{Map, Value};

use crate::error::{ConfigError, within};
use crate::id::PeerId;

pub use ice::{IcePolicy, TurnServer};
pub use media::{
    AudioSettings, Concealment, DataChannelMode, Playout, PlayoutPreference, ReceivedAudio,
    VideoSettings,
};
pub(crate) use media::{check_dred, check_dred_bounds};
pub use patch::ConfigPatch;

/// Whom a transport connects to by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum ConnectMode {
    /// Connects to every peer that is announced, and calls lost ones again.
    #[default]
    Automatic,
    /// Connects only on command, and answers whoever calls.
    Manual,
}

/// The whole configuration of a transport.
///
/// A builder: [`Config::new`] takes what is required, each setter returns the changed value, and
/// the transport validates all of it once, when it is made.
///
/// ```
/// use rtcmesh_core::config::Config;
/// let config = Config::new("ws://127.0.0.1:8080/").peer_id("alice").jitter_buffer_size_ms(80);
/// assert!(config.validate().is_ok());
/// assert_eq!(config.max_peers(0).validate().unwrap_err().field, "max_peers");
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// Where signaling is: `ws://` or `wss://`. The path is the room.
    pub signaling_url: String,
    /// This peer's id; `None`: one is generated.
    pub peer_id: Option<String>,
    /// Members of the announce's `user_data`, seen by all peers (at most 1 KB as JSON). The member
    /// `rtcmesh` is the library's own.
    pub user_data: Map<String, Value>,
    /// An opaque token for the server's admission control.
    pub token: Option<String>,
    /// Whom to connect to.
    pub connect: ConnectMode,
    /// Which addresses may be used.
    pub ice_policy: IcePolicy,
    /// STUN servers, as `stun:host:port`.
    pub stun_servers: Vec<String>,
    /// TURN servers.
    pub turn_servers: Vec<TurnServer>,
    /// The most peers connected or connecting at a time: 1 to 1,000, default 10. Each above 10 is the
    /// user's own bandwidth: a mesh sends everything once per peer.
    pub max_peers: usize,
    /// The time limit of connecting to a peer: 1 to 60 s, default 10 s.
    pub ice_timeout: Duration,
    /// Audio.
    pub audio: AudioSettings,
    /// Video.
    pub video: VideoSettings,
    /// Whether data channels are opened (default) and accepted.
    pub enable_data_channel: bool,
    /// The reliability of data messages that state none of their own.
    pub data_channel_mode: DataChannelMode,
    /// The delay of the jitter buffer in milliseconds, above the network's own: 50 to 200, default 50.
    /// Adaptive playout starts there.
    pub jitter_buffer_size_ms: u32,
    /// The largest delay of adaptive playout in milliseconds: `jitter_buffer_size_ms` to 500, default 500.
    pub max_jitter_buffer_ms: u32,
    /// Whether the delay of playout follows the network (default) or stays.
    pub playout: Playout,
    /// What an adaptive delay prefers.
    pub playout_preference: PlayoutPreference,
    /// Whether the drift of a sender's clock is corrected by resampling its audio (default).
    pub enable_clock_drift_correction: bool,
    /// The drift from which on it is, in ppm: 0 to 10,000, default 100.
    pub drift_correction_threshold_ppm: u32,
    /// How often RTCP's figures are taken in and a peer's quality is reported, in milliseconds:
    /// 1,000 to 10,000, default 5,000. The reports themselves go out every second, since whoever
    /// synchronises audio with video waits for the first one.
    pub rtcp_interval_ms: u32,
    /// Where not empty: the only peers that are connected to and answered.
    pub allow: Vec<String>,
    /// Peers that are never connected to or answered.
    pub deny: Vec<String>,
}

impl Config {
    /// The most bytes of `user_data`, as JSON (signaling contract).
    pub const MAX_USER_DATA: usize = 1024;

    /// The defaults, with this signaling server.
    pub fn new(signaling_url: impl Into<String>) -> Self {
        Self {
            signaling_url: signaling_url.into(),
            peer_id: None,
            user_data: Map::new(),
            token: None,
            connect: ConnectMode::default(),
            ice_policy: IcePolicy::default(),
            stun_servers: Vec::new(),
            turn_servers: Vec::new(),
            max_peers: 10,
            ice_timeout: Duration::from_secs(10),
            audio: AudioSettings::default(),
            video: VideoSettings::default(),
            enable_data_channel: true,
            data_channel_mode: DataChannelMode::default(),
            jitter_buffer_size_ms: 50,
            max_jitter_buffer_ms: 500,
            playout: Playout::default(),
            playout_preference: PlayoutPreference::default(),
            enable_clock_drift_correction: true,
            drift_correction_threshold_ppm: 100,
            rtcp_interval_ms: 5_000,
            allow: Vec::new(),
            deny: Vec::new(),
        }
    }

    /// Conversation on good networks: the smallest jitter buffer, voice at 32 kbit/s with little
    /// to repair.
    pub fn low_latency(signaling_url: impl Into<String>) -> Self {
        let mut config = Self::new(signaling_url);
        config.jitter_buffer_size_ms = 50;
        config.rtcp_interval_ms = 1_000;
        config
    }

    /// Music and presentation: stereo at 128 kbit/s, full complexity, a jitter buffer of 100 ms.
    pub fn high_quality(signaling_url: impl Into<String>) -> Self {
        let mut config = Self::new(signaling_url);
        config.jitter_buffer_size_ms = 100;
        config.audio.channels = 2;
        config.audio.bitrate = 128_000;
        config.audio.complexity = 10;
        config
    }

    /// Networks that lose and delay: 24 kbit/s with in-band FEC for 15 % loss, no packets in
    /// silence, a jitter buffer of 150 ms.
    pub fn mobile_network(signaling_url: impl Into<String>) -> Self {
        let mut config = Self::new(signaling_url);
        config.jitter_buffer_size_ms = 150;
        config.playout_preference = PlayoutPreference::FewLosses;
        config.audio.bitrate = 24_000;
        config.audio.expected_loss_percent = 15;
        config.audio.dtx = true;
        config.max_peers = 6;
        config
    }

    /// Sets [`Config::peer_id`].
    #[must_use]
    pub fn peer_id(mut self, id: impl Into<String>) -> Self {
        self.peer_id = Some(id.into());
        self
    }

    /// Sets [`Config::user_data`].
    #[must_use]
    pub fn user_data(mut self, data: Map<String, Value>) -> Self {
        self.user_data = data;
        self
    }

    /// Sets [`Config::token`].
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Sets [`Config::connect`].
    #[must_use]
    pub fn connect(mut self, mode: ConnectMode) -> Self {
        self.connect = mode;
        self
    }

    /// Sets [`Config::max_peers`].
    #[must_use]
    pub fn max_peers(mut self, peers: usize) -> Self {
        self.max_peers = peers;
        self
    }

    /// Sets [`Config::ice_timeout`].
    #[must_use]
    pub fn ice_timeout(mut self, limit: Duration) -> Self {
        self.ice_timeout = limit;
        self
    }

    /// Sets [`Config::audio`].
    #[must_use]
    pub fn audio(mut self, audio: AudioSettings) -> Self {
        self.audio = audio;
        self
    }

    /// Sets [`Config::video`].
    #[must_use]
    pub fn video(mut self, video: VideoSettings) -> Self {
        self.video = video;
        self
    }

    /// Sets [`Config::enable_data_channel`].
    #[must_use]
    pub fn enable_data_channel(mut self, enabled: bool) -> Self {
        self.enable_data_channel = enabled;
        self
    }

    /// Sets [`Config::data_channel_mode`].
    #[must_use]
    pub fn data_channel_mode(mut self, mode: DataChannelMode) -> Self {
        self.data_channel_mode = mode;
        self
    }

    /// Sets [`Config::jitter_buffer_size_ms`].
    #[must_use]
    pub fn jitter_buffer_size_ms(mut self, size: u32) -> Self {
        self.jitter_buffer_size_ms = size;
        self
    }

    /// Sets [`Config::playout`].
    #[must_use]
    pub fn playout(mut self, playout: Playout) -> Self {
        self.playout = playout;
        self
    }

    /// Sets [`Config::playout_preference`].
    #[must_use]
    pub fn playout_preference(mut self, preference: PlayoutPreference) -> Self {
        self.playout_preference = preference;
        self
    }

    /// Sets [`Config::rtcp_interval_ms`].
    #[must_use]
    pub fn rtcp_interval_ms(mut self, interval: u32) -> Self {
        self.rtcp_interval_ms = interval;
        self
    }

    /// Sets [`Config::allow`].
    #[must_use]
    pub fn allow(mut self, ids: Vec<String>) -> Self {
        self.allow = ids;
        self
    }

    /// Sets [`Config::deny`].
    #[must_use]
    pub fn deny(mut self, ids: Vec<String>) -> Self {
        self.deny = ids;
        self
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`ConfigError`] naming the first field that is wrong and what would be right.
    pub fn validate(&self) -> Result<(), ConfigError> {
        url::check(&self.signaling_url)
            .map_err(|reason| ConfigError::new("signaling_url", reason))?;
        if let Some(id) = &self.peer_id {
            PeerId::new(id).map_err(|error| ConfigError::new("peer_id", error.to_string()))?;
        }
        self.validate_user_data()?;
        within("max_peers", self.max_peers, 1, 1_000, "")?;
        within("ice_timeout", self.ice_timeout.as_millis(), 1_000, 60_000, " ms")?;
        within("jitter_buffer_size_ms", self.jitter_buffer_size_ms, 50, 200, "")?;
        let size = self.jitter_buffer_size_ms;
        within("max_jitter_buffer_ms", self.max_jitter_buffer_ms, size, 500, "")?;
        let threshold = self.drift_correction_threshold_ppm;
        within("drift_correction_threshold_ppm", threshold, 0, 10_000, " ppm")?;
        within("rtcp_interval_ms", self.rtcp_interval_ms, 1_000, 10_000, "")?;
        self.ice_policy.validate(&self.stun_servers, &self.turn_servers)?;
        self.audio.validate()?;
        self.video.validate()?;
        for (field, ids) in [("allow", &self.allow), ("deny", &self.deny)] {
            for id in ids {
                PeerId::new(id)
                    .map_err(|error| ConfigError::new(field, format!("{id:?}: {error}")))?;
            }
        }
        if !self.audio.enabled && !self.video.enabled && !self.enable_data_channel {
            return Err(ConfigError::new(
                "enable_data_channel",
                "audio, video and data are all off: nothing is left to connect for",
            ));
        }
        Ok(())
    }

    fn validate_user_data(&self) -> Result<(), ConfigError> {
        let size = serde_json::to_string(&self.user_data).map_or(usize::MAX, |json| json.len());
        // The library's own member takes its share of what the server allows.
        let limit = Self::MAX_USER_DATA - 32;
        if size > limit {
            let reason = format!("{size} bytes as JSON, at most {limit} are allowed");
            return Err(ConfigError::new("user_data", reason));
        }
        if self.user_data.contains_key("rtcmesh") {
            return Err(ConfigError::new("user_data", "the member rtcmesh is the library's own"));
        }
        Ok(())
    }

    /// Whether the lists let this peer in.
    pub(crate) fn admits(&self, peer: &PeerId) -> bool {
        let listed = |ids: &[String]| ids.iter().any(|id| id == peer.as_str());
        (self.allow.is_empty() || listed(&self.allow)) && !listed(&self.deny)
    }

    /// Whether signaling is on this very machine, so that loopback candidates make sense.
    pub(crate) fn signaling_on_loopback(&self) -> bool {
        let url = &self.signaling_url;
        let rest = url.split_once("://").map_or("", |(_, rest)| rest);
        let authority = rest.split(['/', '?']).next().unwrap_or("");
        let host = match authority.strip_prefix('[') {
            Some(v6) => v6.split(']').next().unwrap_or(""),
            None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
        };
        host == "localhost"
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(config: Config) -> &'static str {
        config.validate().unwrap_err().field
    }

    #[test]
    fn every_bound_names_its_field() {
        let ok = || Config::new("ws://h/room");
        assert!(ok().validate().is_ok());
        assert_eq!(field(Config::new("http://h/")), "signaling_url");
        assert_eq!(field(Config::new("ws:///room")), "signaling_url");
        assert_eq!(field(Config::new("ws://h/a b")), "signaling_url");
        assert_eq!(field(ok().peer_id("no spaces")), "peer_id");
        assert_eq!(field(ok().max_peers(0)), "max_peers");
        assert_eq!(field(ok().ice_timeout(Duration::from_millis(999))), "ice_timeout");
        assert_eq!(field(ok().jitter_buffer_size_ms(49)), "jitter_buffer_size_ms");
        assert_eq!(field(ok().jitter_buffer_size_ms(201)), "jitter_buffer_size_ms");
        let config = |change: fn(&mut Config)| {
            let mut config = ok();
            change(&mut config);
            config
        };
        let max = "max_jitter_buffer_ms";
        assert_eq!(field(config(|config| config.max_jitter_buffer_ms = 49)), max);
        assert_eq!(field(config(|config| config.max_jitter_buffer_ms = 501)), max);
        let threshold = config(|config| config.drift_correction_threshold_ppm = 10_001);
        assert_eq!(field(threshold), "drift_correction_threshold_ppm");
        assert_eq!(field(ok().rtcp_interval_ms(999)), "rtcp_interval_ms");
        assert_eq!(field(ok().allow(vec!["?".into()])), "allow");
        assert_eq!(field(ok().deny(vec!["".into()])), "deny");
        let mut config = ok();
        config.user_data.insert("x".into(), "y".repeat(1024).into());
        assert_eq!(field(config), "user_data");
        let mut config = ok();
        config.user_data.insert("rtcmesh".into(), 1.into());
        assert_eq!(field(config), "user_data");
        let mut config = ok();
        config.stun_servers.push("stun:example.org".into());
        assert_eq!(field(config), "stun_servers");
        let mut config = ok().enable_data_channel(false);
        config.audio.enabled = false;
        assert_eq!(field(config), "enable_data_channel");
    }

    #[test]
    fn presets_are_valid() {
        for preset in [Config::low_latency, Config::high_quality, Config::mobile_network] {
            assert_eq!(preset("wss://example.org".to_owned()).validate(), Ok(()));
        }
    }

    #[test]
    fn lists_admit_and_deny() {
        let a = PeerId::new("a").unwrap();
        let b = PeerId::new("b").unwrap();
        assert!(Config::new("ws://h").admits(&a));
        let listed = Config::new("ws://h").allow(vec!["a".into()]).deny(vec!["b".into()]);
        assert!(listed.admits(&a) && !listed.admits(&b));
        assert!(!Config::new("ws://h").deny(vec!["a".into()]).admits(&a));
    }

    #[test]
    fn loopback_signaling_is_seen_in_the_url() {
        for url in ["ws://127.0.0.1:80/r", "ws://localhost", "wss://[::1]:443/", "ws://127.9.9.9"] {
            assert!(Config::new(url).signaling_on_loopback(), "{url}");
        }
        for url in ["ws://10.0.0.1:80/127.0.0.1", "ws://localhost.example", "wss://[fe80::1]/"] {
            assert!(!Config::new(url).signaling_on_loopback(), "{url}");
        }
    }
}
