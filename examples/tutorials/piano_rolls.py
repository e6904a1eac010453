"""Music as piano rolls, binary matrices (steps, 88 pitches): composed by rules, or from a file.

A piece of the generator repeats a progression of chords in a random major key: the bass holds the
root, the triad sounds in the middle, a melody walks over the notes of the chord.
"""

from __future__ import annotations

from typing import Any

import numpy
import pickles
import theano

LOWEST, PITCHES = 21, 88  # MIDI's number of the lowest key of a piano, and how many keys there are
SCALE = (0, 2, 4, 5, 7, 9, 11)
PROGRESSIONS = ((0, 3, 4, 0), (0, 5, 3, 4), (0, 3, 0, 4), (5, 3, 0, 4))  # degrees of the scale


def generate(pieces: int, seed: int = 0xBEEF, steps: int = 128) -> list[numpy.ndarray]:
    """`pieces` rolls of `steps` steps, floatX."""
    rng = numpy.random.RandomState(seed)
    return [_piece(rng, steps) for _ in range(pieces)]


def load(path: str) -> list[numpy.ndarray]:
    """The training pieces of a file of piano rolls as Boulanger-Lewandowski published them.

    A pickle, gzipped or not, of a dictionary with a list of pieces under "train"; a piece is a list
    of steps, a step the MIDI numbers (21 to 108) of the notes that sound. MIDI files are not read.
    SystemExit for a file of another form.
    """
    expected = "{'train': pieces}, a piece a list of steps, a step the MIDI numbers 21 to 108"
    return pickles.load(path, expected, lambda parts: [_roll(piece) for piece in parts["train"]])


def _roll(piece: Any) -> numpy.ndarray:
    roll = numpy.zeros((len(piece), PITCHES), theano.config.floatX)
    for step, notes in enumerate(piece):
        keys = [int(note) - LOWEST for note in notes]
        if keys and min(keys) < 0:  # which would count from the other end
            raise ValueError(f"the note {min(keys) + LOWEST} at step {step}")
        roll[step, keys] = 1
    return roll


def _piece(rng: numpy.random.RandomState, steps: int) -> numpy.ndarray:
    roll = numpy.zeros((steps, PITCHES), theano.config.floatX)
    tonic = 36 + rng.randint(12) - LOWEST
    progression = PROGRESSIONS[rng.randint(len(PROGRESSIONS))]
    place = 0
    for step in range(steps):
        degree = progression[step // 4 % len(progression)]
        chord = [SCALE[(degree + third) % 7] for third in (0, 2, 4)]
        roll[step, tonic + chord[0]] = 1
        roll[step, [tonic + 12 + note for note in chord]] = 1
        place = (place + rng.randint(-1, 2)) % 3
        roll[step, tonic + 24 + chord[place]] = 1
    return roll
