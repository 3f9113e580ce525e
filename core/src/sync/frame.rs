//! Frames that are decoded already: what goes into the sync manager's thin form, and what comes out.

use std::sync::Arc;
use std::time::Instant;

use super::error::SyncError;
use crate::trace::state::saved;

/// The longest audio frame in ticks of its 48 kHz clock: 120 ms, as of Opus (RFC 6716, section 2.1.4).
const LONGEST: usize = 5_760;

/// The largest side of a picture, in pixels: that of H.264 and VP9 in use is 8,192.
const LARGEST: u32 = 16_384;

/// A frame of decoded audio as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct AudioFrame {
    /// The RTP timestamp of its first sample.
    pub rtp_timestamp: u32,
    /// The RTP sequence number.
    pub rtp_sequence: u16,
    /// Samples at the audio clock's rate, −1.0 to 1.0, the channels interleaved: at most 120 ms.
    pub samples: Arc<[f32]>,
    /// The number of channels: 1 to 255.
    pub channels: u16,
    /// When it arrived.
    pub received_at: Instant,
    /// What it took on the wire, in bytes: for the figures only.
    pub payload_size: usize,
}

saved!(struct AudioFrame {
    rtp_timestamp, rtp_sequence, samples, channels, received_at, payload_size,
});

impl AudioFrame {
    /// Samples per channel.
    ///
    /// # Errors
    ///
    /// [`SyncError::InvalidFrameFormat`]: no samples, incomplete ones, too many, or no channels.
    pub(super) fn length(&self) -> Result<u32, SyncError> {
        let wrong = |field, reason: &str| Err(invalid(field, reason));
        let channels = usize::from(self.channels);
        if channels == 0 || channels > 255 {
            return wrong("channels", "it is not within 1 to 255");
        }
        let count = self.samples.len() / channels;
        if count == 0 {
            return wrong("samples", "there are none");
        }
        if !self.samples.len().is_multiple_of(channels) {
            return wrong("samples", "they are no multiple of the channels");
        }
        if count > LONGEST {
            return wrong("samples", "they are more than 120 ms");
        }
        Ok(count as u32)
    }
}

/// A frame of audio with its place in time.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SyncedAudioFrame {
    /// The samples, the channels interleaved: those that came in, shared, or resampled ones while clock
    /// drift is corrected.
    pub samples: Arc<[f32]>,
    /// Samples a second of each channel.
    pub sample_rate: u32,
    /// Samples of each channel.
    pub sample_count: usize,
    /// The number of channels.
    pub channels: u16,
    /// When it was captured, in microseconds since 1970: by the sender's clock, or before its first
    /// report by the local one, less the fastest transit of late. `None` where neither is known.
    pub wall_clock_timestamp_us: Option<u64>,
    /// The RTP timestamp of its first sample.
    pub rtp_timestamp: u32,
    /// How long it was held, in milliseconds; of a frame that just came in, how long frames are held.
    pub buffer_delay_ms: f64,
    /// How sure the wall clock is: 1 by recent sender reports, 0.75 where they are old or disagree, 0.5 by
    /// the local clock, 0 without any.
    pub sync_confidence: f64,
    /// How much faster than the local clock the sender's runs, in ppm; 0 while that is not known.
    pub clock_drift_ppm: f64,
    /// How much audio is missing before it, in milliseconds: to be concealed.
    pub gap_ms: f64,
}

/// How the pixels of a picture lie in its planes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum VideoFormat {
    /// Three planes: luma, and both chroma of half its width and height (rounded up).
    I420,
    /// Two planes: luma, and both chroma interleaved, of half its height.
    Nv12,
    /// One plane of 4 bytes a pixel: red, green, blue, alpha.
    Rgba,
}

saved!(
    enum VideoFormat {
        I420,
        Nv12,
        Rgba,
    }
);

impl VideoFormat {
    /// Bytes a row, and rows, of each plane of a picture; unused planes have none.
    fn planes(self, width: u32, height: u32) -> [(u64, u64); 3] {
        let (width, height) = (u64::from(width), u64::from(height));
        let half = (width.div_ceil(2), height.div_ceil(2));
        match self {
            Self::I420 => [(width, height), half, half],
            Self::Nv12 => [(width, height), (half.0 * 2, half.1), (0, 0)],
            Self::Rgba => [(width * 4, height), (0, 0), (0, 0)],
        }
    }
}

/// One plane of a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoPlane {
    /// Row after row.
    pub data: Arc<[u8]>,
    /// The distance of rows in bytes.
    pub stride: usize,
}

saved!(struct VideoPlane { data, stride });

/// A picture. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoPicture {
    /// Its width in pixels: 1 to 16,384.
    pub width: u32,
    /// Its height in pixels: 1 to 16,384.
    pub height: u32,
    /// How its pixels lie.
    pub format: VideoFormat,
    /// Its planes, as many and as large as the format has.
    pub planes: Arc<[VideoPlane]>,
}

saved!(struct VideoPicture { width, height, format, planes });

impl VideoPicture {
    /// Its size in bytes.
    ///
    /// # Errors
    ///
    /// [`SyncError::InvalidFrameFormat`]: a side out of its bounds, planes too few, too many or too small.
    pub(super) fn size(&self) -> Result<usize, SyncError> {
        for (field, side) in [("width", self.width), ("height", self.height)] {
            if !(1..=LARGEST).contains(&side) {
                let reason = format!("{side} is not within 1 to {LARGEST}");
                return Err(SyncError::InvalidFrameFormat { field, reason });
            }
        }
        let wanted = self.format.planes(self.width, self.height);
        let count = wanted.iter().filter(|plane| plane.1 > 0).count();
        if self.planes.len() != count {
            let reason = format!("{} of {count} that the format has", self.planes.len());
            return Err(SyncError::InvalidFrameFormat { field: "planes", reason });
        }
        let mut size = 0_usize;
        for (plane, (row, rows)) in self.planes.iter().zip(wanted) {
            let stride = plane.stride as u64;
            // The last row need not be filled up.
            let least = stride.saturating_mul(rows - 1).saturating_add(row);
            if stride < row || (plane.data.len() as u64) < least {
                return Err(invalid("planes", "one is smaller than the picture"));
            }
            size = size.saturating_add(plane.data.len());
        }
        Ok(size)
    }
}

/// A frame of decoded video as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoFrame {
    /// The RTP timestamp.
    pub rtp_timestamp: u32,
    /// The RTP sequence number of its last packet.
    pub rtp_sequence: u16,
    /// The picture.
    pub picture: VideoPicture,
    /// When it arrived.
    pub received_at: Instant,
    /// Whether it is complete: the RTP marker. Without it, it is a part, and one of the same timestamp
    /// that comes behind replaces it; it counts as complete once one of another timestamp comes.
    pub marker_bit: bool,
    /// Whether it can be decoded without any other.
    pub is_keyframe: bool,
}

saved!(struct VideoFrame {
    rtp_timestamp, rtp_sequence, picture, received_at, marker_bit, is_keyframe,
});

/// A frame of video with its place in time.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SyncedVideoFrame {
    /// The picture.
    pub picture: VideoPicture,
    /// When it was captured, in microseconds since 1970, as of [`SyncedAudioFrame`].
    pub wall_clock_timestamp_us: Option<u64>,
    /// The RTP timestamp.
    pub rtp_timestamp: u32,
    /// Whether it can be decoded without any other.
    pub is_keyframe: bool,
    /// How long it was held, in milliseconds; of a frame that just came in, how long frames are held.
    pub buffer_delay_ms: f64,
    /// How sure the wall clock is, as of [`SyncedAudioFrame`].
    pub sync_confidence: f64,
    /// Frames a second, by the timestamps; `None` while they are too few.
    pub framerate_estimate: Option<f64>,
    /// By how many milliseconds it is shown before the audio that was captured with it: positive where
    /// video is ahead, negative where it is behind. `None` while a clock is not known, or no audio plays.
    pub audio_sync_offset_ms: Option<f64>,
}

pub(super) fn invalid(field: &'static str, reason: &str) -> SyncError {
    SyncError::InvalidFrameFormat { field, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(format: VideoFormat, (width, height): (u32, u32), planes: &[usize]) -> VideoPicture {
        let plane = |&size: &usize| VideoPlane {
            data: vec![0; size].into(),
            stride: if size == 0 { 0 } else { width as usize * 4 },
        };
        VideoPicture { width, height, format, planes: planes.iter().map(plane).collect() }
    }

    #[test]
    fn a_picture_has_the_planes_of_its_format() {
        let check = |format, sides, planes: &[usize]| picture(format, sides, planes).size();
        // Rows lie 4 * 5 bytes apart; the last one ends with its pixels.
        assert_eq!(check(VideoFormat::I420, (5, 3), &[45, 23, 23]), Ok(91));
        assert_eq!(check(VideoFormat::Nv12, (5, 3), &[45, 26]), Ok(71));
        assert_eq!(check(VideoFormat::Rgba, (5, 3), &[60]), Ok(60));
        let field = |found: Result<usize, SyncError>| match found.unwrap_err() {
            SyncError::InvalidFrameFormat { field, .. } => field,
            other => panic!("{other}"),
        };
        for (found, expected) in [
            (check(VideoFormat::I420, (5, 3), &[44, 23, 23]), "planes"),
            (check(VideoFormat::I420, (5, 3), &[45, 23, 22]), "planes"),
            (check(VideoFormat::I420, (5, 3), &[45, 23]), "planes"),
            (check(VideoFormat::Rgba, (5, 3), &[60, 60]), "planes"),
            (check(VideoFormat::Rgba, (5, 3), &[0]), "planes"),
            (check(VideoFormat::Rgba, (0, 3), &[60]), "width"),
            (check(VideoFormat::Rgba, (5, 16_385), &[60]), "height"),
        ] {
            assert_eq!(field(found), expected);
        }
        let mut huge = picture(VideoFormat::Rgba, (5, 3), &[60]);
        huge.planes = Arc::new([VideoPlane { data: Arc::new([0]), stride: usize::MAX }]);
        assert_eq!(field(huge.size()), "planes");
    }

    #[test]
    fn audio_has_at_least_a_sample_and_at_most_120_ms() {
        let length = |samples: usize, channels| {
            let samples = vec![0.0; samples].into();
            let received_at = Instant::now();
            let frame = AudioFrame {
                rtp_timestamp: 0,
                rtp_sequence: 0,
                samples,
                channels,
                received_at,
                payload_size: 0,
            };
            frame.length().ok()
        };
        assert_eq!(length(960, 1), Some(960));
        assert_eq!(length(2 * 5_760, 2), Some(5_760));
        for (samples, channels) in [(0, 1), (1, 2), (961, 2), (5_761, 1), (960, 0), (512, 256)] {
            assert_eq!(length(samples, channels), None, "{samples} of {channels}");
        }
    }
}
