"""What is shown of functions on a device: kernels as they were launched, and pictures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import symgraph
from symgraph import config, draw, function, shared
from symgraph import tensor as T
from symgraph.compile.cuda.device import Device
from symgraph.draw.kernels import kernel_picture
from symgraph.draw.picture import LIBRARY, PYTHON, Box, Picture
from symgraph.printing import debugprint
from symgraph.subject import subject_of
from symgraph.tensor import nlinalg, slinalg
from tests.cuda_programs import simulated


@pytest.fixture
def device() -> Iterator[Device]:
    with simulated() as made, config.change_flags(device="cuda"):
        yield made


def network() -> Any:
    """A product and an elementwise kernel, two steps of the host, a result that stays."""
    x, w = T.fmatrix("x"), shared(np.eye(3, dtype="f"), "w")
    a = T.dot(x, w)
    root = slinalg.cholesky(a + T.eye(3, dtype="float32"))
    cost = (T.tanh(root) * nlinalg.matrix_inverse(root)).sum()
    cost.name, a.name = "cost", "a"
    f = function([x], [cost.transfer("cuda"), a], updates=[(w, w - cost)], name="step")
    return f


X = np.eye(3, dtype="f")


# ---- kernels -------------------------------------------------------------------------------------


def test_kernels_before_and_after_a_call(device: Device) -> None:
    x = T.fmatrix("x")
    f = function([x], [T.exp(x).sum(axis=1), T.dot(x, x)])
    fused, product, _ = f.kernels()
    assert fused.blocks is product.blocks is None
    assert fused.source.count("def kernel(arrays, sizes):") > 1  # a team for each length of rows
    assert product.source == "# printed when its sizes are known"
    assert (fused.library, product.library, product.doc) == ("", "gemm", "dot: gemm")
    f(np.ones((700, 700), "f")[:5, :5])
    fused, product = f.kernels()
    assert fused.source.count("def kernel(arrays, sizes):") == 1
    assert (fused.name, product.name) == ("kernel0", "kernel1")
    assert fused.blocks and fused.threads and f"# {fused.threads} threads" in fused.source
    assert product.blocks and "# C = A @ B" in product.source and "C = A @ B" in product.doc
    assert f"({product.blocks} blocks of {product.threads} threads)" in repr(product)
    assert [str(n.op) for n in product.nodes] == ["dot"]
    f.free()
    assert [k.blocks for k in f.kernels()] == [None] * 3


def test_variants_of_known_sizes(device: Device) -> None:
    x, b = T.fmatrix("x"), T.constant(np.ones((4, 4), "f"))
    f = function([x], T.dot(x + b, b))
    product = next(k for k in f.kernels() if k.library)
    assert product.blocks is None and product.source.startswith("# C = A @ B")


def test_the_kernels_are_those_of_the_last_call(device: Device) -> None:
    x = T.fmatrix("x")
    f = function([x], T.tanh(x).sum(axis=1))
    sources = []
    for shape in ((4, 3), (2, 900), (4, 3)):
        f(np.ones(shape, "f"))
        sources.append([k.source for k in f.kernels()])
    assert sources[0] == sources[2] != sources[1]


def test_steps_of_the_host_are_no_kernels(device: Device) -> None:
    f = network()
    f(X)
    ops = {str(n.op) for k in f.kernels() for n in k.nodes}
    assert not any("Cholesky" in op or "MatrixInverse" in op for op in ops)
    assert [k.source for k in f.kernels()] == [
        launch.source for launch in f._compiled.program.launched()
    ]
    x = T.fvector("x")
    g = function([x], T.exp(x[x.nonzero()[0]]))
    g(np.float32([1, 0, 2]))
    assert g.kernels()[-1].blocks == 1


def test_trees_are_those_of_the_cpu(device: Device) -> None:
    def tree() -> str:
        return debugprint(network(), file="str")  # type: ignore[no-any-return]

    there = tree()
    with config.change_flags(device="cpu", target="python"):
        x, w = T.fmatrix("x"), shared(np.eye(3, dtype="f"), "w")
        here = debugprint(function([x], T.dot(x, w)), file="str")
    assert "Cholesky{lower=True, on_error=raise} [id" in there and "-> w" in there
    assert debugprint(function([x], T.dot(x, w)), file="str") == here


# ---- pictures ------------------------------------------------------------------------------------


def box(picture: Picture, label: str) -> Box:
    (found,) = (b for b in picture.boxes.values() if b.label == label)
    return found


def labels(picture: Picture, source: str, target: str) -> list[str]:
    """The labels of the arrows between two boxes."""
    name = {key: b.label for key, b in picture.boxes.items()}
    return [a.label for a in picture.arrows if (name[a.source], name[a.target]) == (source, target)]


def test_a_picture_says_what_is_where(device: Device) -> None:
    f = network()
    for called in (False, True):
        if called:
            f(X)
        picture = draw.graph_picture(subject_of(f))
        assert box(picture, "x").notes == ("float32 (?, ?)", "copied to the device")
        assert box(picture, "w").notes == ("float32 (3, 3)", "on the device")
        assert box(picture, "cost").notes[-1] == "on the device"
        assert box(picture, "a").notes[-1] == "copied to the host"
        assert {b.label for b in picture.boxes.values() if b.fill == PYTHON} == {
            "Cholesky", "MatrixInverse",
        }  # fmt: skip
        assert box(picture, "Cholesky").notes[-1] == "[host]"
        assert box(picture, "dot").fill == LIBRARY
        assert "[kernel0: gemm]" in box(picture, "dot").notes
        assert labels(picture, "add", "Cholesky") == ["float32 (3, 3)\ncopy to host"]
        assert labels(picture, "Cholesky", "tanh") == ["float32 (3, 3)\ncopy to device"]
        both = ["float32 (3, 3)\ncopy to device\ncopy to host"]
        assert labels(picture, "Cholesky", "MatrixInverse") == both
        assert not any("copy" in text for text in labels(picture, "x", "dot"))
        assert not any(b.label.startswith("output") for b in picture.boxes.values())


def test_a_picture_of_kernels(device: Device) -> None:
    f = network()
    f(X)
    picture = kernel_picture(subject_of(f))
    assert box(picture, "kernel0: gemm").fill == LIBRARY
    assert box(picture, "Cholesky [host]").fill == PYTHON
    assert box(picture, "w").notes == ("float32 (3, 3)", "on the device")
    assert box(picture, "cost").notes[-1] == "on the device"
    assert labels(picture, "Cholesky [host]", "MatrixInverse [host]")[0].endswith(
        "copy to device\ncopy to host"
    )
    assert [a.label for a in picture.arrows if a.update] == ["update"]


def test_library_kernels_that_only_the_device_has(device: Device) -> None:
    x = T.fvector("x")
    f = function([x], T.sort(x))
    f(np.float32([2, 1, 3]))
    sorting = next(b for b in draw.graph_picture(subject_of(f)).boxes.values() if "Sort" in b.label)
    assert sorting.fill == LIBRARY and any("sort]" in note for note in sorting.notes)
    with config.change_flags(device="cpu"):
        f = function([x], T.sort(x))
    sorting = next(b for b in draw.graph_picture(subject_of(f)).boxes.values() if "Sort" in b.label)
    assert sorting.fill == PYTHON


def test_loops_are_on_the_device(device: Device) -> None:
    x = T.fvector("x")
    y, _ = symgraph.scan(lambda a, s: s + T.tanh(a), [x], [T.zeros((), "float32")])
    f = function([x], y)
    assert all("def kernel(" in k.source for k in f.kernels())
    f(np.ones(4, "f"))
    rounds = [k for k in f.kernels() if any("scan" in str(n.op).lower() for n in k.nodes)]
    assert rounds and len({k.name for k in rounds}) == len(rounds)
    picture = draw.graph_picture(subject_of(f))
    assert not [b for b in picture.boxes.values() if b.fill == PYTHON or "[host]" in b.notes]


def test_arguments_that_a_step_of_the_host_reads_are_not_copied(device: Device) -> None:
    x, w = T.fmatrix("x"), shared(np.eye(2, dtype="f"), "w")
    f = function([x], [nlinalg.matrix_inverse(x), nlinalg.matrix_inverse(w)])
    picture = draw.graph_picture(subject_of(f))
    assert box(picture, "x").notes == ("float32 (?, ?)",)
    assert labels(picture, "x", "MatrixInverse") == ["float32 (?, ?)"]
    assert labels(picture, "w", "MatrixInverse") == ["float32 (2, 2)\ncopy to host"]
    assert labels(picture, "MatrixInverse", "output 0") == ["copy to device"]


def test_a_function_of_each_kind_side_by_side(device: Device) -> None:
    x = T.fvector("x")
    with config.change_flags(device="cpu"):
        here = function([x], x * 2)
    there = function([x], (x * 3).transfer("cuda"))
    subject = subject_of([here, there])
    assert subject.placement is not None and subject.placement.stays == {1}
    assert subject_of(here).placement is None


def test_files(device: Device, tmp_path: Any) -> None:
    from symgraph.printing import pydotprint, to_mermaid

    f = network()
    pydotprint(f, tmp_path / "f.svg", print_output_file=False)
    assert "copy to host" in (tmp_path / "f.svg").read_text()
    assert "[host]" in to_mermaid(f)
