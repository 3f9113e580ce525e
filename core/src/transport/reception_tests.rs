use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::config::{Playout, ReceivedAudio};
use crate::media::EncodedAudio;
use crate::transport::event::AudioData;

const TARGET: Duration = Duration::from_millis(50);
const STEP: u32 = 960;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn fixed(size: Duration, received: ReceivedAudio) -> Reception {
    let mut config = Config::new("ws://h/").playout(Playout::Fixed);
    config.jitter_buffer_size_ms = size.as_millis() as u32;
    config.audio.received = received;
    Reception::new(&PeerId::new("bob").unwrap(), &config, 1).unwrap()
}

/// Lets packet `n` arrive at its time, and gives what comes out until all is played.
fn played(playout: &mut Reception, packets: &[(u32, Arc<[u8]>)]) -> Vec<AudioFrame> {
    let start = Instant::now();
    let mut frames = Vec::new();
    let mut drain = |playout: &mut Reception, until: Instant| {
        while let Some(due) = playout.poll_timeout().filter(|due| *due < until) {
            while let Some(frame) = playout.poll_audio(due) {
                frames.push(frame);
            }
        }
    };
    for (n, opus) in packets {
        let now = start + ms(20) * *n;
        drain(playout, now);
        playout.audio(now, now, 70_000 + u64::from(*n), n * STEP, opus.clone());
    }
    let last = packets.last().map_or(0, |(n, _)| *n);
    drain(playout, start + ms(20) * last + ms(69));
    frames
}

/// A packet of 20 ms of the CELT mode that only has a header: silence.
fn empty() -> Arc<[u8]> {
    [31 << 3].as_slice().into()
}

#[test]
fn encoded_packets_come_in_order_at_their_time_with_gaps() {
    let mut playout = fixed(TARGET, ReceivedAudio::Encoded);
    let packet = |byte: u8| -> Arc<[u8]> { [9 << 3, byte, 0, 0].as_slice().into() };
    let sent = [(0, packet(0)), (2, packet(2)), (3, packet(3))];
    let frames = played(&mut playout, &sent);
    let times: Vec<_> = frames.iter().map(|frame| (frame.rtp / STEP, frame.delay)).collect();
    assert_eq!(times, [(0, TARGET), (2, TARGET), (3, TARGET)]);
    for (frame, (_, opus)) in frames.iter().zip(sent) {
        let expected = EncodedAudio { opus, duration: ms(20) };
        assert_eq!((&frame.data, frame.concealed), (&AudioData::Encoded(expected), false));
    }
    assert_eq!(frames[1].at - frames[0].at, ms(40));
    let (sync, figures) = playout.figures();
    let buffer = sync.audio.buffer;
    assert_eq!((buffer.concealed, buffer.discarded(), figures.undecodable), (1, 0, 0));
    assert_eq!(buffer.average_delay, TARGET);
}

#[test]
fn what_is_no_opus_is_counted_and_left_out() {
    let mut playout = fixed(TARGET, ReceivedAudio::Encoded);
    let bad = |bytes: &[u8]| -> Arc<[u8]> { bytes.into() };
    let sent = [(0, empty()), (1, bad(&[])), (2, bad(&[3, 0])), (3, bad(&[3]))];
    assert_eq!(played(&mut playout, &sent).len(), 1);
    assert_eq!(playout.figures().1.undecodable, 3);
}

#[test]
fn duplicates_are_discarded_and_arrival_is_not_later_than_now() {
    let mut playout = fixed(TARGET, ReceivedAudio::Encoded);
    let now = Instant::now();
    playout.audio(now, now + ms(500), 1, 0, empty());
    playout.audio(now, now, 1, 0, empty());
    assert_eq!(playout.figures().0.audio.dropped_frames, 1);
    assert_eq!(playout.poll_timeout(), Some(now + TARGET));
    playout.set_size(80).unwrap();
    assert_eq!(playout.poll_timeout(), Some(now + ms(80)));
}

#[cfg(feature = "opus")]
mod decoded {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::signal::{peak_at, rms, sine, speech};
    use crate::codec::{
        AudioEncoder, Channels, MAX_PACKET_BYTES, OPUS_RATE, OpusEncoder, OpusSettings,
    };
    use crate::media::AudioBuffer;

    fn encoded(settings: OpusSettings, pcm: &[f32]) -> Vec<(u32, Arc<[u8]>)> {
        let chunk = settings.frame_samples() * settings.channels.count();
        let mut encoder = OpusEncoder::new(settings).unwrap();
        let mut out = [0; MAX_PACKET_BYTES];
        let packet = |frame: &[f32]| {
            let size = encoder.encode(frame, &mut out).unwrap();
            Arc::from(&out[..size])
        };
        (0..).zip(pcm.chunks_exact(chunk).map(packet)).collect()
    }

    fn settings(channels: Channels) -> OpusSettings {
        OpusSettings {
            channels,
            bitrate: 64_000,
            expected_loss_percent: 20,
            ..OpusSettings::default()
        }
    }

    fn audio(frame: &AudioFrame) -> &AudioBuffer {
        match &frame.data {
            AudioData::Decoded(audio) => audio,
            other => panic!("{other:?}"),
        }
    }

    fn samples(frames: &[AudioFrame]) -> Vec<f32> {
        frames.iter().flat_map(|frame| audio(frame).samples.iter().copied()).collect()
    }

    #[test]
    fn a_tone_is_heard_at_its_frequency() {
        for channels in [Channels::Mono, Channels::Stereo] {
            let tone: Vec<f32> = sine(440.0, 0.5, OPUS_RATE, 48_000)
                .into_iter()
                .flat_map(|sample| std::iter::repeat_n(sample, channels.count()))
                .collect();
            let mut playout = fixed(TARGET, ReceivedAudio::Decoded);
            let frames = played(&mut playout, &encoded(settings(channels), &tone));
            assert!((100..105).contains(&frames.len()), "{}", frames.len());
            let sent = &frames[..100];
            assert!(sent.iter().all(|frame| !frame.concealed && !frame.pause));
            let delays: Vec<_> = sent.iter().map(|frame| frame.delay).collect();
            assert!(delays.iter().all(|delay| delay.abs_diff(TARGET) < ms(1)), "{delays:?}");
            let format = |frame: &AudioFrame| (audio(frame).sample_rate, audio(frame).channels);
            assert!(frames.iter().all(|frame| format(frame) == (48_000, channels as u16)));
            let heard: Vec<f32> = samples(&frames).into_iter().step_by(channels.count()).collect();
            assert!(peak_at(&heard[9_600..], 440.0, OPUS_RATE) > 0.4);
        }
    }

    #[test]
    fn losses_are_concealed_and_those_with_a_copy_recovered() {
        let pcm = speech(96_000);
        let mut packets = encoded(settings(Channels::Mono), &pcm);
        let whole = samples(&played(&mut fixed(TARGET, ReceivedAudio::Decoded), &packets));
        packets.retain(|(n, _)| *n < 20 || n % 5 != 0);
        let error = |frames: &[AudioFrame]| {
            let heard = samples(frames);
            let difference = |n: u32| {
                let at = n as usize * 960 + 16;
                (at..at + 960).map(|at| heard[at] - whole[at]).collect::<Vec<_>>()
            };
            rms(&(4..20).flat_map(|n| difference(n * 5)).collect::<Vec<_>>())
        };
        let mut playout = fixed(TARGET, ReceivedAudio::Decoded);
        let frames = played(&mut playout, &packets);
        let figures = playout.figures().1;
        assert!(figures.recovered >= 12 * 960, "{figures:?}");
        assert_eq!(figures.recovered + figures.concealed, 16 * 960);
        // Packets without their copies.
        let bare = |settings| OpusSettings { fec: false, ..settings };
        let mut packets = encoded(bare(settings(Channels::Mono)), &pcm);
        packets.retain(|(n, _)| *n < 20 || n % 5 != 0);
        let mut playout = fixed(TARGET, ReceivedAudio::Decoded);
        let guessed = played(&mut playout, &packets);
        let figures = playout.figures().1;
        assert_eq!((figures.recovered, figures.concealed), (0, 16 * 960));
        assert_eq!(figures.concealments, 16);
        let made_up = guessed.iter().filter(|frame| frame.concealed).count();
        assert!((32..=48).contains(&made_up), "{made_up}");
        let (with_copy, by_guess) = (error(&frames), error(&guessed));
        assert!(with_copy < 0.7 * by_guess, "{with_copy} against {by_guess}");
    }

    #[cfg(feature = "dred")]
    #[test]
    fn bursts_of_losses_are_recovered_from_redundancy() {
        for channels in [Channels::Mono, Channels::Stereo] {
            let pcm: Vec<f32> = speech(96_000)
                .into_iter()
                .flat_map(|sample| std::iter::repeat_n(sample, channels.count()))
                .collect();
            for (fec, bitrate) in [(false, 48_000), (true, 96_000)] {
                let redundant = OpusSettings { dred_ms: 200, fec, bitrate, ..settings(channels) };
                let mut packets = encoded(redundant, &pcm);
                packets.retain(|(n, _)| *n < 20 || n % 20 >= 5);
                let mut playout = fixed(ms(120), ReceivedAudio::Decoded);
                let frames = played(&mut playout, &packets);
                assert!(samples(&frames).iter().all(|sample| sample.is_finite()));
                let figures = playout.figures().1;
                assert_eq!((figures.recovered, figures.concealed), (4 * 5 * 960, 0));
                assert_eq!(figures.concealments, 0);
            }
        }
    }

    #[test]
    fn an_undecodable_packet_is_counted_and_concealed() {
        let mut packets = encoded(settings(Channels::Mono), &speech(9_600));
        // The header of two frames of equal size, and an odd number of bytes.
        packets[5].1 = [9 << 3 | 1, 1, 2, 3].as_slice().into();
        packets[7].1 = Arc::from([]);
        let mut playout = fixed(TARGET, ReceivedAudio::Decoded);
        let frames = played(&mut playout, &packets);
        let made_up = frames.iter().filter(|frame| frame.concealed).count();
        assert!((2..=4).contains(&made_up), "{made_up}");
        // The empty one is recovered from the one behind it.
        let (sync, figures) = playout.figures();
        assert_eq!((figures.undecodable, sync.audio.dropped_frames), (2, 0));
        assert!((960..=2 * 960).contains(&figures.concealed), "{figures:?}");
    }

    #[test]
    fn the_output_becomes_stereo_once_and_stays() {
        let mono = encoded(settings(Channels::Mono), &speech(4_800));
        let stereo = encoded(settings(Channels::Stereo), &speech(9_600));
        let all = mono.iter().chain(&stereo).chain(&mono).map(|(_, opus)| opus.clone());
        let packets: Vec<_> = (0..).zip(all).collect();
        let mut playout = fixed(TARGET, ReceivedAudio::Decoded);
        let frames = played(&mut playout, &packets);
        let stereo = frames.iter().position(|frame| audio(frame).channels == 2).unwrap();
        // The first stereo packet comes in while the second mono one is played.
        assert!((3..=10).contains(&stereo), "{stereo}");
        assert!(frames[stereo..].iter().all(|frame| audio(frame).channels == 2));
        assert!(frames.len() >= 30);
        assert!(
            frames.iter().all(|f| audio(f).samples.len() == 480 * usize::from(audio(f).channels))
        );
    }

    #[test]
    fn concealment_fades_into_silence_and_ends() {
        let packets = encoded(settings(Channels::Mono), &speech(48_000));
        let mut playout = fixed(TARGET, ReceivedAudio::Decoded);
        let heard = played(&mut playout, &packets);
        let mut rest = Vec::new();
        while let Some(due) = playout.poll_timeout() {
            rest.extend(std::iter::from_fn(|| playout.poll_audio(due)));
        }
        // A second of concealment, one of background noise, and its end.
        assert!((190..=215).contains(&rest.len()), "{}", rest.len());
        let made_up = rest.iter().filter(|frame| frame.concealed).count();
        assert!((95..=102).contains(&made_up), "{made_up}");
        assert!(rest[110..].iter().all(|frame| frame.pause && !frame.concealed));
        let last = rms(&audio(&rest[99]).samples);
        assert!(last < 0.1 * rms(&samples(&heard)), "{last}");
    }

    /// Anything; or a packet of any redundancy, which others know as padding.
    fn opus() -> impl Strategy<Value = Vec<u8>> {
        let bytes = prop::collection::vec(any::<u8>(), 0..60);
        (bytes, prop_oneof![3 => Just(false), 1 => Just(true)]).prop_map(|(bytes, redundant)| {
            let padding = bytes.len() as u8 + 3;
            let header = [0x4b, 0x41, padding, 126 << 1, b'D', 12];
            if redundant { [&header, bytes.as_slice()].concat() } else { bytes }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        /// Whatever a peer sends, what comes out are frames of finite samples, in order of time.
        #[test]
        fn hostile_packets_do_no_harm(
            packets in prop::collection::vec(
                (0_u64..40, any::<u16>(), opus(), 0_u64..40),
                0..60,
            ),
        ) {
            let mut playout = fixed(TARGET, ReceivedAudio::Decoded);
            let mut now = Instant::now();
            let mut last = now;
            for (sequence, rtp, opus, wait) in packets {
                playout.audio(now, now, sequence, u32::from(rtp), opus.into());
                now += ms(wait);
                while let Some(frame) = playout.poll_audio(now) {
                    let audio = audio(&frame);
                    prop_assert!(audio.samples.iter().all(|sample| sample.is_finite()));
                    prop_assert!(!audio.samples.is_empty() && audio.samples.len() <= 2 * 5_760);
                    prop_assert!(frame.at >= last && frame.at <= now);
                    last = frame.at;
                }
            }
        }
    }
}

#[test]
fn a_report_of_a_sender_that_has_sent_nothing_is_no_report() {
    let of = |packets| {
        let arrived = Instant::now();
        PeerMedia::Report { video: true, ntp: 1 << 63, rtp: 0, packets, octets: 0, arrived }
    };
    assert_eq!(report(&of(0)), None);
    let found = report(&of(1)).unwrap();
    assert_eq!((found.medium, found.packet_count), (Medium::Video, 1));
}
