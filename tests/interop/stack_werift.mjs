// werift: WebRTC in plain TypeScript. It carries RTP; Opus is coded here.

import OpusScript from 'opusscript';
import WebSocket from 'ws';
import { MediaStreamTrack, RTCPeerConnection, RTCRtpCodecParameters, RtpHeader, RtpPacket } from 'werift';
import { frequency } from './session.js';

const RATE = 48_000;
const FRAME = RATE / 50;

function addTone(pc, hz) {
  const track = new MediaStreamTrack({ kind: 'audio' });
  const encoder = new OpusScript(RATE, 1, OpusScript.Application.AUDIO);
  const begun = performance.now();
  let n = 0;
  let sequence = 65_500;
  const send = () => {
    const samples = new Int16Array(FRAME);
    for (let i = 0; i < FRAME; i += 1) samples[i] = 10_000 * Math.sin((2 * Math.PI * hz * (n + i)) / RATE);
    const payload = encoder.encode(Buffer.from(samples.buffer), FRAME);
    const header = new RtpHeader({
      sequenceNumber: sequence, timestamp: n >>> 0, payloadType: 96, ssrc: 4_242, marker: n === 0,
    });
    track.writeRtp(new RtpPacket(header, payload));
    sequence = (sequence + 1) & 0xffff;
    n += FRAME;
  };
  setInterval(() => {
    while (n < ((performance.now() - begun) * RATE) / 1000) send();
  }, 10).unref();
  pc.addTransceiver(track, { direction: 'sendrecv' });
}

function listen(track) {
  const decoder = new OpusScript(RATE, 1, OpusScript.Application.AUDIO);
  let recent = [];
  track.onReceiveRtp.subscribe((packet) => {
    const pcm = decoder.decode(packet.payload);
    const samples = new Int16Array(pcm.buffer, pcm.byteOffset, pcm.length / 2);
    recent = recent.concat(Array.from(samples, (sample) => sample / 32_768)).slice(-RATE / 2);
  });
  return { hz: () => frequency(recent, RATE) };
}

export default {
  WebSocket,
  create: () => new RTCPeerConnection({
    iceServers: [],
    codecs: {
      audio: [new RTCRtpCodecParameters({ mimeType: 'audio/opus', clockRate: RATE, channels: 2 })],
      video: [new RTCRtpCodecParameters({ mimeType: 'video/VP8', clockRate: 90_000 })],
    },
  }),
  addTone,
  listen,
};
