/** What picture goes out: the camera's or, where there is none, that of a clock. */

const CLOCK_RATE = 15; // pictures a second

/** Opens it: `{ track, drawn, stop }`; `drawn` tells that it is the clock. */
async function openPicture(kind) {
  if (kind === 'mic' && navigator.mediaDevices) {
    try {
      const video = { width: { ideal: 640 }, height: { ideal: 360 }, frameRate: { ideal: 30 } };
      const [track] = (await navigator.mediaDevices.getUserMedia({ video })).getVideoTracks();
      return { track, drawn: false, stop: () => track.stop() };
    } catch (error) {
      if (error.name === 'NotAllowedError') throw error; // a wish, not a lack
    }
  }
  return openClock();
}

/** A clock whose hand goes round once a second: what is late can be seen. */
function openClock() {
  const canvas = document.createElement('canvas');
  Object.assign(canvas, { width: 320, height: 180 });
  const pen = canvas.getContext('2d');
  const draw = () => {
    const now = Date.now();
    const angle = ((now % 1000) / 1000) * 2 * Math.PI - Math.PI / 2;
    pen.fillStyle = '#102a33';
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.strokeStyle = '#3ec6b4';
    pen.lineWidth = 6;
    pen.beginPath();
    pen.arc(90, 90, 66, 0, 2 * Math.PI);
    pen.moveTo(90, 90);
    pen.lineTo(90 + 54 * Math.cos(angle), 90 + 54 * Math.sin(angle));
    pen.stroke();
    pen.fillStyle = '#e7edf2';
    pen.font = '600 26px ui-monospace, monospace';
    pen.fillText(new Date(now).toISOString().slice(11, 19), 176, 88);
    pen.font = '20px ui-monospace, monospace';
    pen.fillText(`.${String(now % 1000).padStart(3, '0')}`, 176, 118);
  };
  draw();
  const timer = setInterval(draw, 1000 / CLOCK_RATE); // goes on in hidden windows, if more slowly
  const [track] = canvas.captureStream(CLOCK_RATE).getVideoTracks();
  return {
    track,
    drawn: true,
    stop() {
      clearInterval(timer);
      track.stop();
    },
  };
}

/** Shows the video of a stream in an element while any arrives. */
class Picture {
  #element;
  #track = null;
  #shown = new AbortController();

  constructor(element) {
    this.#element = element;
  }

  show(stream) {
    const track = stream?.getVideoTracks()[0] ?? null;
    if (track === this.#track) return;
    this.clear();
    this.#track = track;
    if (!track) return;
    this.#shown = new AbortController();
    const { signal } = this.#shown;
    const update = () => { this.#element.hidden = track.muted || track.readyState === 'ended'; };
    for (const event of ['mute', 'unmute', 'ended']) track.addEventListener(event, update, { signal });
    this.#element.srcObject = new MediaStream([track]);
    this.#element.play().catch(() => { /* it is muted: no gesture is needed, only visible windows */ });
    update();
  }

  clear() {
    this.#shown.abort();
    this.#track = null;
    this.#element.srcObject = null;
    this.#element.hidden = true;
  }
}

