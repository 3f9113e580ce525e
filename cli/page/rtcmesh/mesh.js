/**
 * Options of an {@link RtcMesh}.
 * @typedef {object} RtcMeshOptions
 * @property {string} url signaling server, `ws://` or `wss://`; the path names the room.
 * @property {string} [peerId] 1 to 64 of `a-z A-Z 0-9 - _`; generated when absent.
 * @property {string[]} [capabilities] non-empty, of `audio`, `video`, `data`; default `audio` and `data`.
 * @property {object} [userData] JSON object of at most 1 KB, shown to the other peers. Leave its member
 *   `rtcmesh` alone: native peers know one another by it and then speak a framing that this client does not.
 * @property {string} [token] opaque, for a server that admits by token.
 * @property {RTCConfiguration} [rtcConfig] handed to every RTCPeerConnection (`iceServers`, …).
 * @property {MediaStream} [stream] local media to send; or
 * @property {MediaStreamTrack[]} [tracks] its tracks one by one.
 * @property {boolean} [automatic] connect to everybody in the room; default true.
 */

/**
 * A snapshot of one remote peer.
 * @typedef {object} PeerInfo
 * @property {string} id
 * @property {'new'|'connecting'|'connected'|'reconnecting'|'failed'|'closed'} state
 * @property {boolean} announced whether signaling knows it; a media path can outlive that.
 * @property {string[]} capabilities
 * @property {object} userData
 * @property {?number} connectedAt milliseconds since 1970.
 * @property {boolean} dataOpen whether {@link RtcMesh#sendText} would go through now.
 * @property {?MediaStream} stream what it sends.
 */

/**
 * A mesh of WebRTC peers. Events are CustomEvents; `detail` holds, beside `peer` (an id) where one is concerned:
 *
 * | event | detail |
 * | --- | --- |
 * | `registered` | `serverTime`, `resumed` |
 * | `signaling` | `up`, `reason`, `retryMs` (null: it will not come back), `error` |
 * | `announced` | `capabilities`, `userData`, `announcedAt` |
 * | `left` | `reason`: gone from signaling; a standing connection goes on for as long as ICE holds |
 * | `connecting`, `connected`, `reconnecting` | the state reached |
 * | `disconnected` | `reason`: ended by somebody's wish |
 * | `failed` | `reason`: ended by a fault; called again while it is announced (automatic mode) |
 * | `track` | `track`, `stream`, `receiver`, `transceiver` |
 * | `open` | `label`: a data channel can be used |
 * | `message` | `data` (string or Uint8Array), `label` of the channel |
 * | `stats` | every second: `at` in milliseconds since 1970, `rtt` and `jitter` in ms or null, `loss` 0 to 1 of the last interval, `bitrateIn` and `bitrateOut` in bit/s, `audioLevel` 0 to 1 or null; how its media are played: `audioDelay`, `videoDelay` and `avOffset` (positive: video is ahead of audio) in ms and `framerate`, null where that is not known, and `concealed`, the audio made up so far in ms |
 * | `warning` | `message`, `error`: input that was not usable, counted in `counters.warnings` |
 */
export class RtcMesh extends EventTarget {
  #peers = new Map();
  #tracks;
  #stream; // what receivers play in time together
  #started = null;
  #settle = null;
  #registeredOnce = false;
  #closed = false;
  #statsTimer = 0;
  #online = () => this.signaling.connect();

  /** @param {RtcMeshOptions} options @throws {TypeError} naming the option that is not usable. */
  constructor(options) {
    super();
    const { url, peerId = `web-${randomId().slice(0, 8)}`, capabilities = ['audio', 'data'], userData, token } = options;
    if (!/^wss?:\/\//.test(url)) throw new TypeError('url: a ws:// or wss:// URL is needed');
    if (!PEER_ID.test(peerId)) throw new TypeError('peerId: 1 to 64 of a-z A-Z 0-9 - _ are needed');
    if (!capabilities.length || capabilities.some((kind) => !KINDS.includes(kind))) {
      throw new TypeError('capabilities: some of audio, video and data are needed');
    }
    if (userData !== undefined && (!isObject(userData) || JSON.stringify(userData).length > 1024)) {
      throw new TypeError('userData: an object of at most 1 KB of JSON is needed');
    }
    /** @type {string} our own id */
    this.peerId = peerId;
    this.capabilities = [...capabilities];
    this.automatic = options.automatic ?? true;
    this.rtcConfig = options.rtcConfig ?? {};
    /** Counts since construction. */
    this.counters = { warnings: 0, reconnects: 0 };
    this.#tracks = options.tracks ?? options.stream?.getTracks() ?? [];
    this.#stream = new MediaStream(this.#tracks);
    const announcement = { peer_id: peerId, capabilities: this.capabilities };
    if (userData) announcement.user_data = userData;
    if (token !== undefined) announcement.token = token;
    /** @private */
    this.signaling = new Signaling(url, announcement, {
      registered: (result) => this.#onRegistered(result),
      down: (detail) => this.#onDown(detail),
      notification: (method, params) => this.#onNotification(method, params),
      warning: (message, error) => this.warn(message, error),
    });
  }

  /** Whether we are registered with signaling right now. */
  get up() {
    return this.signaling.up;
  }

  /**
   * Connects to signaling and announces; from then on it is reconnected by itself.
   * @returns {Promise<void>} rejects with an {@link RtcMeshError} when the server refuses us for good.
   */
  start() {
    this.#started ??= new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      this.#statsTimer = setInterval(() => this.#sample(), 1000);
      globalThis.addEventListener?.('online', this.#online);
      this.signaling.connect();
    });
    this.#started.catch(() => {}); // who does not await it hears of it by `signaling`
    return this.#started;
  }

  /** Says goodbye to everybody and ends all; the object cannot be started again. */
  close() {
    if (this.#closed) return;
    for (const peer of [...this.#peers.values()]) peer.end({ tell: true });
    this.#closed = true;
    this.#peers.clear();
    clearInterval(this.#statsTimer);
    globalThis.removeEventListener?.('online', this.#online);
    this.signaling.close();
    this.#settle?.reject(new RtcMeshError('closed'));
  }

  /** @returns {PeerInfo[]} everybody known, in the order of their ids. */
  peers() {
    return [...this.#peers.keys()].sort().map((id) => this.peer(id));
  }

  /** @param {string} id @returns {?PeerInfo} */
  peer(id) {
    const peer = this.#peers.get(id);
    if (!peer) return null;
    const { state, announced, capabilities, userData, connectedAt, stream } = peer;
    return { id, state, announced, capabilities, userData, connectedAt, dataOpen: peer.channel !== null, stream };
  }

  /**
   * Connects to a peer that has been announced; connected already is fine.
   * @param {string} id
   * @returns {Promise<void>} rejects with the reason when this attempt fails.
   */
  connect(id) {
    const peer = this.#peers.get(id);
    if (!peer) return Promise.reject(new RtcMeshError(`${id}: peer not found`, -32000, { peer_id: id }));
    if (peer.state === 'connected') return Promise.resolve();
    if (!this.up) return Promise.reject(new RtcMeshError('signaling is down'));
    return new Promise((resolve, reject) => {
      peer.waiters.push({ resolve, reject });
      if (!peer.pc) peer.call();
    });
  }

  /** Ends the connection to a peer and tells it; automatic mode does not call it again. @param {string} id */
  disconnect(id) {
    const peer = this.#peers.get(id);
    if (!peer) throw new RtcMeshError(`${id}: peer not found`, -32000, { peer_id: id });
    peer.end({ tell: true });
  }

  /** @param {string} id @param {string} text @throws {RtcMeshError} when no channel is open or the text is too long. */
  sendText(id, text) {
    this.#send(id, String(text), new TextEncoder().encode(text).length);
  }

  /** @param {string} id @param {ArrayBuffer|ArrayBufferView} bytes @throws {RtcMeshError} as {@link RtcMesh#sendText}. */
  sendBinary(id, bytes) {
    this.#send(id, bytes, bytes.byteLength);
  }

  #send(id, payload, size) {
    const peer = this.#peers.get(id);
    if (!peer) throw new RtcMeshError(`${id}: peer not found`, -32000, { peer_id: id });
    const { channel } = peer;
    if (!channel) throw new RtcMeshError(`${id}: no open data channel`);
    const most = peer.pc.sctp?.maxMessageSize ?? 65536;
    if (size > most) throw new RtcMeshError(`${id}: message of ${size} bytes, the other side takes ${most}`);
    try {
      channel.send(payload);
    } catch (error) {
      throw new RtcMeshError(`${id}: ${error.message}`); // the send buffer is full, or it closed just now
    }
  }

  /**
   * Sends to every connected peer; one that fails never keeps another from receiving.
   * @param {string|ArrayBuffer|ArrayBufferView} data
   * @returns {{sent: string[], failed: {peer: string, reason: string}[]}}
   */
  broadcast(data) {
    const outcome = { sent: [], failed: [] };
    for (const { id, state } of this.peers()) {
      if (state !== 'connected' && state !== 'reconnecting') continue;
      try {
        if (typeof data === 'string') this.sendText(id, data);
        else this.sendBinary(id, data);
        outcome.sent.push(id);
      } catch (error) {
        outcome.failed.push({ peer: id, reason: error.message });
      }
    }
    return outcome;
  }

  /** Bytes that wait in the channel to a peer. @param {string} id @returns {number} */
  bufferedAmount(id) {
    return this.#peers.get(id)?.channel?.bufferedAmount ?? 0;
  }

  /**
   * Sends another track of the same kind from now on, to everybody, without renegotiation.
   * @param {'audio'|'video'} kind
   * @param {?MediaStreamTrack} track null sends nothing.
   */
  async replaceTrack(kind, track) {
    this.#tracks = [...this.#tracks.filter((old) => old.kind !== kind), ...(track ? [track] : [])];
    const senders = [...this.#peers.values()].flatMap((peer) => peer.pc?.getTransceivers() ?? [])
      .filter((transceiver) => transceiver.receiver.track.kind === kind)
      .map(({ sender }) => sender);
    await Promise.all(senders.map((sender) => sender.replaceTrack(track)));
  }

  /** @private What an offerer offers: audio both ways even without a track of our own. */
  addMedia(pc, capabilities) {
    for (const kind of ['audio', 'video']) {
      const track = this.#tracks.find((candidate) => candidate.kind === kind);
      const wanted = capabilities.includes(kind) && this.capabilities.includes(kind);
      if (wanted && (track || kind === 'audio')) {
        pc.addTransceiver(track ?? kind, { direction: 'sendrecv', streams: [this.#stream] });
      }
    }
  }

  /**
   * @private Puts our tracks into the sections that a remote offer has just opened. Those for which it has
   * none are offered by us, once this negotiation is over.
   */
  async answerMedia(pc, capabilities) {
    for (const transceiver of pc.getTransceivers()) {
      const { kind } = transceiver.receiver.track;
      const track = this.#tracks.find((candidate) => candidate.kind === kind);
      if (transceiver.currentDirection || transceiver.direction === 'stopped' || !this.capabilities.includes(kind)) continue;
      if (!track && kind !== 'audio') continue;
      transceiver.direction = 'sendrecv';
      transceiver.sender.setStreams?.(this.#stream);
      if (track) await transceiver.sender.replaceTrack(track);
    }
    const kinds = pc.getTransceivers().map(({ receiver }) => receiver.track.kind);
    for (const track of this.#tracks) {
      if (kinds.includes(track.kind) || ![capabilities, this.capabilities].every((all) => all.includes(track.kind))) continue;
      pc.addTransceiver(track, { direction: 'sendrecv', streams: [this.#stream] });
    }
  }

  /** @private */
  forget(peer) {
    if (this.#peers.get(peer.id) === peer) this.#peers.delete(peer.id);
  }

  /** @private */
  emit(type, detail) {
    if (!this.#closed) this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /** @private */
  warn(message, error = null) {
    this.counters.warnings += 1;
    this.emit('warning', { message, error });
  }

  #sample() {
    for (const peer of this.#peers.values()) {
      peer.sample().catch((error) => this.warn(`${peer.id}: no statistics: ${error.message}`, error));
    }
  }

  #onRegistered({ server_time: serverTime }) {
    const resumed = this.#registeredOnce;
    this.#registeredOnce = true;
    if (resumed) this.counters.reconnects += 1;
    this.#settle.resolve();
    this.emit('registered', { serverTime, resumed });
    this.emit('signaling', { up: true, reason: '', retryMs: null, error: null });
    for (const peer of this.#peers.values()) peer.onSignalingUp();
  }

  #onDown({ reason, retryMs, error }) {
    this.emit('signaling', { up: false, reason, retryMs, error });
    if (error) this.#settle?.reject(error);
  }

  /** Takes one notification; false when its method is not known. Never throws. */
  #onNotification(method, params) {
    const take = {
      'peer.announced': (p) => this.#onAnnounced(p),
      'peer.offer': (p) => this.#remote(p, true)?.onOffer(p),
      'peer.answer': (p) => this.#remote(p)?.onAnswer(p),
      'peer.ice_candidate': (p) => this.#remote(p)?.onCandidate(p),
      'peer.disconnected': (p) => this.#remote(p)?.onDisconnected(p),
    }[method];
    if (!take) {
      this.warn(`signaling: unknown method ${JSON.stringify(method.slice(0, 64))}`);
      return false;
    }
    const problem = this.#problem(method, params);
    if (problem) this.warn(`signaling: ${method}: ${problem}`);
    else take(params);
    return true;
  }

  /** What is wrong with a notification's params, or null. */
  #problem(method, params) {
    if (!isObject(params)) return 'params is no object';
    const id = method === 'peer.announced' ? params.peer_id : params.from;
    if (typeof id !== 'string' || !PEER_ID.test(id)) return 'no valid peer id';
    if (id === this.peerId) return 'it names ourselves';
    if (params.to !== undefined && params.to !== this.peerId) return 'it is for somebody else';
    if (method === 'peer.announced') return null;
    const { request_id: request, sdp, candidate } = params;
    if (method === 'peer.disconnected') {
      return request === undefined || typeof request === 'string' ? null : 'request_id is no string';
    }
    if (typeof request !== 'string' || !request || request.length > 128) return 'no valid request_id';
    if (method === 'peer.ice_candidate') {
      return typeof candidate === 'string' && candidate.length <= 4096 ? null : 'no valid candidate';
    }
    return typeof sdp === 'string' && sdp.startsWith('v=0') && sdp.length <= MAX_SDP ? null : 'no valid sdp';
  }

  /** The peer that a notification comes from; an offer may come from one not announced yet. */
  #remote({ from }, create = false) {
    let peer = this.#peers.get(from);
    if (!peer && create) {
      peer = new Peer(this, from);
      this.#peers.set(from, peer);
    }
    if (!peer) this.warn(`signaling: message from unknown peer ${from}`);
    return peer;
  }

  #onAnnounced({ peer_id: id, capabilities, user_data: userData, announced_at: announcedAt }) {
    const peer = this.#remote({ from: id }, true);
    peer.announced = true;
    if (Array.isArray(capabilities)) peer.capabilities = capabilities.filter((kind) => KINDS.includes(kind));
    peer.userData = isObject(userData) ? userData : {};
    this.emit('announced', { peer: id, capabilities: peer.capabilities, userData: peer.userData, announcedAt });
    peer.invite();
  }
}
