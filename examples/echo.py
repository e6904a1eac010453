"""An echo, or a room, as one symbolic convolution over a sound.

    python examples/echo.py [IN.wav] [--delay 0.5] [--decay 0.5] [--repeats 4] [--out FOLDER]
    python examples/echo.py --room 0.8

Clap once: what comes back is the impulse response of the place. Any sound in that place is the
convolution of the sound with that response, as if each of its samples were a clap. Two responses
are made here: a wall, which repeats the sound every --delay seconds, --decay times as loud each
time; or, with --room, an empty hall: noise that fades by 60 dB in so many seconds.

The sound (channels, samples) becomes images of one column, (channels, 1, samples, 1), under one
filter of one column, in T.nnet.conv2d; border_mode="full" keeps the echo that outlasts the sound.
The filter is flipped, as it must be: unflipped, the echo would come before the sound. The wall's
filter is zero but for a few samples: filter_dilation says how far apart they are, and the zeros
cost nothing. A hall of 0.8 s has 17,640 weights, and each is used for each sample.

Without IN.wav, a melody of plucked strings is made (Karplus & Strong, "Digital synthesis of
plucked-string and drum timbres", 1983). FOLDER gets out.wav, the picture echo.png, and the melody
as in.wav. The result is compared with scipy.signal.fftconvolve, and the largest difference printed.
"""

from __future__ import annotations

import argparse
import io
import math
import os
import sys
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import symgraph
from lenet.data import DataError
from lenet.data.sources import check_writable, write_atomically
from symgraph import tensor as T

Array = np.ndarray
LONGEST = 60.0  # seconds of a response
FLOOR = -80.0  # decibels below the loudest sample: softer ones are not drawn


@dataclass(frozen=True)
class Sound:
    """`samples` float64 (channels, n), -1 to 1; `rate` samples a second; `width` bytes each."""

    samples: Array
    rate: int
    width: int = 2

    @property
    def seconds(self) -> float:
        return self.samples.shape[1] / self.rate


@dataclass(frozen=True)
class Response:
    """An impulse response: `taps` float64 (k,), `spacing` samples apart; zeros between them."""

    taps: Array
    spacing: int = 1

    def dense(self) -> Array:
        """All samples of it, ((k - 1) * spacing + 1,)."""
        out = np.zeros((len(self.taps) - 1) * self.spacing + 1)
        out[:: self.spacing] = self.taps
        return out


# ---- files -------------------------------------------------------------------------------------


def read_wav(path: str | os.PathLike[str]) -> Sound:
    """The sound in a WAV file: PCM of 8, 16, 24 or 32 bits, any rate and number of channels.

    DataError if it is no such file, is cut, or holds no sample.
    """
    cure = "convert it, for example: ffmpeg -i IN -c:a pcm_s16le OUT.wav"
    try:
        with wave.open(os.fspath(path), "rb") as file:
            channels, width, rate, frames = file.getparams()[:4]
            content = file.readframes(frames)
    except FileNotFoundError as error:
        raise DataError(path, "no such file", "a WAV file", "correct the name") from error
    except OSError as error:
        raise DataError(path, str(error.strerror), "a file that can be read", "name one") from error
    except EOFError as error:
        raise DataError(path, "an empty or cut file", "a WAV file", "copy it again") from error
    except wave.Error as error:
        if "unknown format" in str(error):  # 3: floats; 65534: extended, which Python 3.12 reads
            got = f"a WAV file that is compressed, in floats or extended ({error})"
        else:
            got = f"a file that is not WAV ({error})"
        raise DataError(path, got, "a WAV file of plain PCM samples", cure) from error
    if width not in (1, 2, 3, 4):
        raise DataError(path, f"samples of {8 * width} bits", "8, 16, 24 or 32 bits", cure)
    if len(content) != frames * channels * width:
        raise DataError(
            path, f"{len(content):,} of {frames * channels * width:,} bytes of sound",
            "a whole file", "copy it again",
        )  # fmt: skip
    if not frames:
        raise DataError(path, "no samples", "a sound", "record one")
    return Sound(decoded(content, width).reshape(-1, channels).T, rate, width)


def decoded(content: bytes, width: int) -> Array:
    """PCM samples of `width` bytes as float64 (n,), -1 to 1; single bytes have 128 for silence."""
    if width == 1:
        return (np.frombuffer(content, np.uint8) - 128.0) / 128
    high = np.zeros((len(content) // width, 4), np.uint8)  # the high bytes of little-endian int32
    high[:, 4 - width :] = np.frombuffer(content, np.uint8).reshape(-1, width)
    return high.view("<i4")[:, 0] / 2.0**31


def encoded(samples: Array, width: int) -> bytes:
    """float64 (n,), -1 to 1, as PCM samples of `width` bytes; what is beyond is cut off."""
    full = 2.0 ** (8 * width - 1)
    whole = np.clip(np.rint(samples * full), -full, full - 1).astype("<i4")
    if width == 1:
        return (whole + 128).astype(np.uint8).tobytes()
    return whole.view(np.uint8).reshape(-1, 4)[:, :width].tobytes()


def write_wav(path: Path, sound: Sound) -> None:
    """Write `sound` as a WAV file of its rate and width; DataError if the folder takes none."""
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setparams((len(sound.samples), sound.width, sound.rate, 0, "NONE", ""))
        file.writeframes(encoded(sound.samples.T.ravel(), sound.width))
    write_atomically(path, content.getvalue())


# ---- sounds and responses ----------------------------------------------------------------------


def pluck(pitch: float, seconds: float, rate: int, rng: np.random.RandomState) -> Array:
    """A string of `pitch` Hz, float64 (seconds * rate,): noise that runs in a loop and is averaged.

    Each sample is the mean of the two that lie one period back, so high notes of it fade first.
    """
    period = max(2, round(rate / pitch - 0.5))
    out = np.zeros(period + 1 + math.ceil(seconds * rate / period) * period)
    noise = rng.uniform(-1, 1, period)
    out[1 : period + 1] = noise - noise.mean()  # a constant is no sound, and would never fade
    for start in range(period + 1, len(out), period):
        back = out[start - period - 1 : start]
        out[start : start + period] = (back[1:] + back[:-1]) / 2
    return out[1 : 1 + round(seconds * rate)]


def melody(rate: int = 22050) -> Sound:
    """Four plucked notes, one channel, 0.9 s at a peak of 0.8."""
    ring, beat = 0.45, 0.15
    steps = (0, 7, 10, 12)  # half tones above 220 Hz
    out = np.zeros(round((beat * (len(steps) - 1) + ring) * rate))
    rng = np.random.RandomState(1983)
    for place, step in enumerate(steps):
        note = pluck(220 * 2 ** (step / 12), ring, rate, rng)
        begin = round(place * beat * rate)
        out[begin : begin + len(note)] += note * np.linspace(1, 0, len(note))
    return Sound(0.8 * out[np.newaxis] / np.abs(out).max(), rate)


def wall(delay: float, decay: float, repeats: int, rate: int) -> Response:
    """The sound itself, then `repeats` times, each `delay` seconds later and `decay` as loud."""
    return Response(decay ** np.arange(repeats + 1.0), max(1, round(delay * rate)))


def room(seconds: float, rate: int) -> Response:
    """The sound itself, then noise of the same energy that fades by 60 dB in `seconds`."""
    count = max(2, round(seconds * rate))
    taps = np.random.RandomState(0).randn(count) * 10 ** (-3 * np.arange(count) / count)
    taps[0] = math.sqrt(np.square(taps[1:]).sum())
    return Response(taps / taps[0])


def convolution(spacing: int) -> Any:
    """A function of samples (channels, n) and taps (k,), both float64, `spacing` samples apart.

    It returns their convolution, (channels, n + (k - 1) * spacing). Time runs down a column: rows
    are what conv2d cuts into blocks, so that memory does not grow with n * k.
    """
    samples, taps = T.dmatrix("samples"), T.dvector("taps")
    images = samples.dimshuffle(0, "x", 1, "x")
    filters = taps.dimshuffle("x", "x", 0, "x")
    out = T.nnet.conv2d(images, filters, border_mode="full", filter_dilation=(spacing, 1))
    return symgraph.function([samples, taps], out[:, 0, :, 0])


def comparison(sound: Sound, response: Response, result: Array) -> str:
    try:
        from scipy import signal
    except ImportError:
        return "not compared: SciPy is missing (pip install scipy)"
    expected = signal.fftconvolve(sound.samples, response.dense()[np.newaxis], axes=1)
    return f"largest difference to SciPy {np.abs(result - expected).max():.1e}"


# ---- the picture -------------------------------------------------------------------------------


def draw(before: Sound, response: Array, after: Sound) -> bytes:
    """A PNG: both waveforms, between them the response (n,) in decibels, over the same seconds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5.5), layout="constrained")
    first, second, third = figure.subplots(3, 1, sharex=True)
    for axes, sound, title in (
        (first, before, "the sound"),
        (third, after, "the sound, convolved with the response"),
    ):
        axes.set(ylabel="amplitude", ylim=(-1.05, 1.05))
        axes.set_title(title, fontsize=10, loc="left")
        strength = 1.0 if len(sound.samples) == 1 else 0.6  # channels overlap
        for k, channel in enumerate(sound.samples):
            seconds, lowest, highest = envelope(channel, sound.rate)
            axes.fill_between(
                seconds, lowest, highest, linewidth=0.8, alpha=strength,
                edgecolor=f"C{k}", facecolor=f"C{k}", label=f"channel {k + 1}",
            )  # fmt: skip
        if 1 < len(sound.samples) < 5:
            axes.legend(loc="upper right", fontsize=8)
    seconds, _, loudest = envelope(np.abs(response), before.rate)
    level = 20 * np.log10(np.maximum(loudest / loudest.max(), 10 ** (FLOOR / 20)))
    second.fill_between(seconds, FLOOR, level, linewidth=1.5, edgecolor="C3", facecolor="C3")
    second.set(ylabel="level, dB", ylim=(FLOOR, 5), yticks=(-60, -40, -20, 0))
    second.set_title(f"the impulse response, {len(response):,} samples", fontsize=10, loc="left")
    third.set_xlabel("time, seconds")
    third.margins(x=0.01)
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=100)
    return png.getvalue()


def envelope(channel: Array, rate: int, columns: int = 2000) -> tuple[Array, Array, Array]:
    """The times, lowest and highest values of at most so many stretches of `channel`.

    A minute has millions of samples, a picture some hundred columns.
    """
    starts = np.unique(np.linspace(0, len(channel), columns, endpoint=False).astype(int))
    lowest = np.minimum.reduceat(channel, starts)
    return starts / rate, lowest, np.maximum.reduceat(channel, starts)


# ---- the command -------------------------------------------------------------------------------


def chosen_response(chosen: argparse.Namespace, rate: int) -> Response:
    """What the options ask for; DataError for numbers that make no echo."""
    if not 1 <= chosen.repeats <= 100:
        raise DataError("--repeats", f"{chosen.repeats}", "1 to 100", "give such a number")
    if not 0 <= chosen.decay <= 1:
        raise DataError("--decay", f"{chosen.decay:g}", "0 to 1", "no echo grows louder")
    option, longest, seconds = "--room", LONGEST, chosen.room
    if seconds is None:
        option, longest, seconds = "--delay", LONGEST / chosen.repeats, chosen.delay
    if not 0 < seconds <= longest:
        raise DataError(option, f"{seconds:g} s", f"above 0, at most {longest:g}", "give seconds")
    if chosen.room is not None:
        return room(chosen.room, rate)
    return wall(chosen.delay, chosen.decay, chosen.repeats, rate)


def run(chosen: argparse.Namespace) -> None:
    say = sys.stdout.write
    sound = read_wav(chosen.sound) if chosen.sound else melody()
    response = chosen_response(chosen, sound.rate)
    check_writable(chosen.out)
    channels, count = sound.samples.shape
    say(
        f"{chosen.sound or 'a melody of plucked strings'}: {sound.seconds:.2f} s at "
        f"{sound.rate:,} Hz, channels: {channels}\n"
        f"filter: {len(response.dense()):,} samples, of which {len(response.taps):,} count; "
        f"{channels * count * len(response.taps):,} products\n"
    )
    result = convolution(response.spacing)(sound.samples, response.taps)
    say(f"{comparison(sound, response, result)}\n")

    # Echoes add up: what would not fit into the file's range is made quieter as a whole.
    peak = np.abs(result).max()
    if peak > 1:
        result = result / peak
        say(f"divided by {peak:.2f}: louder than a WAV file can hold\n")
    after = Sound(result, sound.rate, sound.width)
    if not chosen.sound:
        write_wav(chosen.out / "in.wav", sound)
    write_wav(chosen.out / "out.wav", after)
    write_atomically(chosen.out / "echo.png", draw(sound, response.dense(), after))
    say(f"wrote {chosen.out / 'out.wav'} ({after.seconds:.2f} s) and {chosen.out / 'echo.png'}\n")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sound", nargs="?", metavar="IN.wav", help="WAV file (default: a melody)")
    parser.add_argument("--delay", type=float, default=0.5, help="seconds (default: %(default)s)")
    parser.add_argument("--decay", type=float, default=0.5, help="0 to 1 (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=4, help="1 to 100 (default: %(default)s)")
    parser.add_argument("--room", type=float, metavar="SECONDS",
                        help="not a wall, but a hall that fades by 60 dB in so long")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("echo"), metavar="FOLDER",
                        help="where to write (default: %(default)s)")  # fmt: skip
    try:
        run(parser.parse_args(arguments))
    except DataError as error:
        parser.exit(1, f"echo.py: {error}\n")


if __name__ == "__main__":
    main()
