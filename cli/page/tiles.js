/** One tile per participant: name, state, spectrum, level, pitch, statistics, mute and volume. */

const STATE_TEXT = {
  new: 'Waiting', connecting: 'Connecting…', connected: 'Connected', reconnecting: 'Reconnecting…',
  failed: 'Failed', closed: 'Disconnected', self: 'You',
};
const BARS = 56;

const bitrate = (bits) => (bits >= 999_500 ? `${(bits / 1e6).toFixed(1)} Mb/s` : `${Math.round(bits / 1000)} kb/s`);
const milliseconds = (ms) => (ms === null ? '–' : `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`);
const signed = (ms) => (ms === null ? '–' : `${ms < 0 ? '−' : '+'}${Math.abs(Math.round(ms))} ms`);
const percent = (share) => `${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;

/** A hue that stays the same for a name. */
const hueOf = (name) => [...name].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 360, 210);

class Tile {
  #parts;
  #ear = null;
  #stream = null;
  #player = null;
  #picture;
  #ui = { muted: false, volume: 0.8 };
  #shown = {};
  stats = null;
  reception = null;
  hz = null;
  db = FLOOR_DB;

  /** `onMute` is for the self tile: it decides what muting does there. */
  constructor(id, { self = false, onMute = null } = {}) {
    this.id = id;
    this.self = self;
    const root = document.getElementById('tile').content.firstElementChild.cloneNode(true);
    const part = (selector) => root.querySelector(selector);
    this.root = root;
    this.#parts = {
      state: part('.state'), hz: part('.hz'), note: part('.note'), canvas: part('canvas'), meter: part('.meter'),
      bar: part('.meter i'), avatar: part('.avatar'), mute: part('.mute'), muteText: part('.mute span'), volume: part('.volume'),
    };
    this.#picture = new Picture(part('.picture'));
    part('.picture').setAttribute('aria-label', `Video of ${id}`);
    root.setAttribute('aria-label', self ? `${id}, you` : id);
    root.style.setProperty('--hue', hueOf(id));
    part('h3').textContent = id;
    part('h3').title = id;
    this.#parts.avatar.textContent = id.replace(/^[^A-Za-z0-9]*/, '').slice(0, 1).toUpperCase() || '·';
    this.#parts.mute.setAttribute('aria-label', self ? 'Mute what you send' : `Mute ${id}`);
    this.#parts.mute.addEventListener('click', () => {
      this.#ui.muted = !this.#ui.muted;
      this.#parts.mute.setAttribute('aria-pressed', String(this.#ui.muted));
      this.#parts.muteText.textContent = this.#ui.muted ? 'Muted' : 'Mute';
      onMute?.(this.#ui.muted);
      this.#applyVolume();
    });
    if (self) {
      root.querySelectorAll('.stats').forEach((list) => list.remove());
      this.#parts.volume.remove();
    } else {
      this.#parts.volume.setAttribute('aria-label', `Volume of ${id}`);
      this.#parts.volume.addEventListener('input', () => {
        this.#ui.volume = Number(this.#parts.volume.value) / 100;
        this.#applyVolume();
      });
    }
    this.setState(self ? 'self' : 'new');
  }

  setState(state, text = STATE_TEXT[state] ?? state) {
    this.root.dataset.state = state;
    this.#parts.state.textContent = text;
  }

  /** Listens to a stream, and plays it unless it is our own. */
  attach(stream) {
    if (stream === this.#stream && this.#ear) {
      this.#picture.show(stream);
      return;
    }
    this.detach();
    this.#picture.show(stream);
    if (!stream?.getAudioTracks().length) return;
    this.#stream = stream;
    if (!this.self) {
      // Chromium lets remote audio flow into WebAudio only while an element plays it, muted or not.
      this.#player = new Audio();
      this.#player.srcObject = stream;
      this.#applyVolume();
      this.play();
    }
    this.#ear = new Ear(stream);
  }

  /** Tries to start playback; false when the browser wants a gesture first. */
  async play() {
    try {
      await this.#player?.play();
      return true;
    } catch (error) {
      if (error.name === 'NotAllowedError') document.dispatchEvent(new Event('audiostate'));
      return false;
    }
  }

  /** Whether playback waits for a gesture. */
  get blocked() {
    return this.#player !== null && this.#player.paused;
  }

  detach() {
    this.#picture.clear();
    this.#hideThere();
    this.#ear?.close();
    if (this.#player) {
      this.#player.pause();
      this.#player.srcObject = null;
    }
    this.#ear = this.#stream = this.#player = this.hz = null;
    this.db = FLOOR_DB;
  }

  #applyVolume() {
    if (!this.#player) return;
    this.#player.volume = this.#ui.volume;
    this.#player.muted = this.#ui.muted;
  }

  /** Measures now; the frequency, or null in silence. */
  measure() {
    if (this.#ear) ({ db: this.db, hz: this.hz } = this.#ear.listen());
    return this.hz;
  }

  setStats(stats) {
    this.stats = stats;
    this.#fill('stat', {
      rtt: milliseconds(stats.rtt),
      loss: percent(stats.loss),
      jitter: milliseconds(stats.jitter),
      in: bitrate(stats.bitrateIn),
      out: bitrate(stats.bitrateOut),
      held: milliseconds(stats.audioDelay),
      concealed: milliseconds(stats.concealed),
      framerate: stats.framerate === null ? '–' : `${Math.round(stats.framerate)} fps`,
      av: signed(stats.avOffset),
    });
  }

  /** What the peer tells of how it receives us, as `rtcmesh join --json` tells it; none of it is trusted. */
  setReception(reception) {
    const number = (key) => (Number.isFinite(reception[key]) ? reception[key] : null);
    this.reception = reception;
    const [drift, error] = [number('drift_ppm'), number('drift_error_ppm')];
    this.#fill('there', {
      state: String(reception.state).slice(0, 12),
      held: milliseconds(number('audio_delay_ms')),
      loss: percent(number('audio_loss') ?? 0),
      drift: drift === null ? '–' : `${drift.toFixed(1).replace('-', '−')}${error === null ? '' : ` ± ${error.toFixed(1)}`} ppm`,
      av: signed(number('av_offset_ms')),
    });
    this.root.querySelector('.there').hidden = false;
  }

  #hideThere() {
    this.reception = null;
    const list = this.root.querySelector('.there');
    if (list) list.hidden = true;
  }

  #fill(kind, texts) {
    for (const [name, text] of Object.entries(texts)) {
      this.root.querySelector(`[data-${kind}="${name}"]`).textContent = text;
    }
  }

  /** Measures and draws. */
  draw() {
    const hz = this.measure();
    const level = Math.max(0, 1 - this.db / FLOOR_DB);
    const { bar, avatar, meter, canvas } = this.#parts;
    bar.style.transform = `scaleX(${level.toFixed(3)})`;
    avatar.style.setProperty('--ring', level.toFixed(2));
    this.#show('hz', hz === null ? '–' : hz.toFixed(hz < 1000 ? 1 : 0));
    this.#show('note', hz === null ? '' : noteOf(hz));
    meter.setAttribute('aria-valuenow', String(Math.round(this.db)));
    const pen = canvas.getContext('2d');
    const { width, height } = canvas;
    pen.clearRect(0, 0, width, height);
    pen.fillStyle = getComputedStyle(canvas).color;
    const step = (width - 16) / BARS;
    const bars = this.#ear ? this.#ear.bars(BARS) : new Array(BARS).fill(0);
    bars.forEach((value, i) => {
      const tall = Math.max(3, value * (height - 20));
      pen.globalAlpha = 0.3 + 0.7 * value;
      pen.fillRect(8 + i * step + 1, height - 8 - tall, step - 2, tall);
    });
  }

  #show(part, text) {
    if (this.#shown[part] === text) return;
    this.#shown[part] = text;
    this.#parts[part].textContent = text;
  }

  remove() {
    this.detach();
    this.root.remove();
  }
}

