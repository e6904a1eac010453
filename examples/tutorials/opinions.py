"""Opinions of a film as sequences of words, good or bad, made by a few rules.

A review mixes praise and blame with filler; "not" turns the next opinion round, "but" makes all
before it count for nothing. So the order of the words matters, not only which there are.
"""

from __future__ import annotations

import random
from typing import NamedTuple

import numpy
import pickles

GOOD = "great wonderful moving funny brilliant charming gripping superb fresh honest".split()
BAD = "dull awful boring clumsy weak silly flat tedious stale false".split()
FILLER = (
    "the a film story plot actor scene music is was very quite really with and of in it this "
    "director camera ending dialogue at all times rather somehow on screen"
).split()
NOT, BUT = "not", "but"
# Number 0 ends or pads a sequence and 1 is an unknown word, as in the tutorial's file.
WORDS = ["", "unknown", NOT, BUT, *GOOD, *BAD, *FILLER]


class Set(NamedTuple):
    """Reviews: lists of numbers of words; labels: 1 good, 0 bad."""

    x: list[list[int]]
    y: list[int]


def generate(count: int, seed: int = 123) -> tuple[Set, Set, Set]:
    """`count` reviews to train with, a fifth as many to validate with and to test with."""
    rng = random.Random(seed)
    sets = []
    for size in (count, max(1, count // 5), max(1, count // 5)):
        pairs = [_review(rng) for _ in range(size)]
        sets.append(Set([words for words, _ in pairs], [label for _, label in pairs]))
    return sets[0], sets[1], sets[2]


def load(path: str, n_words: int, maxlen: int, valid_portion: float = 0.05) -> tuple[Set, Set, Set]:
    """The tutorial's imdb.pkl, gzipped or not: two pickles in a row, each of (reviews, labels).

    Words from `n_words` on become unknown; training reviews of `maxlen` words or more are left
    out; a share of `valid_portion` of the rest validates. SystemExit for a file of another form.
    """

    def known(part: tuple[list[list[int]], list[int]], limit: float) -> Set:
        kept = [(x, y) for x, y in zip(*part, strict=True) if len(x) < limit]
        reviews = [[1 if word >= n_words else word for word in x] for x, _ in kept]
        return Set(reviews, [y for _, y in kept])

    expected = "two pickles in a row, each (reviews as lists of words' numbers, labels)"
    whole, test = pickles.load(
        path, expected, lambda train, test: (known(train, maxlen), known(test, numpy.inf)), count=2
    )
    order = numpy.random.RandomState(0).permutation(len(whole.x))
    cut = round(len(order) * (1 - valid_portion))
    parts = [
        Set([whole.x[i] for i in part], [whole.y[i] for i in part])
        for part in (order[:cut], order[cut:])
    ]
    return parts[0], parts[1], test


def _review(rng: random.Random) -> tuple[list[int], int]:
    while True:
        words: list[str] = []
        score = 0
        for _ in range(rng.randint(1, 4)):
            words += rng.choices(FILLER, k=rng.randint(1, 4))
            sign = rng.choice((1, -1))
            if rng.random() < 0.3:
                words.append(NOT)
                score -= sign
            else:
                score += sign
            words.append(rng.choice(GOOD if sign > 0 else BAD))
            if rng.random() < 0.15:
                words.append(BUT)
                score = 0
        if score:
            return [WORDS.index(word) for word in words], int(score > 0)
