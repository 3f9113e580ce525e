//! The configuration in a recording: all that decisions follow from, without its secrets.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::{
    AudioSettings, Config, ConnectMode, DataChannelMode, Playout, PlayoutPreference, VideoSettings,
};
use crate::trace::Labels;
use crate::trace::state::{Layout, Reader, Save, Unreadable, Writer, load_json, save_json};

/// What is kept of a [`Config`]. STUN and TURN servers have no part in it as long as they are refused.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    signaling_url: String,
    user_data: Map<String, Value>,
    token: Option<String>,
    connect: ConnectMode,
    max_peers: usize,
    ice_timeout_ns: u64,
    audio: AudioSettings,
    video: VideoSettings,
    enable_data_channel: bool,
    data_channel_mode: DataChannelMode,
    jitter_buffer_size_ms: u32,
    max_jitter_buffer_ms: u32,
    playout: Playout,
    playout_preference: PlayoutPreference,
    enable_clock_drift_correction: bool,
    drift_correction_threshold_ppm: u32,
    rtcp_interval_ms: u32,
    allow: Vec<String>,
    deny: Vec<String>,
}

pub(super) fn keep(config: &Config, labels: &mut Labels) -> Value {
    let user_data = match labels.user_data(&config.user_data) {
        Value::Object(data) => data,
        _ => Map::new(),
    };
    let kept = Kept {
        signaling_url: labels.url(&config.signaling_url),
        user_data,
        token: config.token.as_ref().map(|token| labels.label('s', token.as_bytes())),
        connect: config.connect,
        max_peers: config.max_peers,
        ice_timeout_ns: u64::try_from(config.ice_timeout.as_nanos()).unwrap_or(u64::MAX),
        audio: config.audio,
        video: config.video,
        enable_data_channel: config.enable_data_channel,
        data_channel_mode: config.data_channel_mode,
        jitter_buffer_size_ms: config.jitter_buffer_size_ms,
        max_jitter_buffer_ms: config.max_jitter_buffer_ms,
        playout: config.playout,
        playout_preference: config.playout_preference,
        enable_clock_drift_correction: config.enable_clock_drift_correction,
        drift_correction_threshold_ppm: config.drift_correction_threshold_ppm,
        rtcp_interval_ms: config.rtcp_interval_ms,
        allow: config.allow.clone(),
        deny: config.deny.clone(),
    };
    serde_json::to_value(kept).unwrap_or_default()
}

/// The configuration again; what is wrong with it otherwise.
pub(super) fn revive(kept: Value, peer: &str) -> Result<Config, String> {
    let kept: Kept = serde_json::from_value(kept).map_err(|error| error.to_string())?;
    let mut config = Config::new(kept.signaling_url).peer_id(peer);
    // Labels may be longer than what they stand for, within what the server allows and validation does not.
    config.user_data = kept.user_data;
    config.token = kept.token;
    config.connect = kept.connect;
    config.max_peers = kept.max_peers;
    config.ice_timeout = Duration::from_nanos(kept.ice_timeout_ns);
    config.audio = kept.audio;
    config.video = kept.video;
    config.enable_data_channel = kept.enable_data_channel;
    config.data_channel_mode = kept.data_channel_mode;
    config.jitter_buffer_size_ms = kept.jitter_buffer_size_ms;
    config.max_jitter_buffer_ms = kept.max_jitter_buffer_ms;
    config.playout = kept.playout;
    config.playout_preference = kept.playout_preference;
    config.enable_clock_drift_correction = kept.enable_clock_drift_correction;
    config.drift_correction_threshold_ppm = kept.drift_correction_threshold_ppm;
    config.rtcp_interval_ms = kept.rtcp_interval_ms;
    config.allow = kept.allow;
    config.deny = kept.deny;
    let mut checked = config.clone();
    checked.user_data.clear();
    checked.validate().map_err(|error| error.to_string())?;
    Ok(config)
}

impl Save for Config {
    fn layout(layout: &mut Layout) {
        layout.name("configuration");
    }

    fn save(&self, to: &mut Writer) {
        self.peer_id.save(to);
        save_json(&keep(self, &mut Labels::none()), to);
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, Unreadable> {
        let peer = Option::<String>::load(from)?.unwrap_or_default();
        revive(load_json(from)?, &peer).map_err(|error| from.wrong(error))
    }
}
