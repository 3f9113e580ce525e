// One foreign peer, in Node or in a browser: joins a room, offers to or answers one rtcmesh peer, and
// finds out whether its tone arrives and whether each message comes back byte for byte.
//
// The stack is `{ create(), addTone(pc, hz), listen(track), WebSocket }`; `listen` gives an ear with
// `hz()`, the frequency heard last, or null.

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const now = () => performance.now();

/** The frequency of a tone in samples by its rising zero crossings, or null where it is silent. */
export function frequency(samples, rate) {
  let energy = 0;
  for (const sample of samples) energy += sample * sample;
  if (samples.length < rate / 5 || Math.sqrt(energy / samples.length) < 0.01) return null;
  let first = -1;
  let last = -1;
  let count = -1;
  for (let n = 1; n < samples.length; n += 1) {
    if (samples[n - 1] < 0 && samples[n] >= 0) {
      last = n - samples[n] / (samples[n] - samples[n - 1]);
      if (first < 0) first = last;
      count += 1;
    }
  }
  return count < 1 ? null : (count * rate) / (last - first);
}

/** JSON-RPC over one WebSocket. */
class Signaling {
  #socket;
  #waiting = new Map();
  #last = 0;
  on = () => {};

  async open(WebSocketType, url) {
    this.#socket = new WebSocketType(url);
    await new Promise((done, failed) => {
      this.#socket.onopen = done;
      this.#socket.onerror = () => failed(new Error(`cannot reach ${url}`));
    });
    this.#socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.method) return this.on(message.method, message.params);
      const { done, failed } = this.#waiting.get(message.id) ?? {};
      this.#waiting.delete(message.id);
      if (message.error) failed?.(new Error(`${message.error.code} ${message.error.message}`));
      else done?.(message.result);
    };
  }

  request(method, params) {
    this.#last += 1;
    const id = this.#last;
    this.#socket.send(JSON.stringify({ jsonrpc: '2.0', method, params, id }));
    return new Promise((done, failed) => this.#waiting.set(id, { done, failed }));
  }

  notify(method, params) {
    this.#socket.send(JSON.stringify({ jsonrpc: '2.0', method, params }));
  }

  close() {
    this.#socket.close(1000);
  }
}

/** Messages of many sizes, text and binary, of bytes that tell when one is cut or mixed up. */
function messages(limit) {
  const sizes = [1, 2, 1000, 1200, 16_384, 65_535, 65_536, 65_537, 262_143, 262_144, 300_000];
  const list = [];
  for (const size of sizes.filter((size) => size <= limit)) {
    list.push(Array.from({ length: size }, (_, n) => 'abcdefghij'[(n * 7 + size + (n >> 8)) % 10]).join(''));
    list.push(Uint8Array.from({ length: size }, (_, n) => (n * 31 + size + (n >> 8)) & 255));
  }
  list.push('ü€😀');
  return list;
}

const asText = (message) => (typeof message === 'string' ? `t${message}` : `b${message.length}:${message.join()}`);

/** Sends each message, `window` at a time, and counts those that come back as they were. */
async function exchange(channel, limit, report, until) {
  const wanted = messages(limit);
  const back = [];
  report.largest = Math.max(...wanted.map((message) => message.length));
  report.sent = wanted.length;
  report.same = 0;
  channel.binaryType = 'arraybuffer';
  channel.onmessage = ({ data }) => {
    back.push(typeof data === 'string' ? data : new Uint8Array(data));
    const place = back.length - 1;
    if (place < wanted.length && asText(back[place]) === asText(wanted[place])) report.same += 1;
    else report.wrong = (report.wrong ?? 0) + 1;
  };
  for (let n = 0; n < wanted.length; n += 1) {
    channel.send(wanted[n]);
    while (n - back.length >= 3 && now() < until) await sleep(5);
  }
  while (back.length < wanted.length && now() < until) await sleep(20);
}

/**
 * Runs one peer. Options: `url`, `id`, `peer` (whom to talk with), `role` (`offer` or `answer`), `ice`
 * (`trickle`, `full`: all candidates in the description, those of the other side too, `mdns`: names in place of
 * addresses, `full mdns`),
 * `audio`, `data`, `video` (booleans), `hz`, `seconds` (how long at most), `answer_after` (ms),
 * `candidates` (`both`, `mid`, `index`), `odd` (see below).
 */
export async function run(options, stack) {
  const o = { ice: 'trickle', audio: true, data: true, hz: 440, seconds: 15, candidates: 'both', ...options };
  const result = { id: o.id, connected_ms: null, tone_hz: null };
  const signaling = new Signaling();
  const until = now() + o.seconds * 1000;
  let pc = null;
  let request = null;
  let started = 0;
  let ear = null;
  let channel = null;
  let closed = false;
  let exchanged = Promise.resolve();
  let held = [];
  let outbox = [];
  let remoteIsSet = false;

  const hide = (text) => text.replace(/(candidate:\S+ \d \S+ \d+ )(\S+)( \d+ typ host)/g, (_, a, address, b) =>
    address.endsWith('.local') ? a + address + b : `${a}6a7c3f4e-0d5b-4a51-9b5e-3f1d2c4b5a69.local${b}`);
  const outward = (text) => (o.ice.includes('mdns') ? hide(text) : text);
  const params = () => ({ from: o.id, to: o.peer, request_id: request });

  const sendCandidate = (candidate) => {
    if (o.ice.startsWith('full')) return;
    const place = { sdp_m_line_index: candidate?.sdpMLineIndex ?? 0, sdp_mid: candidate?.sdpMid ?? '0' };
    if (o.candidates === 'mid') delete place.sdp_m_line_index;
    if (o.candidates === 'index') delete place.sdp_mid;
    signaling.notify('peer.ice_candidate', { ...params(), ...place, candidate: outward(candidate?.candidate ?? '') });
  };

  const adopt = (opened) => {
    (result.channels ??= []).push(opened.label);
    if (opened.label !== 'data' || channel) return;
    channel = opened;
    const begin = () => {
      // What goes there comes back: both sides must take it.
      const limit = Math.min(sizeLimit(pc.localDescription), sizeLimit(pc.remoteDescription));
      exchanged = exchange(opened, limit, result, until);
    };
    if (channel.readyState === 'open') begin();
    else channel.onopen = begin;
  };

  // 0 means any size.
  const sizeLimit = ({ sdp }) => Number(sdp.match(/a=max-message-size:(\d+)/)?.[1] ?? 65_536) || Infinity;

  const create = () => {
    pc = stack.create();
    remoteIsSet = false;
    pc.onicecandidate = ({ candidate }) => (outbox ? outbox.push(candidate) : sendCandidate(candidate));
    pc.ondatachannel = (event) => adopt(event.channel);
    pc.ontrack = (event) => {
      if (event.track.kind === 'audio') ear = stack.listen(event.track);
    };
    const changed = () => {
      result.state = pc.connectionState;
      if (pc.connectionState === 'connected') result.connected_ms ??= Math.round(now() - started);
      if (['failed', 'closed'].includes(pc.connectionState)) closed = true;
    };
    pc.onconnectionstatechange = changed;
  };

  const gathered = async () => {
    while (pc.iceGatheringState !== 'complete' && now() < until) await sleep(10);
  };

  const describe = async (method, description) => {
    outbox = [];
    await pc.setLocalDescription(description);
    if (o.ice.startsWith('full')) await gathered();
    await signaling.request(method, {
      ...params(), sdp: outward(pc.localDescription.sdp), can_trickle_ice_candidates: !o.ice.startsWith('full'),
    });
    const early = outbox;
    outbox = null;
    early.forEach(sendCandidate);
  };

  const apply = async (description) => {
    (result.sdp ??= []).push(description.sdp);
    await pc.setRemoteDescription(description);
    remoteIsSet = true;
    for (const candidate of held.splice(0)) await addCandidate(candidate);
  };

  const addCandidate = async ({ candidate, sdp_mid, sdp_m_line_index, request_id }) => {
    if (request_id !== request) return;
    if (!candidate) return;
    await pc.addIceCandidate({ candidate, sdpMid: sdp_mid, sdpMLineIndex: sdp_m_line_index });
  };

  const offer = async () => {
    request = `${o.id}-${Math.random().toString(36).slice(2)}`;
    started ||= now();
    await describe('peer.offer', await pc.createOffer());
  };

  const call = async () => {
    create();
    if (o.audio) stack.addTone(pc, o.hz);
    if (o.video) pc.addTransceiver('video', { direction: 'recvonly' });
    if (o.data) {
      const made = pc.createDataChannel('data');
      adopt(made);
    }
    await offer();
    if (o.odd === 'two offers') await offer();
  };

  const handle = {
    'peer.announced': async ({ peer_id: peer }) => {
      if (peer !== o.peer || o.role !== 'offer' || pc) return;
      await call();
    },
    'peer.offer': async ({ from, sdp, request_id: id }) => {
      if (from !== o.peer) return;
      if (pc?.signalingState === 'have-local-offer') {
        // Glare: the greater id's offer stands.
        if (o.id > o.peer) return;
        pc.close();
        pc = null;
        channel = null;
        ear = null;
        closed = false;
      }
      request = id;
      started ||= now();
      const fresh = !pc;
      if (fresh) create();
      if (o.answer_after) await sleep(o.answer_after);
      if (fresh && o.audio && /^m=audio/m.test(sdp)) stack.addTone(pc, o.hz, true);
      await apply({ type: 'offer', sdp });
      await describe('peer.answer', await pc.createAnswer());
    },
    'peer.answer': async ({ from, sdp, request_id: id }) => {
      if (from === o.peer && id === request) await apply({ type: 'answer', sdp });
    },
    'peer.ice_candidate': async (candidate) => {
      // One that cannot trickle has no use for what comes after a description.
      if (candidate.from !== o.peer || o.ice.startsWith('full')) return;
      if (remoteIsSet) await addCandidate(candidate);
      else held.push(candidate);
    },
    'peer.disconnected': async ({ from, reason }) => {
      if (from === o.peer) result.disconnected = reason;
    },
  };

  let queue = Promise.resolve();
  signaling.on = (method, given) => {
    queue = queue.then(() => handle[method]?.(given)).catch((error) => { result.error ??= `${method}: ${error.message}`; });
  };
  await signaling.open(stack.WebSocket, o.url);
  await signaling.request('peer.announce', {
    peer_id: o.id, capabilities: ['audio', 'data', ...(o.video ? ['video'] : [])], user_data: {},
  });

  // What other stacks do to a connection that stands.
  const odd = {
    'renegotiate with video': async () => {
      pc.addTransceiver('video', { direction: 'recvonly' });
      await offer();
    },
    'renegotiate with a channel': async () => {
      const second = pc.createDataChannel('data');
      channel = null;
      adopt(second);
      await offer();
    },
    'restart ice': async () => {
      pc.restartIce();
      await offer();
    },
  };

  const connected = () => result.connected_ms !== null;
  while (!connected() && !closed && !result.disconnected && now() < until) await sleep(20);
  if (connected()) {
    const heard = now();
    if (o.odd === 'reload') {
      // As a page does: the old connection is left as it is, the new one begins at once.
      await sleep(500);
      signaling.close();
      return run({ ...options, odd: undefined }, stack);
    }
    if (odd[o.odd]) {
      await sleep(300);
      try {
        await odd[o.odd]();
      } catch (error) {
        result.error ??= `${o.odd}: ${error.message}`;
      }
      await sleep(1500);
    }
    const enough = () => now() - heard > (o.stay ?? 2500)
      && (!o.audio || !ear || ear.hz() !== null)
      && (result.sent ? (result.same ?? 0) + (result.wrong ?? 0) >= result.sent : o.data === false);
    while (!enough() && !closed && now() < until) await sleep(50);
    await exchanged;
    result.tone_hz = (await ear?.hz()) ?? null;
    result.state = pc.connectionState;
  }
  if (o.leave !== 'silently') {
    signaling.notify('peer.disconnect', { ...params(), reason: 'user_requested' });
  }
  pc?.close();
  await sleep(200);
  signaling.close();
  if (!o.keep_sdp) delete result.sdp;
  return result;
}
