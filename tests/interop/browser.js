// A foreign peer in a browser: the options of session.js are the page's fragment, as JSON; the result is posted
// to `/result`. With `fake` the microphone is the browser's own fake one, and what is heard is recorded and
// decoded: Firefox without an audio device runs no AudioContext.

import { frequency, run } from './session.js';

const options = JSON.parse(decodeURIComponent(location.hash.slice(1)));
const RATE = 48_000;
let context = null;
let microphone = null;

function tone(hz) {
  context ??= new AudioContext({ sampleRate: RATE });
  const oscillator = new OscillatorNode(context, { frequency: hz });
  const volume = new GainNode(context, { gain: 0.3 });
  const destination = new MediaStreamAudioDestinationNode(context);
  oscillator.connect(volume).connect(destination);
  oscillator.start();
  return destination.stream.getAudioTracks()[0];
}

/** Reads what an analyser has of the last moment. */
function analyse(track) {
  context ??= new AudioContext({ sampleRate: RATE });
  const stream = new MediaStream([track]);
  // Chromium decodes only what an element plays too.
  const element = new Audio();
  element.srcObject = stream;
  element.muted = true;
  element.play();
  const analyser = new AnalyserNode(context, { fftSize: 32_768 });
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  return {
    hz() {
      analyser.getFloatTimeDomainData(samples);
      return frequency(samples.subarray(samples.length - RATE / 4), RATE);
    },
  };
}

/** Records, and decodes what was recorded. */
function record(track) {
  const recorder = new MediaRecorder(new MediaStream([track]));
  const pieces = [];
  let found = null;
  let busy = false;
  recorder.ondataavailable = async ({ data }) => {
    pieces.push(data);
    if (busy || pieces.length < 3) return;
    busy = true;
    try {
      const bytes = await new Blob(pieces).arrayBuffer();
      const audio = await new OfflineAudioContext(1, RATE, RATE).decodeAudioData(bytes);
      const samples = audio.getChannelData(0);
      found = frequency(samples.subarray(Math.max(0, samples.length - RATE / 2)), RATE) ?? found;
    } catch {
      // Too short to be decoded.
    }
    busy = false;
  };
  recorder.start(500);
  return { hz: () => found };
}

const stack = {
  WebSocket,
  create: () => new RTCPeerConnection(),
  addTone: (pc, hz) => pc.addTrack(options.fake ? microphone : tone(hz)),
  listen: options.fake ? record : analyse,
};

let result;
try {
  if (options.fake) {
    microphone = (await navigator.mediaDevices.getUserMedia({ audio: true, fake: true })).getAudioTracks()[0];
  }
  result = await run(options, stack);
} catch (error) {
  result = { id: options.id, error: String(error) };
}
await fetch('/result', { method: 'POST', body: JSON.stringify(result) });
