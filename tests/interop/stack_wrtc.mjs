// libwebrtc in Node (`@roamhq/wrtc`): audio goes in and out as PCM.

import { createRequire } from 'node:module';
import WebSocket from 'ws';
import { frequency } from './session.js';

const wrtc = createRequire(import.meta.url)('@roamhq/wrtc');
const RATE = 48_000;
const CHUNK = RATE / 100;

function addTone(pc, hz) {
  const source = new wrtc.nonstandard.RTCAudioSource();
  let n = 0;
  const tick = () => {
    const samples = new Int16Array(CHUNK);
    for (let i = 0; i < CHUNK; i += 1, n += 1) samples[i] = 10_000 * Math.sin((2 * Math.PI * hz * n) / RATE);
    source.onData({ samples, sampleRate: RATE, bitsPerSample: 16, channelCount: 1, numberOfFrames: CHUNK });
  };
  // Timers drift: what is due by the clock is sent.
  const begun = performance.now();
  setInterval(() => {
    while (n < ((performance.now() - begun) * RATE) / 1000) tick();
  }, 10).unref();
  pc.addTrack(source.createTrack());
}

function listen(track) {
  const sink = new wrtc.nonstandard.RTCAudioSink(track);
  let recent = [];
  let rate = RATE;
  sink.ondata = ({ samples, sampleRate, channelCount }) => {
    rate = sampleRate;
    const mono = Array.from({ length: samples.length / channelCount }, (_, n) => samples[n * channelCount] / 32_768);
    recent = recent.concat(mono).slice(-rate / 2);
  };
  return { hz: () => frequency(recent, rate) };
}

export default {
  WebSocket,
  create: () => new wrtc.RTCPeerConnection({ iceServers: [] }),
  addTone,
  listen,
};
