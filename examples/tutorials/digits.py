"""The digits that the scripts train on, as shared variables.

MNIST is found as `lenet` finds it: $SYMGRAPH_DATA, the user's caches, then the network; a sample of
2,594 digits ships with it and is used, with a notice, where nothing else can be had. `--data` names
another source, or the path of a file: also the tutorials' own `mnist.pkl.gz`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy
import theano
import theano.tensor as T

from lenet import data

SOURCE = ("auto", "where the digits come from: auto, sample, or the path of a file or folder")


class Part(NamedTuple):
    """Digits in a shared floatX matrix of rows of 784 numbers from 0 to 1; labels as int32."""

    x: Any
    y: Any

    def batches(self, size: int) -> int:
        """How many whole minibatches of `size` there are; ValueError if there is none."""
        count = self.x.get_value(borrow=True).shape[0]
        if count < size:
            raise ValueError(f"batches of {size} from {count} digits: ask for smaller ones")
        return count // size


def load(source: str = "auto") -> tuple[Part, Part, Part]:
    """The digits to train with, to validate with, to test with (MNIST: 50,000, 10,000, 10,000)."""
    dataset = data.load(source=source)
    return shared(dataset.train), shared(dataset.valid), shared(dataset.test)


def shared(part: data.Split, borrow: bool = True) -> Part:
    """`part` in shared variables, so that minibatches are cut out where the digits lie.

    Labels are stored as floatX, as a GPU of the time required, and cast back where they are used.
    """
    # 256 and not 255: the tutorials' file was made so, and its documented errors with it.
    rows = part.images.reshape(len(part.images), -1) / 256
    x = theano.shared(numpy.asarray(rows, dtype=theano.config.floatX), borrow=borrow)
    y = theano.shared(numpy.asarray(part.labels, dtype=theano.config.floatX), borrow=borrow)
    return Part(x, T.cast(y, "int32"))
