"""`misc.pkl_utils`: zip files with arrays that NumPy reads alone."""

from __future__ import annotations

import io
import pickle
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from symgraph import function, shared
from symgraph import tensor as T
from symgraph.graph import toposort
from symgraph.misc.pkl_utils import (
    CompatUnpickler,
    PersistentNdarrayID,
    PersistentSharedVariableID,
    StripPickler,
    dump,
    load,
)


def again(obj: Any, **options: Any) -> Any:
    file = io.BytesIO()
    dump(obj, file, **options)
    return load(file)


def test_arrays_are_entries_named_after_their_variables(tmp_path: Path) -> None:
    """The example of Theano's documentation."""
    one, two = shared(0, name="foo"), shared(1, name="foo")
    path = tmp_path / "model.zip"
    with path.open("wb") as f:
        dump((one, two, np.array(2)), f)
    with np.load(path) as entries:
        assert list(entries.keys()) == ["foo", "foo_2", "array_0", "pkl"]
        assert entries["foo"] == 0 and entries["foo_2"] == 1 and entries["array_0"] == 2
    with path.open("rb") as f:
        new_one, new_two, array = load(f)
    assert (int(new_one.get_value()), int(new_two.get_value()), int(array)) == (0, 1, 2)
    assert new_one.name == new_two.name == "foo"


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_models_come_back(protocol: int) -> None:
    x, w = T.dmatrix("x"), shared(np.arange(6.0).reshape(2, 3), "w")
    y = T.tanh(T.dot(x, w))
    f = function([x], y, updates=[(w, w + 1)])
    new_f, new_w, new_x, new_y = again([f, w, x, y], protocol=protocol)
    data = np.ones((1, 2))
    np.testing.assert_array_equal(new_f(data), f(data))
    np.testing.assert_array_equal(new_w.get_value(), w.get_value())
    assert new_w in [v for n in toposort([new_y]) for v in n.inputs]
    assert new_y.eval({new_x: data}).shape == (1, 3)


def test_one_array_is_stored_once() -> None:
    a = np.arange(3)
    file = io.BytesIO()
    dump([a, {"again": a}, np.array([None])], file)
    assert zipfile.ZipFile(file).namelist() == ["array_0", "pkl"]
    first, second, objects = load(file)
    assert first is second["again"] and objects[0] is None


def test_names_that_are_refused() -> None:
    unnamed, pkl = shared(1.0), shared(1.0, "pkl")
    strict = partial(PersistentSharedVariableID, allow_unnamed=False, allow_duplicates=False)
    with pytest.raises(ValueError, match="has no name"):
        again(unnamed, persistent_id=strict)
    with pytest.raises(ValueError, match="multiple shared variables with the name 'w'"):
        again([shared(1.0, "w"), shared(2.0, "w")], persistent_id=strict)
    with pytest.raises(ValueError, match="'pkl'"):
        again(pkl)
    assert again(unnamed).get_value() == 1
    dotted = shared(2.0, "layer.0/w")
    assert again(dotted, persistent_id=strict).get_value() == 2
    assert again(dotted, persistent_id=PersistentNdarrayID).name == "layer.0/w"


def test_names_that_look_like_numbered_ones() -> None:
    named = [shared(np.full(1, k), name) for k, name in enumerate(("w", "w_2", "w", "array_0"))]
    found = again([*named, np.full(1, 4)])
    assert [int(v.get_value()[0]) for v in found[:4]] == [0, 1, 2, 3] and found[4] == 4
    found = again([np.full(1, 4), *named])
    assert found[0] == 4 and [int(v.get_value()[0]) for v in found[1:]] == [0, 1, 2, 3]


def test_an_entry_of_an_unknown_kind() -> None:
    class Odd(PersistentNdarrayID):
        def __call__(self, obj: Any) -> str | None:
            return "gpuarray.x" if type(obj) is np.ndarray else None

    with pytest.raises(pickle.UnpicklingError, match="gpuarray"):
        again(np.ones(2), persistent_id=Odd)


def test_strip_pickler_leaves_places_and_test_values_out() -> None:
    x = T.dvector("x")
    y = T.exp(x)
    y.tag.test_value, y.tag.note, y.tag.more = np.ones(1000), "kept", "left out"
    file = io.BytesIO()
    StripPickler(file, protocol=-1, extra_tag_to_remove=["more"]).dump([x, y])
    assert len(file.getvalue()) < 2000 and __file__.encode() not in file.getvalue()
    new_x, new_y = pickle.loads(file.getvalue())
    assert vars(new_y.tag) == {"note": "kept"} and new_y.created is None
    assert y.tag.more == "left out" and y.created is not None
    assert new_y.eval({new_x: [0.0]}) == [1.0]


def test_pickles_of_python_2() -> None:
    """An array of two bytes, as NumPy under Python 2 wrote it with protocol 0."""
    data = (
        b"cnumpy.core.multiarray\n_reconstruct\np1\n(cnumpy\nndarray\np2\n(I0\ntS'b'\ntRp3\n"
        b"(I1\n(I2\ntcnumpy\ndtype\np4\n(S'u1'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntbI00\n"
        b"S'\\x80\\xff'\ntb."
    )
    found = CompatUnpickler(io.BytesIO(data)).load()
    assert found.dtype == "uint8" and found.tolist() == [128, 255]
