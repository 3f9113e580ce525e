
/** For automated tests: drives the page and waits for what it shows. Every helper is asynchronous but `peers`. */

/** Resolves with what `probe` returns once that is not undefined; rejects with `complaint()` at the end of time. */
function waitFor(probe, timeoutMs, complaint) {
  return new Promise((resolve, reject) => {
    const end = performance.now() + timeoutMs;
    const look = () => {
      const value = probe();
      if (value !== undefined) resolve(value);
      else if (performance.now() >= end) reject(new Error(complaint()));
      else setTimeout(look, 50);
    };
    look();
  });
}

window.rtcmeshPage = {
  /** Joins; `{ name, source, hz, video }` replace what the lobby says. */
  async join({ name, source: kind, hz, video } = {}) {
    if (name !== undefined) $('name').value = name;
    if (kind !== undefined) $('lobby').elements.source.value = kind;
    if (hz !== undefined) $('hz').value = hz;
    if (video !== undefined) $('video').checked = video;
    showSource();
    await join();
  },

  async leave() {
    leave();
  },

  /** Everybody the mesh knows: id, state, dataOpen, hz, db and more. */
  peers() {
    return (mesh?.peers() ?? []).map(({ stream, ...peer }) => {
      const tile = tiles.get(peer.id);
      return { ...peer, hz: tile?.measure() ?? null, db: tile?.db ?? null };
    });
  },

  /** The latest `stats` of a peer, and as `reception` what it told of how it receives us; null where there is none. */
  async figures(peerId) {
    const tile = tiles.get(peerId);
    return tile?.stats ? { ...tile.stats, reception: tile.reception } : null;
  },

  /** Resolves once the peer is connected. */
  connected: (peerId, timeoutMs = 10_000) => waitFor(
    () => (mesh?.peer(peerId)?.state === 'connected' ? true : undefined),
    timeoutMs,
    () => `${peerId} is ${mesh?.peer(peerId)?.state ?? 'unknown'} after ${timeoutMs} ms`,
  ),

  /** Resolves with the measured frequency once three looks in a row are within `toleranceHz` of `hz`. */
  heard(peerId, hz, toleranceHz = 5, timeoutMs = 10_000) {
    let inRow = 0;
    let last = null;
    return waitFor(
      () => {
        last = tiles.get(peerId)?.measure() ?? null;
        inRow = last !== null && Math.abs(last - hz) <= toleranceHz ? inRow + 1 : 0;
        return inRow >= 3 ? last : undefined;
      },
      timeoutMs,
      () => `${hz} Hz from ${peerId} not heard within ${timeoutMs} ms; last ${last === null ? 'silence' : `${last.toFixed(1)} Hz`}, `
        + `audio ${context?.state ?? 'not started'}, peer ${mesh?.peer(peerId)?.state ?? 'unknown'}`,
    );
  },

  /**
   * Resolves with the first message `{ from, text, bytes, label }`, come already or still to come, that
   * matches: a peer id, a RegExp for the text, a function of the message, or null for any. Each is given out once.
   */
  message(which = null, timeoutMs = 10_000) {
    const matches = (message) => {
      if (which === null) return true;
      if (typeof which === 'function') return which(message);
      return which instanceof RegExp ? which.test(message.text ?? '') : message.from === which;
    };
    return chat.take(matches, timeoutMs);
  },

  /** Sends text or bytes (Uint8Array or an array of numbers) to one peer or, with null, to all; waits for the channel. */
  async send(peerId, data, timeoutMs = 10_000) {
    const payload = Array.isArray(data) ? Uint8Array.from(data) : data;
    const ready = () => (peerId === null
      ? (mesh?.peers() ?? []).some((peer) => peer.dataOpen)
      : mesh?.peer(peerId)?.dataOpen);
    await waitFor(() => (ready() ? true : undefined), timeoutMs, () => `no open data channel to ${peerId ?? 'anybody'} within ${timeoutMs} ms`);
    return send(peerId, payload);
  },

  /** The RtcMesh in use, or null. */
  get mesh() {
    return mesh;
  },
};

if (query.get('autojoin') === '1') join().catch(() => { /* shown already */ });
