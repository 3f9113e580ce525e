"""A foreign peer on aiortc: `python aiortc_peer.py OPTIONS` with the options of session.js as JSON.

Prints its result as JSON.
"""

import asyncio
import fractions
import json
import math
import re
import secrets
import sys
import time

import numpy
import websockets
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.sdp import candidate_from_sdp
from av import AudioFrame

RATE = 48_000
FRAME = RATE // 50
SIZES = [1, 2, 1000, 1200, 16_384, 65_535, 65_536, 65_537, 262_143, 262_144, 300_000]
NAME = "6a7c3f4e-0d5b-4a51-9b5e-3f1d2c4b5a69.local"


class Tone(MediaStreamTrack):
    """A sine, 20 ms at a time."""

    kind = "audio"

    def __init__(self, hz):
        super().__init__()
        self.hz, self.position, self.begun = hz, 0, None

    async def recv(self):
        self.begun = self.begun or time.monotonic()
        await asyncio.sleep(max(0, self.begun + self.position / RATE - time.monotonic()))
        phase = 2 * math.pi * self.hz / RATE * numpy.arange(self.position, self.position + FRAME)
        samples = (10_000 * numpy.sin(phase)).astype(numpy.int16)
        frame = AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts = RATE, self.position
        frame.time_base = fractions.Fraction(1, RATE)
        self.position += FRAME
        return frame


def frequency(samples, rate):
    """The frequency of a tone by its rising zero crossings, or None where it is silent."""
    if len(samples) < rate / 5 or math.sqrt(numpy.mean(samples**2)) < 0.01:
        return None
    rising = numpy.nonzero((samples[:-1] < 0) & (samples[1:] >= 0))[0]
    return None if len(rising) < 2 else float((len(rising) - 1) * rate / (rising[-1] - rising[0]))


class Ear:
    """Keeps the last half second of a track."""

    def __init__(self, track):
        self.samples, self.rate = numpy.zeros(0), RATE
        self.task = asyncio.ensure_future(self.listen(track))

    async def listen(self, track):
        while True:
            frame = await track.recv()
            channels = len(frame.layout.channels)
            self.rate = frame.sample_rate
            mono = frame.to_ndarray().reshape(-1)[::channels] / 32_768
            self.samples = numpy.concatenate([self.samples, mono])[-self.rate // 2 :]

    def hz(self):
        return frequency(self.samples, self.rate)


def messages(limit):
    for size in SIZES:
        if size <= limit:
            yield "".join("abcdefghij"[(n * 7 + size + (n >> 8)) % 10] for n in range(size))
            yield bytes((n * 31 + size + (n >> 8)) & 255 for n in range(size))
    yield "ü€😀"


class Peer:
    def __init__(self, options):
        self.o = {"ice": "trickle", "audio": True, "data": True, "hz": 440, "seconds": 15, **options}
        self.result = {"id": self.o["id"], "connected_ms": None, "tone_hz": None}
        self.pc = self.request = self.ear = self.channel = self.started = None
        self.held, self.waiting, self.back, self.wanted, self.last = [], {}, [], [], 0
        self.exchanged = None
        self.closed = False

    def create(self):
        self.pc = pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.started = self.started or time.monotonic()

        @pc.on("track")
        def on_track(track):
            if track.kind == "audio":
                self.ear = Ear(track)

        @pc.on("datachannel")
        def on_datachannel(channel):
            self.adopt(channel)

        @pc.on("connectionstatechange")
        def on_change():
            self.result["state"] = pc.connectionState
            if pc.connectionState == "connected" and self.result["connected_ms"] is None:
                self.result["connected_ms"] = round((time.monotonic() - self.started) * 1e3)
            self.closed |= pc.connectionState in ("failed", "closed")

    def adopt(self, channel):
        self.result.setdefault("channels", []).append(channel.label)
        if channel.label != "data" or self.channel:
            return
        self.channel = channel

        @channel.on("message")
        def on_message(message):
            self.back.append(message)

        if channel.readyState == "open":
            self.exchanged = asyncio.ensure_future(self.exchange())
        else:

            @channel.on("open")
            def on_open():
                self.exchanged = asyncio.ensure_future(self.exchange())

    async def exchange(self):
        # What goes there comes back: both sides must take it.
        descriptions = (self.pc.localDescription.sdp, self.pc.remoteDescription.sdp)
        limits = [re.search(r"a=max-message-size:(\d+)", sdp) for sdp in descriptions]
        limit = min(int(found[1]) if found else 65_536 for found in limits)
        self.wanted = list(messages(limit))
        self.result["sent"] = len(self.wanted)
        self.result["largest"] = max(len(message) for message in self.wanted)
        for n, message in enumerate(self.wanted):
            self.channel.send(message)
            while n - len(self.back) >= 3:
                await asyncio.sleep(0.005)
        while len(self.back) < len(self.wanted):
            await asyncio.sleep(0.02)

    def params(self):
        return {"from": self.o["id"], "to": self.o["peer"], "request_id": self.request}

    async def call(self, method, params, notify=False):
        self.last += 1
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        if notify:
            return await self.socket.send(json.dumps(message))
        message["id"] = self.last
        reply = self.waiting[self.last] = asyncio.get_event_loop().create_future()
        await self.socket.send(json.dumps(message))
        return await reply

    def outward(self, sdp):
        """aiortc has no trickle of its own: its candidates are taken out of the description."""
        if "mdns" in self.o["ice"]:
            sdp = re.sub(r"(candidate:\S+ \d \S+ \d+ )\S+( \d+ typ host)", rf"\g<1>{NAME}\2", sdp)
        lines = sdp.split("\r\n")
        found = [line[2:] for line in lines if line.startswith("a=candidate:")]
        if self.o["ice"].startswith("full"):
            return sdp, []
        rest = [line for line in lines if not line.startswith(("a=candidate:", "a=end-of-"))]
        return "\r\n".join(rest), found

    async def describe(self, method, description):
        await self.pc.setLocalDescription(description)
        sdp, candidates = self.outward(self.pc.localDescription.sdp)
        if self.o.get("keep_sdp"):
            self.result.setdefault("own_sdp", []).append(sdp)
        trickle = not self.o["ice"].startswith("full")
        await self.call(method, {**self.params(), "sdp": sdp, "can_trickle_ice_candidates": trickle})
        if trickle:
            place = {"sdp_m_line_index": 0, "sdp_mid": "0"}
            for candidate in dict.fromkeys(candidates + [""]):
                await self.call("peer.ice_candidate", {**self.params(), **place, "candidate": candidate}, True)

    async def apply(self, sdp, kind):
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp, kind))
        held, self.held = self.held, []
        for candidate in held:
            await self.candidate(candidate)

    async def candidate(self, params):
        # One that cannot trickle has no use for what comes after a description.
        if params["request_id"] != self.request or self.o["ice"].startswith("full"):
            return
        if not self.pc or not self.pc.remoteDescription:
            self.held.append(params)
        elif params["candidate"]:
            candidate = candidate_from_sdp(params["candidate"].removeprefix("candidate:"))
            candidate.sdpMid, candidate.sdpMLineIndex = params["sdp_mid"], params["sdp_m_line_index"]
            await self.pc.addIceCandidate(candidate)

    async def offer(self):
        self.request = f"{self.o['id']}-{secrets.token_hex(8)}"
        await self.describe("peer.offer", await self.pc.createOffer())

    async def handle(self, method, params):
        if method == "peer.announced":
            if params["peer_id"] == self.o["peer"] and self.o["role"] == "offer" and not self.pc:
                self.create()
                if self.o["audio"]:
                    self.pc.addTrack(Tone(self.o["hz"]))
                if self.o.get("video"):
                    self.pc.addTransceiver("video", direction="recvonly")
                if self.o["data"]:
                    self.adopt(self.pc.createDataChannel("data"))
                await self.offer()
        elif params.get("from") != self.o["peer"]:
            return
        elif method == "peer.offer":
            self.request = params["request_id"]
            if not self.pc:
                self.create()
                await asyncio.sleep(self.o.get("answer_after", 0) / 1e3)
                if self.o["audio"] and "\nm=audio" in params["sdp"]:
                    self.pc.addTrack(Tone(self.o["hz"]))
            await self.apply(params["sdp"], "offer")
            await self.describe("peer.answer", await self.pc.createAnswer())
        elif method == "peer.answer" and params["request_id"] == self.request:
            await self.apply(params["sdp"], "answer")
        elif method == "peer.ice_candidate":
            await self.candidate(params)
        elif method == "peer.disconnected":
            self.result["disconnected"] = params["reason"]

    async def read(self):
        queue = asyncio.Queue()

        async def work():
            while True:
                method, params = await queue.get()
                try:
                    await self.handle(method, params)
                except Exception as error:  # Told in the result, whatever it is.
                    self.result.setdefault("error", f"{method}: {error!r}")

        asyncio.ensure_future(work())
        async for text in self.socket:
            message = json.loads(text)
            if "method" in message:
                queue.put_nowait((message["method"], message["params"]))
            elif "error" in message:
                self.result.setdefault("error", str(message["error"]))
                self.waiting.pop(message["id"]).set_result(None)
            else:
                self.waiting.pop(message["id"]).set_result(message["result"])

    async def odd(self):
        if self.o.get("odd") == "renegotiate with video":
            self.pc.addTransceiver("video", direction="recvonly")
        elif self.o.get("odd") == "renegotiate with a channel":
            self.channel = None
            self.adopt(self.pc.createDataChannel("data"))
        else:
            return
        await asyncio.sleep(0.3)
        await self.offer()
        await asyncio.sleep(1.5)

    async def run(self):
        until = time.monotonic() + self.o["seconds"]
        self.socket = await websockets.connect(self.o["url"], max_size=None)
        asyncio.ensure_future(self.read())
        user = {"peer_id": self.o["id"], "capabilities": ["audio", "data"], "user_data": {}}
        await self.call("peer.announce", user)

        async def wait(condition):
            while not condition() and not self.closed and time.monotonic() < until:
                await asyncio.sleep(0.02)

        await wait(lambda: self.result["connected_ms"] is not None or "disconnected" in self.result)
        if self.result["connected_ms"] is not None:
            await self.odd()
            heard = time.monotonic() + self.o.get("stay", 2500) / 1e3
            complete = lambda: len(self.wanted) > 0 and len(self.back) >= len(self.wanted)
            tone = lambda: not self.o["audio"] or not self.ear or self.ear.hz()
            await wait(lambda: time.monotonic() > heard and tone() and (complete() or not self.o["data"]))
            self.result["same"] = sum(a == b for a, b in zip(self.wanted, self.back))
            self.result["tone_hz"] = self.ear.hz() if self.ear else None
            self.result["state"] = self.pc.connectionState
        if self.o.get("leave") != "silently":
            await self.call("peer.disconnect", {**self.params(), "reason": "user_requested"}, True)
        if self.pc:
            await self.pc.close()
        await self.socket.close()
        return self.result


print(json.dumps(asyncio.run(Peer(json.loads(sys.argv[1])).run())))
