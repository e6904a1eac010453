"""Pictures: what is in them, the three ways to render them, and what happens when one fails."""

import os
import shutil
import stat
import struct
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from symgraph import draw, printing
from symgraph.draw import picture as colors
from symgraph.draw import render as rendering
from symgraph.draw.dot import to_dot
from symgraph.draw.layout import layered
from symgraph.draw.svg import to_svg
from symgraph.graph import Op, toposort
from symgraph.printing import pydotprint, svg, to_mermaid
from symgraph.sharedvalue import shared
from symgraph.types import TensorType
from symgraph.variable import constant


@dataclass(frozen=True)
class Named(Op):
    """An op of any arity whose result is like its first input."""

    name: str

    def output_types(self, *inputs):
        return [inputs[0].type]

    def infer_shape(self, node, ctx):
        return [ctx.shape(node.inputs[0])]

    def __str__(self):
        return self.name


class Fused(Named):
    def compute(self, node, indices, ctx):
        raise NotImplementedError


class Library(Named):
    def lowering(self, node, ctx):
        raise NotImplementedError


@dataclass(frozen=True)
class Turn(Op):
    view_of = 0

    def output_types(self, x, *rest):
        return [TensorType(x.dtype, x.broadcastable[::-1])]

    def infer_shape(self, node, ctx):
        return [ctx.shape(node.inputs[0])[::-1]]

    def __str__(self):
        return "Turn{1,0}"


class Split(Op):
    def output_types(self, x):
        return [x.type, x.type]


class Broken(Named):
    def infer_shape(self, node, ctx):
        raise KeyError("a bug in somebody's op")


@dataclass(frozen=True, eq=False)
class Loop(Op):
    inner_outputs: tuple

    def output_types(self, x):
        return [x.type]

    def __str__(self):
        return "scan"


PYTHON = sys.executable
matrix, vector = TensorType("float32", (False, False)), TensorType("float32", (False,))
scalar = TensorType("float32", ())
exp, add, dot = Fused("exp"), Fused("add"), Library("dot")


def function(outputs, inputs=(), updates=None, kernels=()):
    updates = updates or {}
    order = toposort([*outputs, *updates.values()])
    graph = SimpleNamespace(
        inputs=list(inputs), outputs=list(outputs), updates=updates, toposort=lambda: order
    )
    made = [
        SimpleNamespace(name=f"kernel_{i}", nodes=list(nodes), source="...", doc=f"number {i}")
        for i, nodes in enumerate(kernels)
    ]
    return SimpleNamespace(maker=SimpleNamespace(fgraph=graph), kernels=lambda: made, name="train")


def training():
    x, unused = matrix("x"), scalar("unused")
    w = shared(np.zeros((5, 3), "float32"), "w")
    h = dot(w, x)
    e = exp(h)
    y = add(e, Turn()(w))
    new = Fused("step")(w, y, constant(np.float32(0.5)))
    return function([y], [x, unused], {w: new}, [[h.owner], [e.owner, y.owner, new.owner]])


def graph_of(x, **options):
    return draw.graph_picture(draw.subject_of(x), **options)


def boxes(picture, label):
    return [b for b in picture.boxes.values() if b.label == label]


def arrows(picture):
    """(label of the source, label of the target, label) of every arrow."""
    return [
        (picture.boxes[a.source].label, picture.boxes[a.target].label, a.label)
        for a in picture.arrows
    ]


def tags(text):
    root = ElementTree.fromstring(text)
    return [element.tag.split("}")[-1] for element in root.iter()], root


# ---- what is in the picture ----------------------------------------------------------------------


def test_roles_have_theanos_colors():
    picture = graph_of(training())
    fill = {label: boxes(picture, label)[0].fill for label in ("x", "unused", "w", "output")}
    assert fill == {
        "x": colors.INPUT, "unused": colors.UNUSED, "w": colors.SHARED, "output": colors.OUTPUT
    }  # fmt: skip
    assert boxes(picture, "exp")[0].fill == colors.FUSED
    assert boxes(picture, "dot")[0].fill == colors.LIBRARY
    assert boxes(graph_of(Named("python")(scalar("x"))), "python")[0].fill == colors.PYTHON
    outlined = graph_of(training(), high_contrast=False)
    assert boxes(outlined, "x")[0].border == colors.INPUT
    assert boxes(outlined, "x")[0].fill == colors.PLAIN


def test_arrows_carry_position_dtype_sizes_and_what_rearranges():
    edges = arrows(graph_of(training()))
    assert ("w", "dot", "0: float32 (5, 3)") in edges
    assert ("x", "dot", "1: float32 (?, ?)") in edges
    assert ("dot", "exp", "float32 (5, 3)") in edges
    assert ("w", "add", "Turn{1,0}\n1: float32 (3, 5)") in edges
    assert ("step", "w", "update") in edges


def test_constants_go_into_the_op_that_uses_them():
    picture = graph_of(training())
    assert boxes(picture, "step")[0].notes == ("input 2 = 0.5",)
    big = constant(np.zeros(4, "float32"))
    y = add(vector("x"), big)
    assert [b.shape for b in graph_of(y).boxes.values()].count("small") == 1
    whole = graph_of(add(scalar("x"), constant(np.float32(2))), compact=False)
    assert [b.shape for b in whole.boxes.values()].count("small") == 1


def test_compact_leaves_out_what_has_no_name():
    h = exp(matrix("x"))
    y = add(Turn()(h), h)
    compact, whole = graph_of(y), graph_of(y, compact=False)
    assert [b.label for b in compact.boxes.values()] == ["exp", "x", "add", "output"]
    assert boxes(whole, "Turn") and len(whole.boxes) > len(compact.boxes)
    h.name = "hidden"
    assert ("exp", "hidden", "") in arrows(graph_of(y))
    assert ("hidden", "add", "1: float32 (?, ?)") in arrows(graph_of(y))


def test_fused_kernels_are_frames():
    picture = graph_of(training())
    (frame,) = picture.clusters.values()
    assert frame.label == "kernel_1" and "number 1" in frame.tooltip
    inside = {b.label for b in picture.boxes.values() if b.cluster}
    assert inside == {"exp", "add", "step"}
    assert boxes(picture, "dot")[0].notes == ("[kernel_0]",)


def test_tooltips_say_where_the_user_wrote_it():
    y = exp(matrix("x"))
    tooltip = boxes(graph_of(y), "exp")[0].tooltip
    assert "exp" in tooltip and "float32 (?, ?)" in tooltip
    assert "test_draw.py" in tooltip and "exp(matrix" in tooltip
    assert "test_draw.py" in svg(y)


def test_labels_ids_names_and_colors_can_be_chosen():
    x = scalar("a" * 200)
    picture = graph_of(exp(x), max_label_size=20, with_ids=True, colors={"Fus": "#123456"})
    assert boxes(picture, "exp id=0")[0].fill == "#123456"
    assert max(len(b.label) for b in picture.boxes.values()) == 20
    simple = graph_of(exp(scalar("x")), simple_names=True)
    assert boxes(simple, "x")[0].notes == () and boxes(graph_of(exp(x)), "exp")[0].notes == ()


def test_several_outputs_say_which_one():
    first, second = Split()(vector("x"))
    assert ("Split", "add", "output 1, 0: float32 (?,)") in arrows(graph_of(add(second, first)))


def test_an_input_that_is_the_output():
    x = vector("x")
    assert arrows(graph_of(function([x], [x]))) == [("x", "x", "")]


def test_a_broken_op_can_be_seen():
    assert ("bad", "exp", "float32 (?,)") in arrows(graph_of(exp(Broken("bad")(vector("x")))))


def test_branches_of_a_lazy_condition_have_borders():
    c, x = scalar("c"), vector("x")
    base = exp(x)
    then, other = add(base, base), dot(base)
    chosen = Named("choose")(c, then, other)
    picture = graph_of(chosen, cond_highlight="choose")
    border = {label: boxes(picture, label)[0].border for label in ("add", "dot", "exp")}
    assert border == {"add": "#2f9e44", "dot": "#e03131", "exp": "#f08c00"}
    with pytest.raises(ValueError, match="'absent'"):
        graph_of(chosen, cond_highlight="absent")


def test_inner_graphs_are_frames():
    y = Loop((exp(vector("h")),))(vector("x"))
    picture = graph_of(y, inner_graphs=True)
    (frame,) = picture.clusters.values()
    assert frame.label == "scan: one step" and boxes(picture, "h")[0].cluster
    assert not boxes(graph_of(y), "h")


def test_what_many_ops_read_is_copied_in_big_pictures():
    w = shared(np.zeros(3, "float32"), "w")
    y = vector("x")
    for _ in range(40):
        y = add(y, w)
    picture = graph_of(function([y], updates={w: y}))
    assert len(boxes(picture, "w")) == 41
    assert all(picture.moving())  # no arrow goes back up


# ---- big graphs ----------------------------------------------------------------------------------


def chain(length):
    y = vector("x")
    for _ in range(length):
        y = add(y, exp(y))
    return y


def test_a_big_graph_shows_its_end_and_says_so():
    y = chain(25_000)
    picture = graph_of(y)
    text = to_svg(picture)
    assert "49,700 more nodes are not drawn" in text
    assert sum(b.shape == "ellipse" for b in picture.boxes.values()) == 300
    assert len(picture.boxes) < 310
    assert len(graph_of(y, max_nodes=10).boxes) < 20


def test_a_big_function_is_drawn_by_kernels():
    y = chain(5_000)
    w = shared(np.zeros(3, "float32"), "w")
    order = toposort([y])
    kernels = [order[i : i + 100] for i in range(0, len(order), 100)]
    picture = graph_of(function([y], updates={w: y}, kernels=kernels))
    assert boxes(picture, "kernel_99")[0].notes == ("100 ops",)
    assert ("kernel_0", "kernel_1", "float32 (?,)") in arrows(picture)
    assert ("kernel_99", "output 0", "float32 (?,)") in arrows(picture)
    assert ("kernel_99", "w", "update") in arrows(picture)
    assert len(picture.boxes) == 103
    many = graph_of(function([y], kernels=[[node] for node in order]))
    assert boxes(many, "9,700 more kernels are not drawn") and len(many.boxes) < 310


# ---- our own layout and writer -------------------------------------------------------------------


def overlaps(layout, sizes):
    keys = list(sizes)
    for i, a in enumerate(keys):
        for b in keys[i + 1 :]:
            (ax, ay), (bx, by) = layout.centres[a], layout.centres[b]
            if (
                abs(ax - bx) < (sizes[a][0] + sizes[b][0]) / 2
                and abs(ay - by) < (sizes[a][1] + sizes[b][1]) / 2
            ):
                return True
    return False


def test_layout_points_down_and_nothing_overlaps():
    rng = np.random.default_rng(0)
    for _ in range(20):
        n = int(rng.integers(2, 30))
        sizes = {str(i): (float(rng.integers(10, 90)), float(rng.integers(10, 40)))
                 for i in range(n)}  # fmt: skip
        edges = []
        for _ in range(2 * n):
            a, b = sorted(rng.choice(n, 2, replace=False))
            edges.append((str(a), str(b), (30.0, 10.0) if rng.random() < 0.5 else None))
        layout = layered(sizes, edges)
        assert not overlaps(layout, sizes)
        assert all(layout.centres[a][1] < layout.centres[b][1] for a, b, _ in edges)
        assert all(0 <= x <= layout.width for x, _ in layout.centres.values())


def test_layout_takes_cycles_loops_and_nothing():
    sizes = {"a": (10.0, 10.0), "b": (10.0, 10.0)}
    edges = [("a", "b", None), ("b", "a", (5.0, 5.0)), ("a", "a", None), ("a", "b", None)]
    layout = layered(sizes, edges)
    assert not overlaps(layout, sizes) and len(layout.routes) == 4
    assert layered({}, []).width == 0


def test_own_svg_is_well_formed_and_complete():
    picture = graph_of(training())
    names, root = tags(to_svg(picture))
    assert names.count("ellipse") == 4
    kinds = [e.get("class") for e in root.iter() if e.get("class")]
    assert kinds.count("node") == len(picture.boxes)
    assert kinds.count("edge") == len(picture.arrows)
    assert kinds.count("cluster") == 1
    texts = [e.text for e in root.iter() if e.tag.endswith("text")]
    assert {"train", "kernel_1", "w", "float32 (5, 3)", "update"} <= set(texts)


@pytest.mark.parametrize(
    "name", ['<b>&"x"', "a\\nb\\l", "∂L/∂θ", "bell\x07", "</title>", "#1;", ""]
)
def test_any_name_can_be_drawn(name, tmp_path):
    y = exp(vector(name))
    tags(to_svg(graph_of(y)))
    tags(svg(y))
    assert to_mermaid(y).startswith("flowchart TD")
    pydotprint(y, tmp_path / "y.svg", print_output_file=False)
    tags((tmp_path / "y.svg").read_text())


def test_mermaid():
    text = to_mermaid(training())
    lines = [line.strip() for line in text.splitlines()]
    assert lines[0] == "flowchart TD"
    assert 'subgraph c0["kernel_1"]' in lines and "end" in lines
    assert any('-.->|"update"|' in line for line in lines)
    assert 'n1["w<br/>float32 (5, 3)"]' in lines


def test_dot_source_says_the_same():
    source = to_dot(graph_of(training()))
    assert source.count("subgraph") == 1 and "kernel_1" in source
    assert "style=dashed" in source and "constraint=false" in source
    assert source.count("shape=ellipse") == 4


# ---- rendering -----------------------------------------------------------------------------------


@pytest.fixture
def no_dot(monkeypatch):
    """A machine without Graphviz."""
    monkeypatch.delenv("SYMGRAPH_DOT", raising=False)
    monkeypatch.setenv("PATH", os.devnull)
    monkeypatch.setattr(rendering.sysconfig, "get_path", lambda name: os.devnull)
    monkeypatch.setattr(rendering.sys, "executable", os.path.join(os.devnull, "python"))


def pure():
    program = next((p for p in rendering.renderers() if "graphviz-pure" in p), None)
    if program is None:
        pytest.skip("graphviz-pure is not installed")
    return program


def fake_dot(folder, body):
    """A program that behaves as the Python text `body` says."""
    path = folder / "fake-dot"
    path.write_text(f"#!{PYTHON}\nimport sys\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


needs_scripts = pytest.mark.skipif(os.name == "nt", reason="runs a script by its first line")


def test_png_svg_by_graphviz_pure(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("SYMGRAPH_DOT", pure())
    pydotprint(training(), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out == f"The output file is available at {tmp_path / 'a.png'}\n"
    pydotprint(training(), str(tmp_path / "b"), format="svg", print_output_file=False)
    names, _ = tags((tmp_path / "b.svg").read_text())
    assert names.count("ellipse") == 4
    assert sorted(os.listdir(tmp_path)) == ["a.png", "b.svg"]


def test_a_large_png_has_fewer_dots(monkeypatch, tmp_path):
    monkeypatch.setenv("SYMGRAPH_DOT", pure())
    v = vector("x")
    for _ in range(10):
        v = exp(v)
    sides = []
    for largest in (8000, 300):
        monkeypatch.setattr(rendering, "LARGEST", largest)
        pydotprint(v, tmp_path / "a.png", print_output_file=False)
        sides.append(max(struct.unpack(">II", (tmp_path / "a.png").read_bytes()[16:24])))
    assert 300 < sides[0] < 8000 and 250 < sides[1] <= 300


def test_pure_is_found_beside_this_python_without_path(monkeypatch):
    pure()
    monkeypatch.delenv("SYMGRAPH_DOT", raising=False)
    monkeypatch.setenv("PATH", os.devnull)
    assert "graphviz-pure" in draw.find_dot()


@needs_scripts
def test_order_of_programs(monkeypatch, tmp_path):
    (tmp_path / "dot").write_text("#!/bin/sh\n")
    (tmp_path / "dot").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SYMGRAPH_DOT", "mine")
    assert rendering.renderers()[:2] == ["mine", str(tmp_path / "dot")]


def test_without_graphviz_an_svg_is_written_beside(no_dot, tmp_path, capsys):
    assert draw.find_dot() is None
    for wanted in ("png", "pdf"):
        pydotprint(training(), tmp_path / f"{wanted}_net.{wanted}")
        out, err = capsys.readouterr()
        tags((tmp_path / f"{wanted}_net.svg").read_text())
        assert not (tmp_path / f"{wanted}_net.{wanted}").exists()
        assert out == f"The output file is available at {tmp_path / f'{wanted}_net.svg'}\n"
        assert err.count("\n") == 1 and "pip install graphviz-pure" in err
    pydotprint(training(), tmp_path / "plain.svg")
    assert capsys.readouterr().err == ""  # an SVG was wanted, an SVG it is
    tags(svg(training()))


@needs_scripts
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("sys.stderr.write('out of ink\\n'); sys.exit(3)", "out of ink"),
        ("sys.exit(3)", "exit code 3"),
        ("sys.stdout.write('not a picture')", "exit code 0"),
        ("sys.stdout.buffer.write(b'\\x89PNG')", "an unfinished picture"),
        ("import time; time.sleep(60)", "no picture after 0.5 s"),
    ],
)
def test_a_program_that_fails_is_named_and_replaced(
    no_dot, monkeypatch, tmp_path, capsys, body, reason
):
    monkeypatch.setattr(rendering, "TIMEOUT", 0.5 if "sleep" in body else 60.0)
    monkeypatch.setenv("SYMGRAPH_DOT", fake_dot(tmp_path, body))
    pydotprint(exp(vector("x")), tmp_path / "y.png", print_output_file=False)
    err = capsys.readouterr().err
    assert reason in err and err.count("\n") == 1
    tags((tmp_path / "y.svg").read_text())


def test_a_program_that_is_missing_gives_way_to_the_next(monkeypatch, tmp_path, capsys):
    pure()
    monkeypatch.setenv("SYMGRAPH_DOT", str(tmp_path / "nowhere"))
    pydotprint(exp(vector("x")), tmp_path / "y.png", print_output_file=False)
    assert (tmp_path / "y.png").exists() and capsys.readouterr().err == ""


@pytest.mark.skipif(shutil.which("dot") is None, reason="no system Graphviz")
def test_pdf_by_the_system_dot(tmp_path):
    pydotprint(training(), tmp_path / "a.pdf")
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")


def test_texts_need_no_program(no_dot, tmp_path, capsys):
    pydotprint(training(), tmp_path / "a.dot", print_output_file=False)
    pydotprint(training(), tmp_path / "a.mmd", print_output_file=False)
    assert (tmp_path / "a.dot").read_text().startswith("digraph")
    assert (tmp_path / "a.mmd").read_text().startswith("flowchart")
    assert capsys.readouterr().err == ""


# ---- files ---------------------------------------------------------------------------------------


def test_a_folder_is_made_and_an_impossible_one_is_one_clear_error(tmp_path, monkeypatch):
    pydotprint(exp(vector("x")), tmp_path / "pics" / "y.svg", print_output_file=False)
    assert (tmp_path / "pics" / "y.svg").exists()
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(draw, "graph_picture", lambda *a, **k: pytest.fail("work was done"))
    with pytest.raises(OSError, match=r"cannot write a picture to .*choose another outfile"):
        pydotprint(exp(vector("x")), tmp_path / "file" / "y.png")
    (tmp_path / "y.png").mkdir()
    with pytest.raises(OSError, match="it is a folder"):
        pydotprint(exp(vector("x")), tmp_path / "y.png")
    with pytest.raises(ValueError, match="format is one of"):
        pydotprint(exp(vector("x")), tmp_path / "y", format="bmp")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "old.svg"
    path.write_text("old")
    with pytest.raises(RuntimeError), rendering.replacing(path) as temporary:
        temporary.write_text("half of")
        raise RuntimeError
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["old.svg"]


def test_images_for_notebooks(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    image = pydotprint(exp(vector("x")), format="svg", return_image=True)
    tags(image._repr_svg_())
    assert image._repr_png_() is None and os.listdir(tmp_path) == []
    pure()
    image = pydotprint(exp(vector("x")), return_image=True)
    assert image._repr_png_().startswith(b"\x89PNG") and image._repr_svg_() is None
    pydotprint(exp(vector("x")), print_output_file=False)
    assert os.listdir(tmp_path) == ["symgraph.pydotprint.png"]
    tags(vector("x")._repr_svg_())


def test_layers(tmp_path, no_dot):
    rows = [
        ("conv1", "Conv2D", (None, 20, 24, 24), 520),
        SimpleNamespace(name="fc", kind="", output_shape=(None,), parameters=np.int64(400_500)),
    ]
    path = draw.layers(rows, tmp_path / "net", "LeNet", format="svg")
    assert path == tmp_path / "net.svg"
    _, root = tags(path.read_text())
    texts = [e.text for e in root.iter() if e.tag.endswith("text")]
    expected = {"LeNet", "conv1: Conv2D", "(?, 20, 24, 24)", "520", "fc", "(?,)", "400,500"}
    assert expected | {"401,020 parameters"} <= set(texts)
    assert "<table" in to_dot(draw.layers_picture(rows))
    tags(to_svg(draw.layers_picture([])))


def test_what_has_no_graph_is_refused():
    with pytest.raises(TypeError, match="holds no graph"):
        pydotprint(3)
    assert printing.svg([vector("x"), vector("y")]).count("<svg") == 1
