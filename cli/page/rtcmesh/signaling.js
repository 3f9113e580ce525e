/**
 * rtcmesh.js: a WebRTC mesh in the browser, without dependencies.
 *
 * Speaks JSON-RPC 2.0 over a WebSocket with an rtcmesh signaling server and keeps one
 * RTCPeerConnection per remote peer. Whatever arrives from outside never throws out of a
 * handler: it is counted in `mesh.counters` and reported as a `warning` event.
 *
 *     import { RtcMesh } from './rtcmesh.js';
 *     const mesh = new RtcMesh({ url: 'wss://example.org/room', peerId: 'alice', stream });
 *     mesh.addEventListener('track', ({ detail }) => { audio.srcObject = detail.stream; });
 *     mesh.addEventListener('message', ({ detail }) => console.log(detail.peer, detail.data));
 *     await mesh.start();
 */

const PEER_ID = /^[A-Za-z0-9_-]{1,64}$/;
const KINDS = ['audio', 'video', 'data'];
const MAX_SDP = 64 * 1024; // the contract's bound for one SDP
const ANNOUNCE_MS = 10_000; // a request is answered within this, or the socket counts as dead

/** 128 random bits as hexadecimal, the shape of a `request_id`. */
const randomId = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, '0')).join('');
const jittered = (ms) => ms * (0.75 + Math.random() * 0.5);
const isObject = (v) => typeof v === 'object' && v !== null && !Array.isArray(v);

/** An error that the signaling server or this module reports: `code` (JSON-RPC) and `data` as received. */
export class RtcMeshError extends Error {
  constructor(message, code = 0, data = null) {
    super(message);
    this.name = 'RtcMeshError';
    this.code = code;
    this.data = data;
  }
}

/** JSON-RPC over a WebSocket that announces, and reconnects with its session key. */
class Signaling {
  #ws = null;
  #pending = new Map();
  #nextId = 1;
  #attempt = 0;
  #timer = 0;
  #key = null;
  #unanswered = false; // an announce was cut off: the id may be held for a key we never saw
  #closed = false;
  up = false;

  constructor(url, announcement, hooks) {
    Object.assign(this, { url, announcement, hooks });
  }

  connect() {
    clearTimeout(this.#timer);
    if (this.#closed || this.#ws) return;
    let ws;
    try {
      ws = new WebSocket(this.url);
    } catch (error) {
      this.#fatal(new RtcMeshError(`bad signaling URL: ${error.message}`));
      return;
    }
    this.#ws = ws;
    this.#timer = setTimeout(() => this.#abandon(ws, 'no connection within 10 s'), ANNOUNCE_MS);
    ws.onopen = () => {
      clearTimeout(this.#timer);
      this.#announce(ws);
    };
    ws.onmessage = ({ data }) => ws === this.#ws && this.#receive(data);
    ws.onclose = ({ code, reason }) => this.#lost(ws, code, reason);
  }

  async #announce(ws) {
    const params = { ...this.announcement };
    if (this.#key) params.session_key = this.#key;
    try {
      const result = await this.request('peer.announce', params);
      if (ws !== this.#ws) return;
      if (typeof result?.session_key === 'string') this.#key = result.session_key;
      this.#attempt = 0;
      this.#unanswered = false;
      this.up = true;
      this.hooks.registered(result ?? {});
    } catch (error) {
      if (error.code === 0) this.#unanswered = true;
      const refused = error.code === -32602 || (error.code === -32000 && !this.#unanswered);
      if (ws !== this.#ws) return;
      if (refused) this.#fatal(error);
      else this.#abandon(ws, error.message);
    }
  }

  /** Sends a request; resolves with its result, rejects with an RtcMeshError. */
  request(method, params) {
    return new Promise((resolve, reject) => {
      const id = this.#nextId++;
      if (!this.#send({ jsonrpc: '2.0', method, params, id })) {
        reject(new RtcMeshError('signaling is down'));
        return;
      }
      const ws = this.#ws;
      const timer = setTimeout(() => this.#abandon(ws, `no reply to ${method} within 10 s`), ANNOUNCE_MS);
      this.#pending.set(id, { resolve, reject, timer });
    });
  }

  notify(method, params) {
    return this.up && this.#send({ jsonrpc: '2.0', method, params });
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    const ws = this.#ws;
    this.#ws = null;
    this.up = false;
    this.#rejectAll('closed');
    try {
      ws?.close(1000, 'leaving');
    } catch { /* it is closed already */ }
  }

  #send(message) {
    if (this.#ws?.readyState !== WebSocket.OPEN) return false;
    this.#ws.send(JSON.stringify(message));
    return true;
  }

  #receive(text) {
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return this.hooks.warning('signaling: a frame that is not JSON');
    }
    if (!isObject(message) || message.jsonrpc !== '2.0') {
      return this.hooks.warning('signaling: a frame that is not JSON-RPC 2.0');
    }
    if (typeof message.method === 'string') {
      const known = this.hooks.notification(message.method, message.params);
      if (!known && message.id !== undefined) {
        this.#send({ jsonrpc: '2.0', error: { code: -32601, message: 'method not found' }, id: message.id });
      }
      return undefined;
    }
    const waiting = this.#pending.get(message.id);
    const error = isObject(message.error) ? message.error : null;
    if (!waiting) return this.hooks.warning(`signaling: ${error?.message ?? 'a reply to nothing'}`, error);
    this.#pending.delete(message.id);
    clearTimeout(waiting.timer);
    if (!error) return waiting.resolve(message.result);
    return waiting.reject(new RtcMeshError(String(error.message), Number(error.code) || -32603, error.data));
  }

  #rejectAll(reason) {
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer);
      reject(new RtcMeshError(reason));
    }
    this.#pending.clear();
  }

  /** Ends a socket that no longer works; any code but 1000 and 1001 keeps our id reserved. */
  #abandon(ws, reason) {
    if (ws !== this.#ws) return;
    try {
      ws.close(4000, 'no reply');
    } catch { /* still connecting */ }
    this.#lost(ws, 0, reason);
  }

  #fatal(error) {
    this.close();
    this.hooks.down({ reason: error.message, retryMs: null, error });
  }

  #lost(ws, code, reason) {
    if (ws !== this.#ws) return;
    clearTimeout(this.#timer);
    this.#ws = null;
    this.up = false;
    const why = reason || `connection lost (${code})`;
    this.#rejectAll(why);
    if (code === 4001) {
      this.#fatal(new RtcMeshError('another connection took this name over', 4001));
      return;
    }
    const retryMs = jittered(Math.min(30_000, 500 * 2 ** this.#attempt++));
    this.#timer = setTimeout(() => this.connect(), retryMs);
    this.hooks.down({ reason: why, retryMs, error: null });
  }
}

