const MAX_HELD = 256; // candidates per peer that overtook their offer or answer
const MAX_CHANNELS = 16; // data channels one remote peer may open
const ATTEMPT_MS = 15_000; // one attempt to connect
const RESTART_MS = 15_000; // a lost path gets this long for ICE restarts, then a new connection
const OWN_DATA_CHANNEL_MS = 2_000; // an answerer opens `data` itself after this
const PATH_LOST = 'connection lost';
const NO_PATH = 'no network path found';

const sdpValues = (sdp, pattern) => [...sdp.matchAll(pattern)].map((m) => m[1].toLowerCase()).sort().join();

/**
 * Whether `next` describes another connection than `previous` (the remote peer began anew)
 * and not a renegotiation: another certificate, or another session with other ICE credentials.
 */
function isAnotherConnection(previous, next) {
  const differs = (pattern) => sdpValues(previous, pattern) !== sdpValues(next, pattern);
  const firstDiffers = (pattern) => previous.match(pattern)?.[1] !== next.match(pattern)?.[1];
  if (firstDiffers(/^a=fingerprint:(\S+ \S+)/m) && differs(/^a=fingerprint:(\S+ \S+)/gm)) return true;
  return firstDiffers(/^o=\S+ (\S+)/m) && firstDiffers(/^a=ice-ufrag:(\S+)/m);
}

/** One remote peer: its announcement, its connection and the negotiation of it. Internal. */
class Peer {
  announced = false;
  capabilities = KINDS;
  userData = {};
  state = 'new';
  pc = null;
  stream = null;
  connectedAt = null;
  waiters = [];
  #mesh;
  #queue = Promise.resolve();
  #channels = new Set();
  #held = []; // candidates before their offer or answer
  #ids = new Set(); // every request_id of this connection
  #negotiation = null; // the newest request_id sent by either side
  #offerId = null; // that of our own open offer
  #remoteId = null; // that of the remote description in force
  #ignoredId = null; // that of their offer which lost a glare
  #outbox = null; // local candidates until their description has been sent
  #offerer = false;
  #deferred = false; // a renegotiation waits for signaling
  #parked = false; // disconnected by somebody's wish: not called again by itself
  #attempts = 0;
  #timers = {};
  #last = null;

  constructor(mesh, id) {
    this.#mesh = mesh;
    this.id = id;
  }

  get #impolite() {
    return this.#mesh.peerId > this.id; // ids are ASCII: this is byte order
  }

  #after(name, ms, action) {
    clearTimeout(this.#timers[name]);
    this.#timers[name] = setTimeout(action, ms);
  }

  #cancel(...names) {
    for (const name of names) clearTimeout(this.#timers[name]);
  }

  /** Runs negotiation steps strictly one after the other. */
  #run(step) {
    this.#queue = this.#queue.then(step).catch((error) => {
      this.#mesh.warn(`${this.id}: ${error.message}`, error);
    });
  }

  #setState(state, detail = {}) {
    if (this.state === state) return;
    this.state = state;
    this.#mesh.emit(state === 'closed' ? 'disconnected' : state, { peer: this.id, ...detail });
  }

  /** Automatic mode: the greater id offers at once, the other after 1 s without an offer. */
  invite() {
    if (!this.#mesh.automatic || !this.announced || this.#parked || this.pc) return;
    this.#after('call', this.#impolite ? 0 : 1000, () => !this.pc && this.call());
  }

  call() {
    this.#parked = false;
    this.#cancel('call');
    this.#run(async () => {
      if (this.pc || !this.#mesh.up) return;
      const pc = this.#open(true);
      this.#mesh.addMedia(pc, this.capabilities);
      if (this.capabilities.includes('data')) this.#adopt(pc.createDataChannel('data'));
      await this.#sendOffer(pc);
    });
  }

  #open(offerer) {
    this.#drop();
    const pc = new RTCPeerConnection(this.#mesh.rtcConfig);
    this.pc = pc;
    this.#offerer = offerer;
    this.stream = new MediaStream();
    const mine = (handler) => (event) => pc === this.pc && handler(event);
    pc.onicecandidate = mine(({ candidate }) => this.#sendCandidate(pc, candidate));
    pc.onconnectionstatechange = mine(() => this.#connectionChanged(pc));
    pc.oniceconnectionstatechange = mine(() => this.#reportState(pc));
    pc.ondatachannel = mine(({ channel }) => this.#adopt(channel));
    pc.ontrack = mine(({ track, receiver, transceiver }) => {
      for (const old of this.stream.getTracks()) if (old.kind === track.kind) this.stream.removeTrack(old);
      this.stream.addTrack(track);
      this.#mesh.emit('track', { peer: this.id, track, stream: this.stream, receiver, transceiver });
    });
    pc.onnegotiationneeded = mine(() => this.#renegotiate(pc));
    this.#after('attempt', ATTEMPT_MS, () => this.fail('timeout'));
    this.#setState('connecting');
    return pc;
  }

  #renegotiate(pc) {
    this.#run(async () => {
      if (pc !== this.pc || !pc.currentRemoteDescription || pc.signalingState !== 'stable') return;
      this.#deferred = !this.#mesh.up;
      if (!this.#deferred) await this.#sendOffer(pc);
    });
  }

  async #sendOffer(pc) {
    const id = randomId();
    this.#outbox = [];
    await pc.setLocalDescription();
    if (pc !== this.pc) return;
    this.#offerId = id;
    this.#describe('peer.offer', pc, id);
  }

  #describe(method, pc, id) {
    this.#negotiation = id;
    this.#ids.add(id);
    const { sdp } = pc.localDescription;
    const params = { from: this.#mesh.peerId, to: this.id, sdp, can_trickle_ice_candidates: true, request_id: id };
    this.#mesh.signaling.request(method, params).catch((error) => {
      if (pc === this.pc && this.#negotiation === id) this.#refused(pc, method, error);
    });
    const waiting = this.#outbox ?? [];
    this.#outbox = null;
    for (const candidate of waiting) this.#sendCandidate(pc, candidate);
  }

  #refused(pc, method, error) {
    if (error.code === -32000) this.announced = false;
    if (pc.connectionState !== 'connected' || method === 'peer.answer') {
      this.fail(error.message);
      return;
    }
    this.#mesh.warn(`${this.id}: ${method} refused: ${error.message}`, error);
    // Rolling back raises negotiationneeded again at once, so a pause keeps this from spinning.
    this.#after('rollback', jittered(2000), () => this.#rollback(pc));
  }

  #rollback(pc) {
    this.#run(async () => {
      if (pc !== this.pc || pc.signalingState !== 'have-local-offer') return;
      this.#offerId = null;
      await pc.setLocalDescription({ type: 'rollback' });
    });
  }

  #sendCandidate(pc, candidate) {
    if (candidate?.candidate === '') return; // some browsers send this beside null
    if (this.#outbox) {
      this.#outbox.push(candidate);
      return;
    }
    // A candidate of credentials given up since (a rollback, a restart) helps nobody.
    const ufrag = candidate?.usernameFragment;
    if (ufrag && !pc.localDescription?.sdp.includes(`a=ice-ufrag:${ufrag}`)) return;
    const params = {
      from: this.#mesh.peerId,
      to: this.id,
      candidate: candidate?.candidate ?? '', // empty: end of candidates
      sdp_m_line_index: candidate?.sdpMLineIndex ?? 0,
      sdp_mid: candidate?.sdpMid ?? pc.getTransceivers()[0]?.mid ?? '0',
      request_id: this.#negotiation,
    };
    if (ufrag) params.user_fragment = ufrag;
    this.#mesh.signaling.notify('peer.ice_candidate', params);
  }

  onOffer({ sdp, request_id: id }) {
    this.#run(async () => {
      let pc = this.pc;
      const current = pc?.currentRemoteDescription?.sdp;
      if (pc?.signalingState === 'have-local-offer') {
        if (this.#impolite) { // glare: our offer stands, theirs and its candidates are dropped
          this.#ignoredId = id;
          this.#held = this.#held.filter((held) => held.request_id !== id);
          return;
        }
        this.#ids.delete(this.#offerId);
        this.#offerId = null;
      }
      this.#cancel('call');
      this.#parked = false;
      if (!current || isAnotherConnection(current, sdp)) pc = this.#open(false);
      try {
        await pc.setRemoteDescription({ type: 'offer', sdp }); // rolls an offer of ours back
      } catch (error) {
        this.#mesh.warn(`${this.id}: offer invalid: ${error.message}`, error);
        this.#ids.add(id);
        if (pc === this.pc && !current) this.fail('offer invalid', { code: -32002, message: error.message }, id);
        return;
      }
      if (pc !== this.pc) return;
      this.#negotiation = id;
      this.#ids.add(id);
      await this.#mesh.answerMedia(pc, this.capabilities);
      this.#outbox = [];
      await pc.setLocalDescription();
      if (pc !== this.pc) return;
      this.#describe('peer.answer', pc, id);
      await this.#applyHeld(pc, id);
    });
  }

  onAnswer({ sdp, request_id: id }) {
    this.#run(async () => {
      const pc = this.pc;
      if (!pc || id !== this.#offerId || pc.signalingState !== 'have-local-offer') {
        this.#mesh.warn(`${this.id}: an answer to no open offer`);
        return;
      }
      const current = pc.currentRemoteDescription?.sdp;
      this.#offerId = null;
      if (current && isAnotherConnection(current, sdp)) {
        this.fail('the other side began anew');
        return;
      }
      try {
        await pc.setRemoteDescription({ type: 'answer', sdp });
      } catch (error) {
        this.#mesh.warn(`${this.id}: answer invalid: ${error.message}`, error);
        if (pc === this.pc) this.fail('answer invalid', { code: -32003, message: error.message });
        return;
      }
      if (pc === this.pc) await this.#applyHeld(pc, id);
    });
  }

  onCandidate(params) {
    this.#run(async () => {
      const id = params.request_id;
      if (this.pc && (id === this.#remoteId || (this.#ids.has(id) && id !== this.#offerId))) {
        await this.#addCandidate(this.pc, params);
        return;
      }
      if (id === this.#ignoredId) return;
      this.#held.push(params);
      if (this.#held.length > MAX_HELD) {
        this.#held.shift();
        this.#mesh.warn(`${this.id}: too many candidates without their offer`);
      }
    });
  }

  async #applyHeld(pc, id) {
    this.#remoteId = id;
    const ready = this.#held.filter((held) => held.request_id === id);
    this.#held = this.#held.filter((held) => held.request_id !== id);
    for (const params of ready) await this.#addCandidate(pc, params);
  }

  async #addCandidate(pc, { candidate, sdp_mid: mid, sdp_m_line_index: index, user_fragment: ufrag, request_id: id }) {
    const init = { candidate, sdpMLineIndex: Number.isInteger(index) ? index : 0 };
    if (typeof mid === 'string' && mid) init.sdpMid = mid;
    const ours = typeof ufrag === 'string' && pc.remoteDescription?.sdp.includes(`a=ice-ufrag:${ufrag}`);
    if (ours) init.usernameFragment = ufrag;
    else if (id !== this.#remoteId) return; // of a negotiation that a newer one has replaced
    try {
      await pc.addIceCandidate(init);
    } catch (error) {
      // End-of-candidates is only a hint, and not every browser takes it.
      if (candidate !== '') this.#mesh.warn(`${this.id}: candidate not usable: ${error.message}`, error);
    }
  }

  #connectionChanged(pc) {
    this.#reportState(pc);
    const state = pc.connectionState;
    if (state === 'connected') {
      this.#cancel('attempt', 'restart', 'giveUp');
      this.#attempts = 0;
      this.connectedAt ??= Date.now();
      this.#setState('connected');
      for (const { resolve } of this.waiters.splice(0)) resolve();
      if (!this.#offerer) this.#after('channel', OWN_DATA_CHANNEL_MS, () => this.#openMissingChannel(pc));
    } else if (state === 'disconnected' && this.connectedAt) {
      this.#recover(pc, 2000);
    } else if (state === 'failed') {
      if (this.connectedAt) this.#recover(pc, 0);
      else this.fail(NO_PATH);
    }
  }

  #openMissingChannel(pc) {
    if (pc !== this.pc || !this.capabilities.includes('data')) return;
    if (![...this.#channels].some(({ label }) => label === 'data')) this.#adopt(pc.createDataChannel('data'));
  }

  /** A lost path: ICE restart by the greater id, by the other if that does not help, then anew. */
  #recover(pc, delay) {
    if (this.state !== 'reconnecting') this.#after('giveUp', RESTART_MS, () => this.fail(PATH_LOST));
    this.#setState('reconnecting');
    if (!this.announced && pc.connectionState === 'failed') {
      this.fail(PATH_LOST);
      return;
    }
    this.#after('restart', delay + (this.#impolite ? 0 : 2000), () => {
      if (pc === this.pc && pc.connectionState !== 'connected') pc.restartIce();
    });
  }

  #reportState(pc) {
    this.#mesh.signaling.notify('peer.state_changed', {
      from: this.#mesh.peerId,
      to: this.id,
      connection_state: pc.connectionState,
      ice_connection_state: pc.iceConnectionState,
      ice_gathering_state: pc.iceGatheringState,
      signaling_state: pc.signalingState,
      request_id: this.#negotiation ?? '',
      timestamp: new Date().toISOString(),
    });
  }

  #adopt(channel) {
    if (channel.label === 'rtcmesh/1' || this.#channels.size >= MAX_CHANNELS) {
      this.#mesh.warn(`${this.id}: data channel ${JSON.stringify(channel.label)} refused`);
      channel.close();
      return;
    }
    const { label } = channel;
    this.#channels.add(channel);
    channel.binaryType = 'arraybuffer';
    channel.onopen = () => this.#mesh.emit('open', { peer: this.id, label });
    channel.onclose = () => this.#channels.delete(channel);
    channel.onmessage = ({ data }) => {
      const payload = typeof data === 'string' ? data : new Uint8Array(data);
      this.#mesh.emit('message', { peer: this.id, data: payload, label });
    };
  }

  /** The open reliable channel, or null. */
  get channel() {
    return [...this.#channels].find((c) => c.label === 'data' && c.readyState === 'open') ?? null;
  }

  onDisconnected({ reason, request_id: id }) {
    if (id !== undefined && !this.#ids.has(id)) return; // of an attempt that is over
    const leaving = id === undefined && (reason === 'user_requested' || reason === 'network_error');
    if (reason === 'user_requested') {
      this.#parked = true;
      this.end({ reason });
    } else if (!leaving) {
      const pc = this.pc;
      if (reason === 'timeout' && pc?.connectionState === 'connected') this.#rollback(pc);
      else if (pc) this.fail(reason, null);
    }
    if (leaving) this.leave(reason);
  }

  /** It left signaling; a media path that stands lives on until ICE says otherwise. */
  leave(reason) {
    this.announced = false;
    this.#held = [];
    this.#cancel('call');
    if (!this.pc) this.#mesh.forget(this);
    this.#mesh.emit('left', { peer: this.id, reason });
  }

  /** Signaling is back: take up what had to wait for it. */
  onSignalingUp() {
    if (this.pc && this.#deferred) this.#renegotiate(this.pc);
    else if (this.pc && this.state === 'reconnecting') this.#recover(this.pc, 0);
    else this.invite();
  }

  tell(reason, details, id = this.#negotiation) {
    const params = { from: this.#mesh.peerId, to: this.id, reason };
    if (id) params.request_id = id;
    if (details) params.details = details;
    this.#mesh.signaling.notify('peer.disconnect', params);
  }

  /** Ends the connection by wish. */
  end({ reason = 'user_requested', tell = false }) {
    this.#parked = true;
    if (tell && this.pc) this.tell(reason);
    this.#cancel('call');
    this.#drop();
    if (!this.announced) this.#mesh.forget(this);
    if (this.state !== 'new') this.#setState('closed', { reason });
    for (const { reject } of this.waiters.splice(0)) reject(new RtcMeshError(`${this.id}: disconnected`));
  }

  /** Ends the connection as failed, and calls again later while the peer is announced. */
  fail(reason, details = {}, id = undefined) {
    const kind = { timeout: 'timeout', [PATH_LOST]: 'network_error', [NO_PATH]: 'network_error' }[reason] ?? 'error';
    if (details) this.tell(kind, { code: -32001, message: reason, ...details }, id);
    this.#drop();
    if (!this.announced) this.#mesh.forget(this);
    this.#setState('failed', { reason });
    for (const { reject } of this.waiters.splice(0)) reject(new RtcMeshError(`${this.id}: ${reason}`));
    if (this.announced && this.#mesh.automatic && !this.#parked) {
      const delay = jittered(1000 * Math.min(30, 2 ** this.#attempts++));
      this.#after('call', delay, () => !this.pc && this.call());
    }
  }

  #drop() {
    this.#cancel('attempt', 'restart', 'giveUp', 'rollback', 'channel');
    const pc = this.pc;
    this.pc = null;
    this.stream = null;
    this.connectedAt = null;
    this.#ids.clear();
    this.#channels.clear();
    this.#negotiation = this.#offerId = this.#remoteId = this.#outbox = this.#last = null;
    this.#deferred = false;
    pc?.close();
  }

  /** Reads getStats; rates and loss are those since the call before. */
  async sample() {
    const pc = this.pc;
    if (pc?.connectionState !== 'connected') return;
    const reports = [...(await pc.getStats()).values()];
    if (pc !== this.pc) return;
    const transport = reports.find((r) => r.type === 'transport');
    const pairs = reports.filter((r) => r.type === 'candidate-pair');
    const pair = pairs.find((r) => r.id === transport?.selectedCandidatePairId) ?? pairs.find((r) => r.selected)
      ?? pairs.find((r) => r.nominated && r.state === 'succeeded');
    const inbound = reports.find((r) => r.type === 'inbound-rtp' && r.kind === 'audio');
    const video = reports.find((r) => r.type === 'inbound-rtp' && r.kind === 'video');
    const source = pair ?? transport ?? {};
    const now = {
      at: source.timestamp ?? performance.now(),
      in: source.bytesReceived ?? 0,
      out: source.bytesSent ?? 0,
      received: inbound?.packetsReceived ?? 0,
      lost: inbound?.packetsLost ?? 0,
      audioWait: inbound?.jitterBufferDelay ?? 0,
      audioPlayed: inbound?.jitterBufferEmittedCount ?? 0,
      videoWait: video?.jitterBufferDelay ?? 0,
      videoPlayed: video?.jitterBufferEmittedCount ?? 0,
    };
    const last = this.#last;
    this.#last = now;
    const seconds = last ? (now.at - last.at) / 1000 : 0;
    const rate = (key) => (seconds > 0 ? Math.max(0, ((now[key] - last[key]) * 8) / seconds) : 0);
    const lost = last ? Math.max(0, now.lost - last.lost) : 0;
    const expected = last ? lost + now.received - last.received : 0;
    const mean = (kind) => {
      const played = last ? now[`${kind}Played`] - last[`${kind}Played`] : 0;
      return played > 0 ? ((now[`${kind}Wait`] - last[`${kind}Wait`]) / played) * 1000 : null;
    };
    const offset = video?.estimatedPlayoutTimestamp - inbound?.estimatedPlayoutTimestamp;
    this.#mesh.emit('stats', {
      peer: this.id,
      at: Date.now(),
      rtt: Number.isFinite(pair?.currentRoundTripTime) ? pair.currentRoundTripTime * 1000 : null,
      loss: expected > 0 ? lost / expected : 0,
      jitter: inbound ? (inbound.jitter ?? 0) * 1000 : null,
      bitrateIn: rate('in'),
      bitrateOut: rate('out'),
      audioLevel: inbound?.audioLevel ?? null,
      audioDelay: mean('audio'),
      concealed: ((inbound?.concealedSamples ?? 0) - (inbound?.silentConcealedSamples ?? 0)) / 48,
      videoDelay: mean('video'),
      framerate: video?.framesPerSecond ?? null,
      avOffset: Number.isFinite(offset) ? offset : null,
    });
  }
}

