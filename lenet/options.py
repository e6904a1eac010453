"""What a run of training is asked to do: one table of options, for command line and checkpoints."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any

from lenet import schedules
from lenet.activations import ACTIVATIONS
from lenet.augment import Augmentation
from lenet.data import COLLECTIONS, SOURCES
from lenet.device import DEVICES
from lenet.errors import RunError
from lenet.initializers import INITIALIZERS
from lenet.layers.units import pieces_of
from lenet.models import MODELS, read_network
from lenet.optimizers import OPTIMIZERS, parse_optimizer
from lenet.preprocessing import STEPS, Preprocessing

MODEL, DATA, TRAINING, PLACE = "the model", "the data", "training", "the machine"


def option(default: Any, group: str, help: str, metavar: str | None = None, **more: Any) -> Any:
    """A field of Options: its default, and what --help says of it."""
    return field(
        default=default, metadata={"group": group, "help": help, "metavar": metavar, **more}
    )


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of `python -m lenet train`.

    None stands for what the model itself, or the data set, has. `Options.of` fills in a model's
    recipe. Raises RunError if a value is out of range. `device` is for the commands, which choose
    it for all that they compile (lenet.device).
    """

    model: str = option("tutorial", MODEL, "which one", choices=tuple(MODELS))
    network: str | None = option(
        None,
        MODEL,
        "the layers of --model custom, or a file of them; `summary --help` has the words",
        "TEXT",
        read=read_network,
    )
    nkerns: tuple[int, ...] | None = option(
        None, MODEL, "filters in the convolutional layers", "N,N"
    )
    hidden: int | None = option(None, MODEL, "units in the hidden layer", "N", least=1)
    padding: int | None = option(None, MODEL, "zeros around the images", "N", least=0)
    activation: str | None = option(
        None, MODEL, f"of all hidden layers: {', '.join(ACTIVATIONS)}, maxout:K", "NAME"
    )
    init: str | None = option(None, MODEL, f"of the weights: {', '.join(INITIALIZERS)}", "NAME")
    dropout: float = option(0.0, MODEL, "share of the hidden units to drop", "P")
    batch_norm: bool = option(False, MODEL, "batch normalisation before each activation")
    finetune: str | None = option(
        None, MODEL, "begin with the layers of this run, but for a new output layer", "RUN"
    )
    data: str = option("mnist", DATA, "the data set", choices=tuple(COLLECTIONS))
    source: str = option(
        "auto", DATA, f"where from: auto, {', '.join(SOURCES)}; or a path of your own images",
        "PLACE",
    )  # fmt: skip
    size: tuple[int, ...] | None = option(None, DATA, "bring all images to this size", "H,W")
    validation: float | None = option(
        None, DATA, "share of the training images to validate with, else 1/6", "X"
    )
    split_seed: int | None = option(
        None, DATA, "choose them at random, from this seed, else the last ones", "N", least=0
    )
    limit: int | None = option(None, DATA, "use the first N training images only", "N", least=1)
    preprocess: str = option(
        "", DATA, f"fitted on the training images: {', '.join(STEPS)}, with commas between", "STEPS"
    )
    augment: str = option(
        "", DATA, "random distortions, as shift=2,rotate=10,scale=0.1,shear=5", "AMOUNTS"
    )
    epochs: int = option(10, TRAINING, "passes over the training set", "N", least=1)
    batch_size: int = option(
        100, TRAINING, "images in a minibatch; 1: single examples, 0: all at once", "N", least=0
    )
    shuffle: bool = option(False, TRAINING, "a new order of the images in each epoch")
    optimizer: str = option(
        "sgd", TRAINING, f"{', '.join(OPTIMIZERS)}, with settings as momentum:momentum=0.95", "NAME"
    )
    learning_rate: float = option(0.1, TRAINING, "step of the optimiser", "X")
    schedule: str = option(
        "constant",
        TRAINING,
        f"learning rate by epoch: {', '.join(map(schedules.form, schedules.SCHEDULES))}",
        "NAME",
    )
    layer_rates: str = option(
        "", TRAINING, "factors of the learning rate by layer, as layer0=0.1,layer1=0.5", "RATES"
    )
    freeze: str = option("", TRAINING, "layers not to train, as layer0,layer1", "NAMES")
    l1: float = option(0.0, TRAINING, "weight of the sum of |W| in the cost", "X")
    l2: float = option(0.0, TRAINING, "weight of the sum of W**2 in the cost", "X")
    clip: float | None = option(None, TRAINING, "largest norm of the gradient", "X")
    patience: str = option(
        "none", TRAINING, "early stopping: none, tutorial, or epochs without a better model", "N"
    )
    seed: int = option(23455, TRAINING, "of weights, order, dropout and distortions", "N", least=0)
    device: str | None = option(
        None, PLACE, "cpu; cuda: the first GPU; auto: a GPU if there is one; default: device of "
        "SYMGRAPH_FLAGS, else cpu", choices=DEVICES, kept=False,
    )  # fmt: skip

    # These may differ when a run is resumed: how long to train, and where the same data lie, and
    # where it is done, which is not kept: a run goes on anywhere.
    CHANGEABLE = ("epochs", "source", "device")
    # These are those of the run whose layers a fine-tuned one takes, and of its images.
    INHERITED = ("model", "network", "nkerns", "hidden", "padding", "activation", "batch_norm",
                 "size", "preprocess")  # fmt: skip

    @classmethod
    def of(cls, **given: Any) -> Options:
        """The options `given`, the rest from the recipe of the model; RunError for unknown models.

        An optimiser that is not the recipe's comes with a learning rate of its own.
        """
        name = given.get("model", cls.model)
        if name not in MODELS:
            known = ", ".join(MODELS)
            raise RunError("--model", str(name), f"one of {known}", "use one of these names")
        recipe = dict(MODELS[name].recipe)
        rule, usual = (
            text.partition(":")[0]
            for text in (given.get("optimizer", ""), recipe.get("optimizer", cls.optimizer))
        )
        if rule in OPTIMIZERS and rule != usual:
            recipe["learning_rate"] = OPTIMIZERS[rule].learning_rate
        return cls(**{**recipe, **given})

    def __post_init__(self) -> None:
        for row in fields(self):
            least, value = row.metadata.get("least"), getattr(self, row.name)
            most = 2**32 - 1 if "seed" in row.name else 10**9
            if least is not None and value is not None and not least <= value <= most:
                raise _out_of_range(row.name, value, f"a number from {least:,} to {most:,}")
        _positive("learning_rate", self.learning_rate)
        if self.clip is not None:
            _positive("clip", self.clip)
        for name in ("l1", "l2"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise _out_of_range(name, getattr(self, name), "a number from 0, as 0.0001")
        if self.size is not None and not (
            len(self.size) == 2 and all(1 <= n <= 10_000 for n in self.size)
        ):
            given = ",".join(map(str, self.size))
            raise _out_of_range("size", given, "height and width, as 28,28")
        if not 0 <= self.dropout < 1:
            raise _out_of_range("dropout", self.dropout, "a share from 0 to less than 1, as 0.5")
        nkerns = self.nkerns
        if nkerns is not None and not (nkerns and all(1 <= n <= 10_000 for n in nkerns)):
            given = ",".join(map(str, nkerns))
            raise _out_of_range("nkerns", given, "numbers from 1 to 10,000, as 20,50")
        if self.patience not in ("none", "tutorial") and not (
            self.patience.isdecimal() and int(self.patience) > 0
        ):
            raise _out_of_range("patience", self.patience, "none, tutorial, or a number of epochs")
        if self.activation is not None:
            pieces_of(self.activation)
        # What has a language of its own is read once here, so that errors come early.
        schedules.parse(self.schedule)
        parse_optimizer(self.optimizer)
        Augmentation.parse(self.augment)
        Preprocessing.parse(self.preprocess)
        self.rates_by_layer()

    def rates_by_layer(self) -> dict[str, float]:
        """Factors of the learning rate by the names of layers, 0 for frozen ones."""
        rates = {}
        for part in filter(None, self.layer_rates.split(",")):
            name, _, text = part.partition("=")
            try:
                rates[name] = float(text)
            except ValueError:
                rates[name] = math.nan
            if not (math.isfinite(rates[name]) and rates[name] >= 0):
                raise _out_of_range("layer_rates", part, "LAYER=FACTOR, the factor from 0 on")
        return {**rates, **dict.fromkeys(filter(None, self.freeze.split(",")), 0.0)}

    def resumed_with(self, given: Mapping[str, Any]) -> Options:
        """These options of a run, with those `given` now that may change; RunError for others."""
        fixed = [name for name in given if name not in self.CHANGEABLE]
        self._refuse_changed(given, fixed, "start a new run without --resume")
        return replace(self, **given)

    def finetuned_with(self, given: Mapping[str, Any]) -> Options:
        """Options for training that begins with the layers of this run.

        Layers and images are as they were, RunError if `given` says otherwise; the rest is as
        given, or the model's recipe.
        """
        self._refuse_changed(given, self.INHERITED, "start a new run without --finetune")
        kept = {name: getattr(self, name) for name in self.INHERITED}
        return self.of(**{"init": self.init, "dropout": self.dropout, **given, **kept})

    def _refuse_changed(self, given: Mapping[str, Any], names: Sequence[str], cure: str) -> None:
        for name in names:
            kept = getattr(self, name)
            if name in given and given[name] != kept:
                raise RunError(
                    flag(name),
                    f"{_written(given[name])} for a run that was started with {_written(kept)}",
                    _written(kept),
                    f"leave the option out, or {cure}",
                )

    def to_json(self) -> dict[str, Any]:
        """The options as what JSON can hold, but for those that are not kept with a run."""
        values = {row.name: getattr(self, row.name) for row in _kept()}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Options:
        """The options that `to_json` gave; TypeError or ValueError if they are not."""
        hints = typing.get_type_hints(cls)
        return cls(**{row.name: _cast(values[row.name], hints[row.name]) for row in _kept()})


def rows() -> tuple[Field[Any], ...]:
    """The options in order, each with its metadata: group, help, metavar, choices."""
    return fields(Options)


def _kept() -> Iterator[Field[Any]]:
    """The options that make a run what it is; the others say where it is made."""
    return (row for row in rows() if row.metadata.get("kept", True))


def parser_of(row: Field[Any]) -> Callable[[str], Any]:
    """What reads the option `row` from text: bool, int, float, str, or tuple for lists of ints."""
    hint = _required(typing.get_type_hints(Options)[row.name])
    kind: Callable[[str], Any] = typing.get_origin(hint) or hint
    return kind


def flag(name: str) -> str:
    """How the option `name` is written on the command line."""
    return "--" + name.replace("_", "-")


def _required(hint: Any) -> Any:
    """The type X of a hint `X | None` or X."""
    if isinstance(hint, types.UnionType):
        return next(one for one in typing.get_args(hint) if one is not type(None))
    return hint


def _cast(value: Any, hint: Any) -> Any:
    if value is None:
        if isinstance(hint, types.UnionType):
            return None
        raise TypeError("a value is missing")
    kind = _required(hint)
    if typing.get_origin(kind) is tuple:
        return tuple(int(n) for n in value)
    return kind(value)


def _written(value: Any) -> str:
    """A value as people would give it."""
    if value is None or value == "":
        return "none"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise _out_of_range(name, value, "a number above 0, as 0.1")


def _out_of_range(name: str, got: object, expected: str) -> RunError:
    return RunError(flag(name), str(got), expected, "give the option such a value")
