use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;

const TARGET: Duration = Duration::from_millis(50);
const STEP: u32 = 960;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Lets packet `n` arrive at its time, and gives what comes out until all is played.
fn played(playout: &mut AudioPlayout, packets: &[(u32, Arc<[u8]>)]) -> Vec<AudioFrame> {
    let start = Instant::now();
    let mut frames = Vec::new();
    let mut drain = |playout: &mut AudioPlayout, until: Instant| {
        while let Some(due) = playout.poll_timeout().filter(|due| *due < until) {
            while let Some(frame) = playout.poll(due) {
                frames.push(frame);
            }
        }
    };
    for (n, opus) in packets {
        let now = start + ms(20) * *n;
        drain(playout, now);
        playout.insert(now, now, 70_000 + u64::from(*n), n * STEP, opus.clone());
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
    let mut playout = AudioPlayout::new(TARGET, ReceivedAudio::Encoded);
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
    let figures = playout.figures();
    assert_eq!((figures.concealed, figures.discarded, figures.undecodable), (1, 0, 0));
    assert_eq!(figures.delay, TARGET);
}

#[test]
fn what_is_no_opus_is_counted_and_left_out() {
    let mut playout = AudioPlayout::new(TARGET, ReceivedAudio::Encoded);
    let bad = |bytes: &[u8]| -> Arc<[u8]> { bytes.into() };
    let sent = [(0, empty()), (1, bad(&[])), (2, bad(&[3, 0])), (3, bad(&[3]))];
    assert_eq!(played(&mut playout, &sent).len(), 1);
    assert_eq!(playout.figures().undecodable, 3);
}

#[test]
fn duplicates_are_discarded_and_arrival_is_not_later_than_now() {
    let mut playout = AudioPlayout::new(TARGET, ReceivedAudio::Encoded);
    let now = Instant::now();
    playout.insert(now, now + ms(500), 1, 0, empty());
    playout.insert(now, now, 1, 0, empty());
    assert_eq!(playout.figures().discarded, 1);
    assert_eq!(playout.poll_timeout(), Some(now + TARGET));
    playout.set_target(ms(80));
    assert_eq!(playout.poll_timeout(), Some(now + ms(80)));
}

#[cfg(feature = "opus")]
mod decoded {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::signal::{peak_at, rms, sine, speech};
    use crate::codec::{AudioEncoder, Channels, MAX_PACKET_BYTES, OpusEncoder, OpusSettings};
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
            AudioData::Encoded(_) => panic!("encoded"),
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
            let mut playout = AudioPlayout::new(TARGET, ReceivedAudio::Decoded);
            let frames = played(&mut playout, &encoded(settings(channels), &tone));
            assert_eq!(frames.len(), 50);
            assert!(frames.iter().all(|frame| !frame.concealed && frame.delay == TARGET));
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
        let whole =
            samples(&played(&mut AudioPlayout::new(TARGET, ReceivedAudio::Decoded), &packets));
        packets.retain(|(n, _)| *n < 20 || n % 5 != 0);
        let error = |frames: &[AudioFrame]| {
            let heard = samples(frames);
            assert_eq!(heard.len(), whole.len());
            let difference = |frame: &AudioFrame| {
                let at = frame.rtp as usize;
                (at..at + 960).map(|at| heard[at] - whole[at]).collect::<Vec<_>>()
            };
            let lost = frames.iter().filter(|frame| frame.concealed).flat_map(difference);
            rms(&lost.collect::<Vec<_>>())
        };
        let mut playout = AudioPlayout::new(TARGET, ReceivedAudio::Decoded);
        let frames = played(&mut playout, &packets);
        let made_up: Vec<_> =
            frames.iter().filter(|frame| frame.concealed).map(|frame| frame.rtp / STEP).collect();
        assert_eq!(made_up, (4..20).map(|n| n * 5).collect::<Vec<_>>());
        assert_eq!(playout.figures().concealed, 16);
        // With no delay the successor never waits: nothing but a guess is left.
        let guessed = played(&mut AudioPlayout::new(ms(0), ReceivedAudio::Decoded), &packets);
        let (with_copy, by_guess) = (error(&frames), error(&guessed[..frames.len()]));
        assert!(with_copy < 0.7 * by_guess, "{with_copy} against {by_guess}");
    }

    #[test]
    fn an_undecodable_packet_is_counted_and_concealed() {
        let mut packets = encoded(settings(Channels::Mono), &speech(9_600));
        // The header of two frames of equal size, and an odd number of bytes.
        packets[5].1 = [9 << 3 | 1, 1, 2, 3].as_slice().into();
        packets[7].1 = Arc::from([]);
        let mut playout = AudioPlayout::new(TARGET, ReceivedAudio::Decoded);
        let frames = played(&mut playout, &packets);
        assert_eq!(frames.iter().filter(|frame| frame.concealed).count(), 2);
        let figures = playout.figures();
        assert_eq!((figures.undecodable, figures.concealed, figures.discarded), (2, 2, 0));
    }

    #[test]
    fn the_output_becomes_stereo_once_and_stays() {
        let mono = encoded(settings(Channels::Mono), &speech(4_800));
        let stereo = encoded(settings(Channels::Stereo), &speech(9_600));
        let all = mono.iter().chain(&stereo).chain(&mono).map(|(_, opus)| opus.clone());
        let packets: Vec<_> = (0..).zip(all).collect();
        let mut playout = AudioPlayout::new(TARGET, ReceivedAudio::Decoded);
        let frames = played(&mut playout, &packets);
        let channels: Vec<_> = frames.iter().map(|frame| audio(frame).channels).collect();
        assert_eq!(channels, [[1; 5], [2; 5], [2; 5]].concat());
        assert!(
            frames.iter().all(|f| audio(f).samples.len() == 960 * usize::from(audio(f).channels))
        );
    }

    #[test]
    fn concealment_fades_into_silence_and_ends() {
        let packets = encoded(settings(Channels::Mono), &speech(48_000));
        let mut playout = AudioPlayout::new(TARGET, ReceivedAudio::Decoded);
        let heard = played(&mut playout, &packets);
        let mut rest = Vec::new();
        while let Some(due) = playout.poll_timeout() {
            rest.extend(std::iter::from_fn(|| playout.poll(due)));
        }
        assert_eq!(rest.len(), 50, "one second");
        let last = rms(&audio(&rest[49]).samples);
        assert!(last < 0.1 * rms(&samples(&heard)), "{last}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        /// Whatever a peer sends, what comes out are frames of finite samples, in order of time.
        #[test]
        fn hostile_packets_do_no_harm(
            packets in prop::collection::vec(
                (0_u64..40, any::<u16>(), prop::collection::vec(any::<u8>(), 0..60), 0_u64..40),
                0..60,
            ),
        ) {
            let mut playout = AudioPlayout::new(TARGET, ReceivedAudio::Decoded);
            let mut now = Instant::now();
            let mut last = now;
            for (sequence, rtp, opus, wait) in packets {
                playout.insert(now, now, sequence, u32::from(rtp), opus.into());
                now += ms(wait);
                while let Some(frame) = playout.poll(now) {
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
