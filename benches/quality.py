#!/usr/bin/env python3
"""Compares what was heard with its reference: PESQ (ITU-T P.862.2, wideband), an aligned mel distance and,
where asked for, ViSQOL. See README.md beside this file, section "quality".

    benches/quality.py DIR... [--policies A,B] [--visqol N] [--jobs N] [--json]

Each DIR is what the program `quality` wrote for one seed: several are pooled. The packages are installed into a virtual environment of their own,
outside the repository: $RTCMESH_QUALITY_VENV, by default ~/.cache/rtcmesh-quality.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import venv
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

PACKAGES = ["pesq==0.0.4", "numpy", "scipy", "soundfile"]
VISQOL = ["visqol-python==3.8.0"]


def inside_venv(packages):
    """Starts this script again in its own virtual environment, which is made where it is not there."""
    home = Path(os.environ.get("RTCMESH_QUALITY_VENV") or Path.home() / ".cache/rtcmesh-quality")
    python = home / "bin/python"
    if Path(sys.prefix).resolve() == home.resolve():
        return
    if not python.exists():
        venv.create(home, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True)
    os.execv(python, [str(python), __file__, *sys.argv[1:]])


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dirs", type=Path, nargs="+", metavar="DIR")
    parser.add_argument("--policies", default="neteq,rtcmesh", help="the first one is compared with")
    parser.add_argument("--model", default="", help="only traces whose names start so")
    parser.add_argument("--visqol", type=int, default=0, metavar="N", help="of every Nth segment; it is slow")
    parser.add_argument("--words", action="store_true", help="PESQ with each piece of a sentence aligned, too")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


options = arguments()
inside_venv(PACKAGES + (VISQOL if options.visqol else []))

import numpy as np  # noqa: E402
import soundfile  # noqa: E402
from pesq import NoUtterancesError, pesq  # noqa: E402
from scipy.signal import correlate, resample_poly  # noqa: E402
from scipy.stats import t as student  # noqa: E402

RATE = 16_000
# What is searched for a sentence before and behind its place, in samples: playout starts at most so much
# early, and is at most so much late.
EARLY, LATE = RATE // 20, RATE
# And for a piece of a sentence around the place of the sentence.
NEAR = 60 * RATE // 1_000
# Pieces are cross-faded over 5 ms.
FADE = RATE // 200
# A segment is as long as the sentences that fit.
SEGMENT = 9 * RATE
# The first seconds do not count, as in the program `sync`.
IGNORED = 5 * RATE


def load(path):
    samples, rate = soundfile.read(path, dtype="float64")
    assert rate == 3 * RATE, path
    return resample_poly(samples, 1, 3)


def segments(sentences, length):
    """The sentences in groups of about 9 s, each with the half of the pauses around it."""
    groups, group = [], []
    for start, end in sentences:
        if start < IGNORED or end + LATE + RATE // 5 > length:
            continue
        if group and end - group[0][0] > SEGMENT:
            groups.append(group)
            group = []
        group.append((start, end))
    if group and group[-1][1] - group[0][0] > SEGMENT // 2:
        groups.append(group)
    return groups


def place(reference, heard, start, end, least, most):
    """How much later than in the reference the piece is heard, from `least` to `most`."""
    low = max(start + least, 0)
    there = heard[low : end + most]
    what = reference[start:end]
    found = correlate(there, what, mode="valid", method="fft")
    energy = np.concatenate([[0.0], np.cumsum(there**2)])
    energy = energy[len(what) :] - energy[: len(energy) - len(what)]
    return low + int(np.argmax(found / np.sqrt(energy + 1e-9))) - start


def words(reference, start, end):
    """Cuts the sentence in pieces of 0.35 to 0.7 s where it is quietest."""
    energy = np.convolve(reference[start:end] ** 2, np.ones(320), "same")
    cuts = [0]
    while end - start - cuts[-1] > 0.8 * RATE:
        low = cuts[-1] + int(0.35 * RATE)
        cuts.append(low + int(np.argmin(energy[low : cuts[-1] + int(0.7 * RATE)])))
    return [start + cut for cut in [*cuts, end - start]]


def aligned(reference, heard, group, by_words):
    """A segment of the reference, and what was heard of it with every sentence at its place: so pauses of
    another length are no difference, and the measures need not look for the sentences. By words: with
    every piece of a sentence at its place, within 60 ms of it."""
    first, last = group[0][0] - RATE // 10, group[-1][1] + RATE // 10
    out = np.zeros(last - first)
    bounds = [first, *((a[1] + b[0]) // 2 for a, b in zip(group, group[1:])), last]
    for (start, end), low, high in zip(group, bounds, bounds[1:]):
        lag = place(reference, heard, start, end, -EARLY, LATE)
        cuts = words(reference, start, end) if by_words else [start, end]
        sides = [low, *cuts[1:-1], high]
        for a, b, left, right in zip(cuts, cuts[1:], sides, sides[1:]):
            of_piece = place(reference, heard, a, b, lag - NEAR, lag + NEAR) if by_words else lag
            piece = heard[max(left - FADE + of_piece, 0) : max(right + of_piece, 0)]
            at = max(left - FADE - first, 0)
            piece = piece[len(piece) - (right - first - at) :].copy()
            fade = np.linspace(0, 1, FADE)
            piece[:FADE] = piece[:FADE] * fade + out[at : at + FADE] * (1 - fade)
            out[at : at + len(piece)] = piece
    return reference[first:last], out


# The mel distance: 32 ms windows, every 8 ms, 40 bands to 8 kHz.
WINDOW, HOP, BANDS = 512, 128, 40
# How far a frame may lie off its place: a stretched sentence moves by some periods of the voice.
REACH = 10
# What belongs to the sentence before a pause, and to the one behind it: 300 and 100 ms.
SETTLED, MARGIN = 3 * RATE // 10, RATE // 10
# Not in the row "all": no models of the program `sync`, and all of the same kind.
APART = ("outage100", "outage200", "outage400")
LESS_IS_BETTER = ("mel", "pauses")


def mel_filters():
    mel = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), BANDS + 2)
    hertz = 700 * (10 ** (mel / 2595) - 1)
    bins = np.arange(WINDOW // 2 + 1) * RATE / WINDOW
    up = (bins - hertz[:-2, None]) / (hertz[1:-1] - hertz[:-2])[:, None]
    down = (hertz[2:, None] - bins) / (hertz[2:] - hertz[1:-1])[:, None]
    return np.maximum(0, np.minimum(up, down))


MEL = mel_filters()


def mel_levels(samples):
    count = (len(samples) - WINDOW) // HOP + 1
    frames = samples[np.arange(WINDOW) + HOP * np.arange(count)[:, None]] * np.hanning(WINDOW)
    power = np.abs(np.fft.rfft(frames)) ** 2 @ MEL.T
    return 10 * np.log10(power + 1e-5)


def mel_distance(reference, heard):
    """The root mean square difference in dB of loud frames from the likest within 80 ms, the 50 dB below
    the loudest counting."""
    want, got = mel_levels(reference), mel_levels(heard)
    floor = want.max() - 50
    want, got = np.maximum(want, floor), np.maximum(got, floor)
    loud = want.max(axis=1) > floor + 15
    best = np.full(len(want), np.inf)
    for off in range(-REACH, REACH + 1):
        moved = np.roll(got, off, axis=0)
        best = np.minimum(best, np.sqrt(np.mean((want - moved) ** 2, axis=1)))
    return float(np.mean(best[loud]))


def opinion(want, got):
    try:
        return pesq(RATE, want, got, "wb")
    except NoUtterancesError:
        return 1.0


def pause_spectrum(samples, pauses):
    """The mean level of each mel band in the pauses, in dB: WINDOW samples at least are in each."""
    frames = [
        samples[at : at + WINDOW] * np.hanning(WINDOW)
        for start, end in pauses
        for at in range(start, min(end, len(samples)) - WINDOW + 1, HOP)
    ]
    if not frames:
        return None
    power = np.abs(np.fft.rfft(np.array(frames))) ** 2 @ MEL.T
    return 10 * np.log10(power.mean(axis=0) + 1e-7)


def pause_distance(reference, heard, group):
    """The root mean square difference in dB, over bands, of the background between the sentences."""
    ends = [
        (end + place(reference, heard, start, end, -EARLY, LATE), end) for start, end in group[:-1]
    ]
    starts = [
        (start + place(reference, heard, start, end, -EARLY, LATE), start) for start, end in group[1:]
    ]
    # The encoder's and the room's tails of a sentence are no background.
    inner = [
        [(end[which] + SETTLED, start[which] - MARGIN) for end, start in zip(ends, starts)]
        for which in (0, 1)
    ]
    got, want = pause_spectrum(heard, inner[0]), pause_spectrum(reference, inner[1])
    if got is None or want is None:
        return None
    return float(np.sqrt(np.mean((got - want) ** 2)))


def scores(task):
    """The scores of each segment of one file. What was scored before is not scored anew."""
    path, policy, groups = task
    seen = hashlib.sha256(Path(__file__).read_bytes())
    for file in (path.parent / "reference.wav", path):
        seen.update(file.read_bytes())
    seen.update(repr((groups, options.words, options.visqol)).encode())
    cache = path.parent / f"{seen.hexdigest()[:32]}.scores"
    if cache.exists():
        return path, policy, json.loads(cache.read_text())
    found = score(path, groups)
    cache.write_text(json.dumps(found))
    return path, policy, found


def score(path, groups):
    reference, heard = load(path.parent / "reference.wav"), load(path)
    heard = np.pad(heard, (0, max(0, len(reference) - len(heard)) + LATE))
    visqol = None
    if options.visqol:
        from visqol import VisqolApi

        visqol = VisqolApi()
        visqol.create(mode="speech", use_lattice_model=False)
    found = []
    for number, group in enumerate(groups):
        want, got = aligned(reference, heard, group, False)
        row = {"pesq": opinion(want, got), "mel": mel_distance(want, got)}
        background = pause_distance(reference, heard, group)
        if background is not None:
            row["pauses"] = background
        if options.words:
            row["words"] = opinion(*aligned(reference, heard, group, True))
        if visqol and number % options.visqol == 0:
            row["visqol"] = visqol.measure_from_arrays(want, got, RATE).moslqo
        found.append(row)
    return found


def interval(traces):
    """The mean of what each trace has in the mean, its standard error, and the bounds of its 95 % interval
    by Student's t: segments of one trace share its network, and are no draws of their own. Of a single
    trace the segments have to do."""
    values = [np.mean(trace) for trace in traces] if len(traces) > 1 else traces[0]
    mean, count = float(np.mean(values)), len(values)
    error = float(np.std(values, ddof=1) / np.sqrt(count)) if count > 1 else 0.0
    reach = error * float(student.ppf(0.975, max(count - 1, 1)))
    return mean, error, mean - reach, mean + reach


def folders():
    """Each folder, and that of speech with discontinuous transmission in it."""
    for folder in (path for given in options.dirs for path in (given, given / "dtx")):
        if (folder / "reference.wav").exists():
            yield folder


def main():
    base, *others = options.policies.split(",")
    tasks = []
    for folder in folders():
        length = soundfile.info(folder / "reference.wav").frames // 3
        sentences = json.loads((folder / "sentences.json").read_text())
        groups = segments([(start // 3, end // 3) for start, end in sentences], length)
        tasks += [
            (path, policy, groups)
            for policy in (base, *others)
            for path in sorted(folder.glob(f"{options.model}*_{policy}.wav"))
        ]
    found = {}
    with ProcessPoolExecutor(options.jobs) as pool:
        for path, policy, rows in pool.map(scores, tasks):
            trace = path.name.removesuffix(f"_{policy}.wav")
            traces = found.setdefault(trace.split(".")[0], {}).setdefault((path.parent, trace), {})
            traces[policy] = rows
    measures = ["pesq", "mel", "pauses"] + (["words"] if options.words else []) + (["visqol"] if options.visqol else [])
    for other in others:
        for measure in measures:
            table(found, base, other, measure)


def table(found, base, other, measure):
    if not options.json:
        print(f"\n{measure:12}traces{base:>9}{other:>14}{'difference':>12}  error  (95 %)")
    models, everything = {}, []
    for model, traces in found.items():
        pairs = []
        for policies in traces.values():
            pair = [[row[measure] for row in policies.get(name, []) if measure in row] for name in (base, other)]
            if pair[0] and len(pair[0]) == len(pair[1]):
                pairs.append(pair)
        if pairs:
            models[model] = pairs
        if model not in APART and not model.startswith("dtx"):
            everything += pairs
    if everything:
        models["all"] = everything
    for model, pairs in models.items():
        theirs, ours = (float(np.mean([np.mean(pair[which]) for pair in pairs])) for which in (0, 1))
        mean, error, low, high = interval([np.subtract(pair[1], pair[0]) for pair in pairs])
        better, worse = low > 0, high < 0
        if measure in LESS_IS_BETTER:
            better, worse = worse, better
        verdict = "better" if better else "WORSE" if worse else "same" if mean == 0 else "not worse"
        if options.json:
            row = {"table": "quality", "measure": measure, "model": model, "policy": other, "beside": base}
            row |= {"ours": ours, "theirs": theirs, "difference": mean, "error": error}
            row |= {"low": low, "high": high, "traces": len(pairs), "verdict": verdict}
            print(json.dumps(row))
        else:
            print(
                f"{model:12}{len(pairs):6}{theirs:9.3f}{ours:14.3f}{mean:+12.3f}"
                f"  {error:.3f}  ({low:+.3f} to {high:+.3f})  {verdict}"
            )


if __name__ == "__main__":
    main()
