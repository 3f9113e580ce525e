/**
 * What goes into the speakers, what comes from the microphone or an oscillator, and what an
 * AnalyserNode says about both.
 */

const LOWEST_HZ = 40;
const HIGHEST_HZ = 10_000;
const SILENCE_DB = -75; // spectrum peaks below this are no tone
const FLOOR_DB = -60; // the empty end of a level meter

let context = null;

/** The page's only AudioContext; created at the first join, so that a gesture stands behind it. */
function audioContext() {
  if (!context) {
    context = new AudioContext({ latencyHint: 'interactive' });
    context.addEventListener('statechange', () => document.dispatchEvent(new Event('audiostate')));
  }
  if (context.state === 'suspended') context.resume().catch(() => { /* needs a gesture: the page asks for one */ });
  return context;
}

/** Opens what is to be sent: `{ stream, stop }`; rejects with the browser's reason without a microphone. */
async function openSource(kind, hz) {
  const audio = audioContext();
  if (kind === 'none') return { stream: new MediaStream(), stop() {} };
  if (kind === 'tone') {
    const oscillator = new OscillatorNode(audio, { frequency: hz });
    const gain = new GainNode(audio, { gain: 0.2 });
    const destination = new MediaStreamAudioDestinationNode(audio, { channelCount: 1 });
    oscillator.connect(gain).connect(destination);
    oscillator.start();
    return {
      stream: destination.stream,
      stop() {
        oscillator.stop();
        oscillator.disconnect();
        gain.disconnect();
        for (const track of destination.stream.getTracks()) track.stop();
      },
    };
  }
  if (!navigator.mediaDevices) throw new Error('the microphone needs https or localhost');
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  return { stream, stop: () => stream.getTracks().forEach((track) => track.stop()) };
}

/** Measures one stream: level, dominant frequency, spectrum. */
class Ear {
  #source;
  #analyser;
  #silent;
  #wave;
  #spectrum;

  constructor(stream) {
    const audio = audioContext();
    this.#source = new MediaStreamAudioSourceNode(audio, { mediaStream: stream });
    this.#analyser = new AnalyserNode(audio, { fftSize: 8192, smoothingTimeConstant: 0, minDecibels: -100 });
    this.#silent = new GainNode(audio, { gain: 0 }); // a node without a way to the output may not be run
    this.#source.connect(this.#analyser).connect(this.#silent).connect(audio.destination);
    this.#wave = new Float32Array(2048);
    this.#spectrum = new Float32Array(this.#analyser.frequencyBinCount);
  }

  /** Takes a fresh look: `{ db, hz }`; hz is null in silence. */
  listen() {
    this.#analyser.getFloatTimeDomainData(this.#wave);
    const power = this.#wave.reduce((sum, sample) => sum + sample * sample, 0) / this.#wave.length;
    this.#analyser.getFloatFrequencyData(this.#spectrum);
    return { db: Math.max(FLOOR_DB, 10 * Math.log10(power + 1e-12)), hz: this.#peak() };
  }

  /** The strongest frequency; a parabola through three bins (in dB) gives it finer than a bin's width. */
  #peak() {
    const bins = this.#spectrum;
    const width = context.sampleRate / this.#analyser.fftSize;
    const last = Math.min(bins.length - 2, Math.floor(HIGHEST_HZ / width));
    let best = Math.ceil(LOWEST_HZ / width);
    for (let i = best; i <= last; i += 1) if (bins[i] > bins[best]) best = i;
    const [left, top, right] = bins.slice(best - 1, best + 2);
    if (!(top > SILENCE_DB)) return null;
    const bend = left - 2 * top + right;
    const shift = bend < 0 && Number.isFinite(bend) ? (left - right) / (2 * bend) : 0;
    return (best + shift) * width;
  }

  /** `count` bars of 0 to 1 over a logarithmic frequency axis, from the last `listen`. */
  bars(count) {
    const width = context.sampleRate / this.#analyser.fftSize;
    const edge = (i) => (LOWEST_HZ * (HIGHEST_HZ / LOWEST_HZ) ** (i / count)) / width;
    return Array.from({ length: count }, (_, i) => {
      const from = Math.floor(edge(i));
      const to = Math.max(from + 1, Math.ceil(edge(i + 1)));
      let top = -Infinity;
      for (let bin = from; bin < to; bin += 1) top = Math.max(top, this.#spectrum[bin] ?? -Infinity);
      return Math.min(1, Math.max(0, (top + 90) / 75));
    });
  }

  close() {
    this.#source.disconnect();
    this.#analyser.disconnect();
    this.#silent.disconnect();
  }
}

const NOTES = ['C', 'C♯', 'D', 'D♯', 'E', 'F', 'F♯', 'G', 'G♯', 'A', 'A♯', 'B'];

/** The nearest note of equal temperament at A4 = 440 Hz. */
function noteOf(hz) {
  const semitone = Math.round(69 + 12 * Math.log2(hz / 440));
  return `${NOTES[((semitone % 12) + 12) % 12]}${Math.floor(semitone / 12) - 1}`;
}

