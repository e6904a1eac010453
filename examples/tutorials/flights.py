"""Questions about flights with their slots marked, made by a small grammar.

Words of several slots are the same ("boston" may be where a flight starts, stops or ends; "six" may
be a departure or an arrival), so a tagger must look around. Labels are IOB, named as in ATIS.
"""

from __future__ import annotations

import random
from typing import Any, NamedTuple

import numpy
import pickles

CITIES = (
    "boston", "denver", "dallas", "atlanta", "pittsburgh", "new york", "san francisco",
    "salt lake city", "st. louis", "oakland", "philadelphia", "los angeles",
)  # fmt: skip
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
PERIODS = ("morning", "afternoon", "evening")
TIMES = ("six", "seven", "eight", "nine", "ten", "noon", "five pm", "six pm", "ten am")
AIRLINES = ("delta", "united airlines", "american airlines", "continental", "us air")
OPENINGS = (
    "show me", "i want", "list", "please find", "what are", "i would like to see", "give me",
    "can you show me",
)  # fmt: skip


class Set(NamedTuple):
    """Sentences: for each the numbers of its words and of their labels, int32 (length,)."""

    words: list[numpy.ndarray]
    labels: list[numpy.ndarray]


class Corpus(NamedTuple):
    train: Set
    valid: Set
    test: Set
    word_names: list[str]
    label_names: list[str]


def generate(sentences: int = 1000, seed: int = 345) -> Corpus:
    """A corpus of `sentences` questions, of which a fifth validates and a fifth tests."""
    rng = random.Random(seed)
    questions = [_question(rng) for _ in range(sentences)]
    names = [sorted({pair[i] for question in questions for pair in question}) for i in (0, 1)]
    numbers = [{name: number for number, name in enumerate(column)} for column in names]
    encoded = [
        [numpy.array([numbers[i][pair[i]] for pair in question], "int32") for question in questions]
        for i in (0, 1)
    ]
    fifth = sentences // 5
    cuts = (slice(2 * fifth, None), slice(0, fifth), slice(fifth, 2 * fifth))
    sets = [Set(encoded[0][cut], encoded[1][cut]) for cut in cuts]
    return Corpus(*sets, *names)


def load(path: str) -> Corpus:
    """The ATIS corpus of the tutorial: a pickle, gzipped or not, of (train, test, dictionaries).

    Each set is (words, tables, labels), the dictionaries `words2idx` and `labels2idx`; a fifth of
    the training set validates. SystemExit for a file of another form.
    """
    expected = "(train, test, dictionaries), a set (words, tables, labels)"
    return pickles.load(path, expected, _corpus)


def _corpus(parts: Any) -> Corpus:
    train, test, dictionaries = parts

    def named(numbers: dict[str, int]) -> list[str]:
        names = [""] * (max(numbers.values()) + 1)
        for name, number in numbers.items():
            names[number] = name
        return names

    sets = [
        Set(*([numpy.asarray(row, "int32") for row in column] for column in (part[0], part[2])))
        for part in (train, test)
    ]
    cut = len(sets[0].words) // 5
    valid = Set(sets[0].words[:cut], sets[0].labels[:cut])
    rest = Set(sets[0].words[cut:], sets[0].labels[cut:])
    return Corpus(
        rest, valid, sets[1], named(dictionaries["words2idx"]), named(dictionaries["labels2idx"])
    )


def _question(rng: random.Random) -> list[tuple[str, str]]:
    """Pairs of a word and its label."""
    out: list[tuple[str, str]] = []

    def plain(text: str) -> None:
        out.extend((word, "O") for word in text.split())

    def slot(text: str, label: str) -> None:
        first, *rest = text.split()
        out.append((first, f"B-{label}"))
        out.extend((word, f"I-{label}") for word in rest)

    def time(direction: str) -> None:
        plain(rng.choice(("at", "before", "after", "around")))
        slot(rng.choice(TIMES), f"{direction}_time.time")

    start, end, stop = rng.sample(CITIES, 3)
    plain(rng.choice(OPENINGS))
    plain(rng.choice(("the", "all", "")))
    if rng.random() < 0.3:
        slot(rng.choice(("cheapest", "lowest priced")), "cost_relative")
    if rng.random() < 0.2:
        slot(rng.choice(AIRLINES), "airline_name")
    plain(rng.choice(("flights", "flight", "fares")))
    ends = [
        ("from", start, "fromloc.city_name"),
        (rng.choice(("to", "into")), end, "toloc.city_name"),
    ]
    for word, city, label in ends if rng.random() < 0.7 else reversed(ends):
        plain(word)
        slot(city, label)
    if rng.random() < 0.3:
        plain(rng.choice(("with a stop in", "via", "stopping in")))
        slot(stop, "stoploc.city_name")
    direction = rng.choice(("depart", "arrive"))
    if rng.random() < 0.6:
        plain("leaving" if direction == "depart" else "arriving")
        if rng.random() < 0.6:
            plain("on")
            slot(rng.choice(DAYS), f"{direction}_date.day_name")
        if rng.random() < 0.4:
            plain("in the")
            slot(rng.choice(PERIODS), f"{direction}_time.period_of_day")
        else:
            time(direction)
    return out
