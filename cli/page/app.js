import { RtcMesh } from './rtcmesh.js';

/** The page itself: the lobby, the call, and what goes between them and the mesh. */

const $ = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const chat = new Chat();
const tiles = new Map(); // by peer id; our own is `selfTile`
let mesh = null;
let source = null;
let picture = null;
let selfTile = null;
let joining = null;

/** The room's path: `?room=`, or `/`. */
function roomPath() {
  const parts = (query.get('room') ?? '').split('/').filter(Boolean);
  return `/${parts.map(encodeURIComponent).join('/')}`;
}

function setStatus(kind, text) {
  $('status').dataset.kind = kind;
  $('status').textContent = text;
  $('status').title = text;
}

/** Says something to screen readers; what is on screen says it to everyone else. */
function announce(text) {
  $('announcer').textContent = text;
}

/** A bar with what went wrong and, where there is one, a way out. */
function notice(text, { topic = 'error', label = '', action = null } = {}) {
  $('notice').dataset.topic = topic;
  $('notice-text').textContent = text;
  $('notice-action').hidden = !action;
  $('notice-action').textContent = label;
  $('notice-action').onclick = action;
  $('notice').hidden = false;
}

function clearNotice(topic = null) {
  if (!topic || $('notice').dataset.topic === topic) $('notice').hidden = true;
}

function showPhase(phase) {
  document.body.dataset.phase = phase;
  $('lobby').hidden = phase !== 'lobby';
  $('call').hidden = phase !== 'call';
  $('leave').hidden = phase !== 'call';
}

function updateCount() {
  const others = tiles.size;
  const connected = [...tiles.values()].filter((tile) => tile.root.dataset.state === 'connected').length;
  $('empty').hidden = others > 0;
  $('count').textContent = others === 0 ? 'only you' : `${connected} of ${others} connected`;
}

/** The tile of a peer; made at its place in the order of ids. */
function tileOf(id) {
  let tile = tiles.get(id);
  if (!tile) {
    tile = new Tile(id);
    tiles.set(id, tile);
    const after = [...tiles.keys()].filter((other) => other > id).sort()[0];
    $('tiles').insertBefore(tile.root, after ? tiles.get(after).root : null);
  }
  return tile;
}

/** Removes the tile of a peer that the mesh no longer knows. */
function dropIfGone(id) {
  if (mesh?.peer(id)) return false;
  tiles.get(id)?.remove();
  tiles.delete(id);
  return true;
}

/** What a native peer tells of how it receives us, if this message does; people's messages begin otherwise. */
function receptionIn(data) {
  if (typeof data !== 'string' || !data.startsWith('{"rtcmesh":')) return null;
  try {
    const { reception } = JSON.parse(data).rtcmesh;
    return typeof reception === 'object' ? reception : null;
  } catch {
    return null;
  }
}

const PEER_EVENTS = {
  announced: ({ peer }) => {
    if (mesh.peer(peer).state === 'new') tileOf(peer).setState('new');
    else tileOf(peer);
  },
  connecting: ({ peer }) => tileOf(peer).setState('connecting'),
  connected: ({ peer }) => {
    tileOf(peer).setState('connected');
    chat.system(`${peer} connected`);
    announce(`${peer} connected`);
  },
  reconnecting: ({ peer }) => {
    tileOf(peer).setState('reconnecting');
    announce(`${peer} is reconnecting`);
  },
  disconnected: ({ peer }) => {
    tileOf(peer).detach();
    tileOf(peer).setState('closed');
    dropIfGone(peer);
  },
  failed: ({ peer, reason }) => {
    tileOf(peer).detach();
    tileOf(peer).setState('failed', `Failed: ${reason}`);
    announce(`${peer}: ${reason}`);
    dropIfGone(peer);
  },
  left: ({ peer }) => {
    if (!dropIfGone(peer)) return;
    chat.system(`${peer} left`);
    announce(`${peer} left`);
  },
  track: ({ peer, stream }) => tileOf(peer).attach(stream),
  message: ({ peer, data, label }) => {
    const reception = receptionIn(data);
    if (reception) tiles.get(peer)?.setReception(reception);
    else chat.receive(peer, data, label);
  },
  stats: (detail) => tiles.get(detail.peer)?.setStats(detail),
};

function onSignaling({ up, reason, retryMs, error }) {
  if (up) {
    setStatus('up', 'Online');
    clearNotice('signaling');
  } else if (error) {
    const inLobby = document.body.dataset.phase === 'lobby';
    setStatus(inLobby ? 'idle' : 'down', inLobby ? 'Not joined' : 'Offline');
    const taken = error.data?.reason === 'peer_id_taken';
    notice(taken ? `The name ${mesh.peerId} is taken in this room. Choose another one.` : `The server refused: ${error.message}`, { topic: 'signaling' });
    if (taken) $('name').setAttribute('aria-invalid', 'true');
    if (!inLobby) leave();
  } else {
    const wait = `Signaling lost, trying again in ${Math.max(1, Math.round(retryMs / 1000))} s`;
    setStatus('wait', 'Reconnecting…');
    notice(`${wait}. Open connections go on. (${reason})`, { topic: 'signaling' });
  }
}

/** A source that cannot be opened is told to the user, with what to do instead. */
function explainSource(error) {
  const text = {
    NotAllowedError: 'The browser does not allow the microphone or the camera for this page. Allow it, or send a test tone or listen only.',
    NotFoundError: 'There is no microphone. Plug one in, or send a test tone or listen only.',
    NotReadableError: 'The microphone is in use by another program.',
  }[error.name];
  return text ?? `No microphone: ${error.message}`;
}

/** What the lobby says, checked: `{ name, kind, hz, video }`, or null after pointing at the fault. */
function readLobby() {
  const name = $('name').value.trim();
  const kind = $('lobby').elements.source.value || 'mic';
  const hz = Number($('hz').value);
  const video = $('video').checked && kind !== 'none';
  const badName = !/^[A-Za-z0-9_-]{1,64}$/.test(name);
  const badHz = kind === 'tone' && !(hz >= 50 && hz <= 8000);
  $('name').setAttribute('aria-invalid', String(badName));
  $('hz').setAttribute('aria-invalid', String(badHz));
  if (badName) notice('A name has 1 to 64 letters, digits, - or _.', { topic: 'lobby' });
  else if (badHz) notice('A tone has 50 to 8000 Hz.', { topic: 'lobby' });
  else return { name, kind, hz, video };
  (badName ? $('name') : $('hz')).focus();
  return null;
}

/** Joins with what the lobby says; resolves once registered. */
function join() {
  joining ??= doJoin().finally(() => {
    joining = null;
    $('join').disabled = false;
    $('join').textContent = 'Join';
  });
  return joining;
}

async function doJoin() {
  if (mesh) return;
  const choice = readLobby();
  if (!choice) throw new Error($('notice-text').textContent);
  const room = roomPath();
  if (room.length > 128) {
    notice('The name of the room is too long: at most 128 bytes.', { topic: 'lobby' });
    throw new Error('room name too long');
  }
  clearNotice();
  $('join').disabled = true;
  $('join').textContent = 'Joining…';
  setStatus('wait', 'Joining…');
  try {
    source = await openSource(choice.kind, choice.hz);
    if (choice.video) picture = await openPicture(choice.kind);
    if (picture) source.stream.addTrack(picture.track);
  } catch (error) {
    closeSource();
    setStatus('idle', 'Not joined');
    notice(explainSource(error), { topic: 'source' });
    throw error;
  }
  const url = `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}${room}`;
  mesh = new RtcMesh({
    url,
    peerId: choice.name,
    stream: source.stream,
    capabilities: ['audio', 'video', 'data'],
    // Native peers then tell how they receive us, and do not wait to hear us.
    userData: { client: 'page', shows_figures: true, ...(choice.kind === 'none' && { sends_audio: false }) },
    token: query.get('token') ?? undefined,
  });
  const mine = mesh;
  for (const [type, handler] of Object.entries(PEER_EVENTS)) {
    mesh.addEventListener(type, ({ detail }) => {
      if (mesh !== mine) return;
      handler(detail);
      if (type !== 'stats') updateCount();
    });
  }
  mesh.addEventListener('signaling', ({ detail }) => mesh === mine && onSignaling(detail));
  mesh.addEventListener('warning', ({ detail }) => console.warn(detail.message));
  try {
    await mesh.start();
  } catch (error) {
    if (mesh === mine) leave({ status: false });
    throw error;
  }
  selfTile = new Tile(choice.name, {
    self: true,
    onMute: (muted) => source.stream.getAudioTracks().forEach((track) => { track.enabled = !muted; }),
  });
  if (choice.kind === 'none') {
    selfTile.setState('self', 'You, listening only');
    selfTile.root.querySelector('.mute').hidden = true;
  }
  $('tiles').prepend(selfTile.root);
  selfTile.attach(source.stream);
  showPhase('call');
  updateCount();
  announce(`Joined as ${choice.name}`);
  // Where focus would raise a keyboard over half the screen, it waits for a tap.
  (matchMedia('(pointer: coarse)').matches ? $('main') : $('text')).focus();
  checkAudio();
}

function closeSource() {
  picture?.stop();
  source?.stop();
  picture = source = null;
}

/** Leaves the room; the lobby comes back with the same choices. */
function leave({ status = true } = {}) {
  if (!mesh) return;
  const old = mesh;
  mesh = null;
  old.close();
  for (const tile of tiles.values()) tile.remove();
  tiles.clear();
  selfTile?.remove();
  selfTile = null;
  closeSource();
  if (status && $('status').dataset.kind !== 'down') setStatus('idle', 'Not joined');
  showPhase('lobby');
  (document.querySelector('#lobby [aria-invalid="true"]') ?? $('join')).focus();
}

/** Asks for a gesture where the browser keeps audio back until there is one. */
function checkAudio() {
  const held = context?.state === 'suspended' || [...tiles.values()].some((tile) => tile.blocked);
  if (!mesh || !held) clearNotice('audio');
  else notice('The browser holds the sound back until you say so.', { topic: 'audio', label: 'Turn sound on', action: wakeAudio });
}

async function wakeAudio() {
  audioContext();
  await Promise.all([...tiles.values()].map((tile) => tile.blocked && tile.play()));
  setTimeout(checkAudio, 200);
}

/** Sends to one peer, or to all when `to` is null. */
function send(to, data) {
  if (!mesh) throw new Error('not joined');
  const outcome = to === null ? mesh.broadcast(data) : { sent: [to], failed: [] };
  if (to !== null) (typeof data === 'string' ? mesh.sendText(to, data) : mesh.sendBinary(to, data));
  chat.show(mesh.peerId, data, true);
  return outcome;
}

$('lobby').addEventListener('submit', (event) => {
  event.preventDefault();
  join().catch(() => { /* shown already */ });
});
/** Shows what belongs to the chosen source. */
function showSource() {
  const kind = $('lobby').elements.source.value;
  $('hz-field').hidden = kind !== 'tone';
  $('video-field').hidden = kind === 'none';
  $('video-hint').textContent = kind === 'tone' ? 'a moving clock' : 'the camera, or a moving clock where there is none';
}
$('lobby').addEventListener('change', showSource);
$('leave').addEventListener('click', () => leave());
$('notice-close').addEventListener('click', () => clearNotice());
$('composer').addEventListener('submit', (event) => {
  event.preventDefault();
  const text = $('text').value;
  if (!text || !mesh) return;
  const { sent, failed } = send(null, text);
  if (!sent.length) chat.system('Nobody is connected: the message reached no one');
  for (const { peer, reason } of failed) chat.system(`Not delivered to ${peer}: ${reason}`);
  $('text').value = '';
});
document.addEventListener('audiostate', checkAudio);
for (const gesture of ['pointerdown', 'keydown']) {
  document.addEventListener(gesture, () => mesh && context?.state === 'suspended' && wakeAudio());
}
addEventListener('pagehide', () => mesh?.close());
addEventListener('pageshow', ({ persisted }) => persisted && leave());

let drawnAt = 0;
function drawAll(now) {
  requestAnimationFrame(drawAll);
  if (!mesh || now - drawnAt < 66) return; // 15 pictures a second are enough and spare weak machines
  drawnAt = now;
  selfTile?.draw();
  for (const tile of tiles.values()) tile.draw();
}

$('room').textContent = roomPath();
if (roomPath() !== '/') $('room-name').textContent = `the room ${decodeURIComponent(roomPath())}`;
$('name').value = query.get('name') ?? `guest-${Math.random().toString(36).slice(2, 6)}`;
$('hz').value = query.get('hz') ?? '440';
$('lobby').elements.source.value = ['mic', 'tone', 'none'].includes(query.get('source')) ? query.get('source') : 'mic';
$('video').checked = query.get('video') === '1';
showSource();
requestAnimationFrame(drawAll);
