"""The training loop: its steps, its state, what it compiles."""

from __future__ import annotations

import doctest
import json
import sys
from dataclasses import replace

import numpy as np
import pytest

import lenet.train
import symgraph
from lenet import models
from lenet.data import Split
from lenet.errors import RunError
from lenet.options import Options
from lenet.train import Callback, Functions, Round, Score, State, Trainer, compile_functions
from tests.lenet.small_runs import SMALL, compiled, lively_model, small_dataset


def test_the_examples_of_the_package() -> None:
    assert doctest.testmod(lenet.train).failed == 0


# ---- the loop, over functions that compute nothing -----------------------------------------------


def scripted(errors: list[float], batches: int, calls: list[object] | None = None) -> Functions:
    given, noted = iter(errors), [] if calls is None else calls

    def begin_epoch(epoch: int) -> float:
        noted.append(("epoch", epoch))
        return 0.5**epoch

    def train(batch: int) -> float:
        noted.append(batch)
        return float(batch)

    return Functions(
        train=train,
        validate=lambda: Score(next(given), 2.0),
        batches=batches,
        images=10 * batches,
        test=lambda: Score(0.25, 3.0),
        begin_epoch=begin_epoch,
    )


def test_rounds() -> None:
    calls: list[object] = []
    trainer = Trainer(scripted([0.5, 0.6, 0.4], 3, calls), 3)
    state = trainer.run()
    assert calls == [("epoch", 0), 0, 1, 2, ("epoch", 1), 0, 1, 2, ("epoch", 2), 0, 1, 2]
    assert [entry[:7] for entry in state.history] == [
        (3, 1.0, 1.0, 1.0, 2.0, 0.5, 0.25),
        (6, 2.0, 0.5, 1.0, 2.0, 0.6, None),  # tested at the best validation errors only
        (9, 3.0, 0.25, 1.0, 2.0, 0.4, 0.25),
    ]
    assert (state.best_validation_error, state.best_epoch, state.test_error) == (0.4, 3.0, 0.25)
    assert trainer.ended == "epochs" and trainer.is_done and state.is_best
    assert all(0 <= entry.training_seconds <= entry.seconds for entry in state.history)


def test_validation_within_epochs() -> None:
    calls: list[object] = []
    trainer = Trainer(scripted([0.5, 0.4, 0.3], 4, calls), 2, frequency=3)
    state = trainer.run()
    assert [(e.iteration, e.epoch, e.cost) for e in state.history] == [
        (3, 0.75, 1.0),
        (6, 1.5, 4 / 3),
    ]
    assert (state.iteration, state.cost_sum) == (8, 2.0 + 3.0)
    assert calls.count(("epoch", 0)) == calls.count(("epoch", 1)) == 1


def test_without_a_test_set() -> None:
    functions = replace(scripted([0.5, 0.4], 2), test=None, begin_epoch=Functions.begin_epoch)
    state = Trainer(functions, 2).run()
    assert [entry.test_error for entry in state.history] == [None, None]
    assert (state.best_validation_error, state.best_epoch, state.test_error) == (0.4, 2, np.inf)


def test_a_trainer_goes_on_from_a_state() -> None:
    calls: list[object] = []
    state = Trainer(scripted([0.5], 2), 1).run()
    state = Trainer(scripted([0.4], 2, calls), 2, state).run()
    assert calls == [("epoch", 1), 0, 1] and len(state.history) == 2
    calls.clear()
    assert Trainer(scripted([], 2, calls), 2, state).run() is state and not calls


def test_a_step_costs_little_python() -> None:
    """Counted, not timed: the functions that are called and the callbacks that are told."""

    class Silent(Callback):
        pass

    class Told(Callback):
        def on_batch_end(self, trainer: Trainer, iteration: int, cost: float) -> None:
            pass

    functions = Functions(train=float, validate=lambda: Score(0.5, 1.0), batches=1000, images=1000)
    calls: list[str] = []

    def count(frame: object, event: str, argument: object) -> None:
        if event in ("call", "c_call"):
            calls.append(event)

    trainer = Trainer(functions, 1, callbacks=[Silent(), Told(), Silent()])
    sys.setprofile(count)
    try:
        trainer.run()
    finally:
        sys.setprofile(None)
    # divmod, the fetch of the cost, and Told; float is a type, of no call event
    assert len(calls) <= 1000 * 3 + 60


def test_state_survives_json() -> None:
    entry = Round(7, 1.5, 0.1, 0.3, 0.2, 0.1, None, 1.0, 0.7)
    state = State(7, 0.1, 1.5, 0.2, [entry], {"patience": {"steps": 3}}, 0.1 + 0.2, 3.0)
    assert State.from_json(json.loads(json.dumps(state.to_json()))) == state
    assert State.from_json(json.loads(json.dumps(State().to_json()))) == State()


# ---- training for real -------------------------------------------------------------------------


def test_it_learns() -> None:
    _, functions = compiled(replace(SMALL, learning_rate=0.3))
    state = Trainer(functions, 8).run()
    costs = [entry.cost for entry in state.history]
    assert state.iteration == 8 * 9 and costs == sorted(costs, reverse=True)
    assert costs[0] == pytest.approx(2.3, abs=0.2) and costs[-1] < 1.5
    assert state.best_validation_error < 0.5 and state.test_error < 0.5
    assert 0.5 < state.history[-1].validation_cost < 2


def manual_step(options: Options, rows: slice) -> tuple[float, dict[str, np.ndarray]]:
    """Cost and parameters after one plain gradient step with those rows of the data."""
    dataset, model = small_dataset(), lively_model(options)
    grads = symgraph.grad(model.cost, list(model.params.values()))
    compute = symgraph.function([model.x, model.y], [model.cost, *grads])
    x = dataset.train.images[rows].astype("float32") * np.float32(1 / 255)
    cost, *values = compute(x, dataset.train.labels[rows])
    rate = np.float32(options.learning_rate)
    after = {
        name: p.get_value() - rate * g
        for (name, p), g in zip(model.params.items(), values, strict=True)
    }
    return float(cost), after


@pytest.mark.parametrize(
    ("size", "batches", "batch", "rows"),
    [
        (0, 1, 0, slice(0, 420)),
        (1, 420, 7, slice(7, 8)),
        (50, 9, 2, slice(100, 150)),
        (50, 9, 8, slice(400, 420)),  # what is left over is trained with too
    ],
    ids=["full batch", "single example", "minibatch", "leftover"],
)
def test_sizes_of_minibatches(size: int, batches: int, batch: int, rows: slice) -> None:
    options = replace(SMALL, batch_size=size)
    model, functions = compiled(options)
    assert (functions.batches, functions.images) == (batches, 420)
    cost, expected = manual_step(options, rows)
    assert functions.begin_epoch(0) == options.learning_rate
    assert float(functions.train(batch)) == pytest.approx(cost, rel=1e-5)
    for name, p in model.params.items():
        np.testing.assert_allclose(p.get_value(), expected[name], atol=1e-6, err_msg=name)


def test_shuffled_epochs_see_every_image_once_in_orders_of_their_own() -> None:
    options = replace(SMALL, shuffle=True)
    _, functions = compiled(options)
    functions.begin_epoch(0)
    costs = []
    order = np.random.RandomState([options.seed, 0]).permutation(420)
    cost, _ = manual_step(options, order[:50])
    assert float(functions.train(0)) == pytest.approx(cost, rel=1e-5)
    for epoch in (0, 1, 0):
        _, functions = compiled(options)
        functions.begin_epoch(epoch)
        costs.append(float(functions.train(0)))
    assert costs[0] == costs[2] != costs[1]


def test_frozen_layers() -> None:
    """Frozen layers stay as they are, running means and the optimiser's state included."""
    options = replace(
        SMALL, batch_norm=True, optimizer="momentum", freeze="layer0,layer0_norm",
        layer_rates="layer1=0",
    )  # fmt: skip
    model, functions = compiled(options)
    variables = {**model.params, **model.states}
    before = {name: v.get_value() for name, v in variables.items()}
    functions.begin_epoch(0)
    functions.train(0)
    still = {name for name, v in variables.items() if np.array_equal(v.get_value(), before[name])}
    frozen = ("layer0.", "layer0_norm.", "layer1.")
    biases = {"layer2.b"}  # whose gradient is 0: normalisation takes the mean away
    assert still <= {name for name in variables if name.startswith(frozen)} | biases
    assert still >= {name for name in variables if name.startswith(frozen)}
    assert not [name for name in functions.variables if name.startswith(("optimizer/layer0",))]


def test_rates_of_layers_scale_steps() -> None:
    steps = []
    for rates in ("", "layer3=0.5"):
        model, functions = compiled(replace(SMALL, layer_rates=rates))
        p = model.params["layer3.W"]
        start = p.get_value()
        functions.begin_epoch(0)
        functions.train(0)
        steps.append(p.get_value() - start)
    np.testing.assert_allclose(steps[1], 0.5 * steps[0], rtol=1e-5, atol=1e-7)


def test_adam_of_several_rates_keeps_one_count() -> None:
    _, functions = compiled(replace(SMALL, optimizer="adam", layer_rates="layer3=0.5"))
    functions.train(0)
    counts = [name for name in functions.variables if "steps" in name]
    assert counts == ["optimizer/adam.steps"]
    assert functions.variables[counts[0]].get_value() == 1


def test_penalties_are_part_of_the_cost() -> None:
    plain, heavy = (
        float(compiled(replace(SMALL, **more))[1].train(0))
        for more in ({}, {"l1": 0.01, "l2": 0.02})
    )
    model, _ = compiled(SMALL)
    weights = [p.get_value() for name, p in model.params.items() if name.endswith(".W")]
    expected = sum(0.01 * np.abs(w).sum() + 0.02 * (w**2).sum() for w in weights)
    assert heavy - plain == pytest.approx(expected, rel=1e-4)


def test_schedules_set_the_rate() -> None:
    model, functions = compiled(replace(SMALL, schedule="step:1,0.5"))
    assert [functions.begin_epoch(k) for k in range(3)] == [0.1, 0.05, 0.025]
    b = model.params["layer3.b"]
    moves = []
    for epoch in (0, 2):
        model, functions = compiled(replace(SMALL, schedule="step:1,0.5"))
        functions.begin_epoch(epoch)
        functions.train(0)
        moves.append(model.params["layer3.b"].get_value())
    np.testing.assert_allclose(moves[1], moves[0] / 4, rtol=1e-5)
    assert not b.get_value().any()


def test_clipping_bounds_the_step() -> None:
    model, functions = compiled(replace(SMALL, clip=1e-3))
    before = [p.get_value() for p in model.params.values()]
    functions.begin_epoch(0)
    functions.train(0)
    moved = [p.get_value() - old for p, old in zip(model.params.values(), before, strict=True)]
    norm = np.sqrt(sum((m.astype(float) ** 2).sum() for m in moved))
    assert norm == pytest.approx(0.1 * 1e-3, rel=1e-2)


def test_data_stay_bytes() -> None:
    """Images are turned into floats in the kernels, a minibatch at a time."""
    dataset = small_dataset()
    _, functions = compiled(SMALL)
    shared = {s.name: s for s in functions.compiled.get_shared()}
    images = shared["images"].get_value(borrow=True)
    assert images.dtype == np.uint8 and np.array_equal(images, dataset.train.images)


def test_a_part_without_images_has_no_error() -> None:
    dataset = small_dataset()
    none = Split(dataset.test.images[:0], dataset.test.labels[:0])
    with (
        symgraph.config.change_flags(floatX="float32"),
        pytest.raises(RunError, match="the images to test with: got none; expected one at least"),
    ):
        compile_functions(lively_model(SMALL), replace(dataset, test=none), SMALL)


def test_preprocessed_images_are_read_in_the_precision_of_the_model() -> None:
    options = Options.of(model="custom", network="fc 5, relu", batch_size=420)
    dataset, costs = small_dataset(), []
    for dtype in ("float32", "float64"):
        with symgraph.config.change_flags(floatX=dtype):
            model = models.build(options, dataset.image_shape, dataset.classes)
            functions = compile_functions(
                model, dataset, options, lambda x: x.astype("float32") / 255
            )
            costs.append(float(functions.train(0)))
    assert costs[0] == pytest.approx(costs[1], rel=1e-5)


def test_distortions_go_on_as_the_background() -> None:
    """Preprocessed images have another background than 0: what comes in at the border has it."""
    empty = Split(np.zeros((60, 1, 28, 28), np.uint8), np.arange(60, dtype=np.int32) % 10)
    dataset = replace(small_dataset(), train=empty)
    costs = []
    for augment in ("", "shift=9,rotate=20"):
        options = replace(SMALL, augment=augment, batch_size=60)
        model = lively_model(options)
        with symgraph.config.change_flags(floatX="float32"):
            functions = compile_functions(
                model, dataset, options, lambda x: x.astype("float32") / 255 - 2
            )
        costs.append(float(functions.train(0)))
    assert costs[1] == pytest.approx(costs[0], rel=1e-5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"freeze": "C1"}, r"layer 'C1': got a name that no layer has; expected one of layer0"),
        ({"layer_rates": "fc=2"}, r"layer 'fc'"),
        ({"freeze": "layer0,layer1,layer2,layer3"}, r"--freeze: got every layer"),
    ],
)
def test_functions_that_are_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(RunError, match=words):
        compiled(replace(SMALL, **change))
