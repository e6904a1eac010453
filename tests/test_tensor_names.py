"""The namespaces of Theano: constructors, and that names lead to what they say."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

import symgraph.tensor as T
from symgraph.configuration import config
from symgraph.types import TensorType

SHAPES = {
    "scalar": (), "vector": (False,), "matrix": (False, False), "row": (True, False),
    "col": (False, True), **{f"tensor{n}": (False,) * n for n in range(3, 8)},
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("prefix", "dtype"),
    {"b": "int8", "w": "int16", "i": "int32", "l": "int64", "f": "float32", "d": "float64"}.items(),
)
def test_prefixed_names_are_types(prefix: str, dtype: str, shape: str) -> None:
    kind = getattr(T, prefix + shape)
    assert kind == TensorType(dtype, SHAPES[shape])
    assert kind("x").type is kind
    assert kind("x").name == "x"


@pytest.mark.parametrize("shape", SHAPES)
def test_plain_names_follow_floatX(shape: str) -> None:
    make = getattr(T, shape)
    for dtype in ("float32", "float64"):
        with config.change_flags(floatX=dtype):
            assert make("x").type == TensorType(dtype, SHAPES[shape])
    assert make("x", dtype="int64").dtype == "int64"
    assert make(dtype="int8").name is None


@pytest.mark.parametrize("names", ["cscalar", "zmatrix", "ctensor4", "zrows"])
def test_complex_names_say_so(names: str) -> None:
    with pytest.raises(TypeError, match="complex variables are not supported"):
        getattr(T, names)("x")


def names_of(made: Any) -> list[str | None]:
    return [v.name for v in made]


def test_plurals() -> None:
    assert names_of(T.dmatrices("a", "b")) == ["a", "b"]
    assert names_of(T.scalars("xyz")) == ["x", "y", "z"]
    assert names_of(T.fvectors(["long", "names"])) == ["long", "names"]
    assert names_of(T.lrows(2)) == [None, None]
    assert T.iscalars("x").name == "x"
    assert [v.dtype for v in T.matrices("ab", dtype="int16")] == ["int16", "int16"]
    assert T.matrices("a", "b")[0].type == T.matrix().type


@pytest.mark.parametrize(
    "path",
    [
        "tensor.dot", "tensor.nnet.conv2d", "tensor.nnet.conv.conv2d", "tensor.nnet.nnet.softmax",
        "tensor.nnet.nnet.relu", "tensor.nnet.sigm.hard_sigmoid",
        "tensor.nnet.bn.batch_normalization",
        "tensor.nnet.abstract_conv.AbstractConv2d_gradInputs", "tensor.signal.pool.pool_2d",
        "tensor.signal.downsample.max_pool_2d", "tensor.signal.conv.conv2d",
        "tensor.extra_ops.to_one_hot", "tensor.nlinalg.trace", "tensor.slinalg.solve",
        "tensor.xlogx.xlogy0", "tensor.subtensor.take", "tensor.basic.arange",
    ],
)  # fmt: skip
def test_theanos_paths(path: str) -> None:
    module, name = f"symgraph.{path}".rsplit(".", 1)
    assert callable(getattr(importlib.import_module(module), name))


def test_unknown_names_suggest() -> None:
    with pytest.raises(AttributeError, match="did you mean tensordot"):
        T.tensordott  # noqa: B018
