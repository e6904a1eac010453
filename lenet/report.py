"""A run as one self-contained HTML page: how it was trained, how good it is, what happens inside.

    page = report(Classifier(path), dataset)          # the text of an HTML document

Everything is in the page: pictures as base64 PNG, graphs as SVG. It loads nothing and runs no
script, and whatever a person may have named (classes, folders, options) is escaped.
"""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

import symgraph.draw
import symgraph.printing
from lenet import checkpoint as checkpoints
from lenet import inside, pictures, runs
from lenet.classifier import Classifier
from lenet.data import Dataset, Split
from lenet.errors import RunError
from lenet.layers.base import times
from lenet.options import Options, flag, rows
from lenet.report_style import STYLE
from lenet.summary import HEAD, summary_rows
from lenet.train import Round, compile_functions

SAMPLE = 500  # images behind the histograms
EXPLAINED = 5  # images behind the saliency
LARGEST_GRAPH = 1_500_000  # bytes of SVG


def report(classifier: Classifier, dataset: Dataset) -> str:
    """The page about the run of `classifier`, judged on the test part of `dataset`.

    Raises RunError if that part is empty; ImportError without matplotlib.
    """
    images, labels = dataset.test
    if not len(labels):
        raise RunError(f"data {dataset.name}", "no test images", "some", "use other data")
    checkpoint, result = classifier.checkpoint, _result(classifier.path.parent)
    history = _history(classifier)
    probabilities = classifier.probabilities(images)
    error = float(np.mean(probabilities.argmax(1) != labels))
    sections = {
        "Training": _training(history),
        "Network": _network(classifier),
        "Answers": _answers(classifier, images, labels, probabilities),
        "Inside": _inside(classifier, images, labels),
        "Graph": _graph(classifier, dataset),
        "Data": _data(checkpoint.data, dataset, classifier),
        "Options": _options(checkpoint.options),
        "Made with": _origins(result),
    }
    name = classifier.model.name
    title = f"{name} on {checkpoint.data['name']}"
    links = " ".join(f'<a href="#{_anchor(t)}">{escape(t)}</a>' for t in sections)
    body = "".join(
        f'<section id="{_anchor(t)}"><h2>{escape(t)}</h2>{content}</section>\n'
        for t, content in sections.items()
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>"
        f"<header><h1>{escape(title)}</h1>"
        f"<p>{escape(str(classifier.path))}, epoch {checkpoint.state.epoch:g}</p>"
        f"{_headline(classifier, history, error, len(labels))}<nav>{links}</nav></header>\n"
        f"<main>{body}</main></body></html>\n"
    )


# ---- sections ------------------------------------------------------------------------------------


def _headline(classifier: Classifier, history: Sequence[Round], error: float, tested: int) -> str:
    model, state = classifier.model, classifier.checkpoint.state
    flops = sum(layer.flops for layer in model.layers)
    facts = [("test error", f"{100 * error:.2f} %", f"of {tested:,} images")]
    if history:
        seconds = sum(entry.seconds for entry in history)
        facts += [
            ("validation error", f"{100 * state.best_validation_error:.2f} %",
             f"at epoch {state.best_epoch:g}"),
            ("training", _duration(seconds), f"{history[-1].epoch:g} epochs"),
        ]  # fmt: skip
    facts += [
        ("parameters", f"{model.parameters:,}", f"in {len(model.layers)} layers"),
        ("FLOPs", f"{flops:,}", "forwards, for one image"),
    ]
    boxes = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd>"
        f"<dd class=small>{escape(more)}</dd></div>"
        for name, value, more in facts
    )
    return f"<dl class=facts>{boxes}</dl>"


def _training(history: Sequence[Round]) -> str:
    if not history:
        return "<p>No epoch was finished.</p>"
    curve = _figure(
        lambda target: pictures.curve(target, history),
        "learning curves",
        "Errors and mean costs after each epoch. The cost in training is taken while the weights "
        "move, with penalties, dropout and distortions if there are any.",
    )
    best = min(history, key=lambda entry: entry.validation_error)
    body = [
        (
            f"{e.epoch:g}", f"{e.learning_rate:.4g}", f"{e.cost:.4f}", f"{e.validation_cost:.4f}",
            f"{100 * e.validation_error:.2f} %",
            "" if e.test_error is None else f"{100 * e.test_error:.2f} %", f"{e.seconds:.1f} s",
        )
        for e in history
    ]  # fmt: skip
    head = ("epoch", "learning rate", "cost", "validation cost", "validation error",
            "test error", "time")  # fmt: skip
    table = _table(head, body, marked=[history.index(best)])
    return f"{curve}<div class=tall>{table}</div>"


def _network(classifier: Classifier) -> str:
    model = classifier.model
    table = _table(HEAD, summary_rows(model), words=2)
    picture = symgraph.draw.layers_picture(model.layers)
    drawn = symgraph.draw.render_picture(picture, "svg").data.decode()
    return (
        f"<p>The cost is {escape(model.loss.name)}.</p>"
        f"<div class=beside><div>{table}</div>"
        f"<figure class=svg>{_inline(drawn, 'layers')}</figure></div>"
    )


def _answers(classifier: Classifier, images: Any, labels: Any, probabilities: Any) -> str:
    classes = classifier.classes
    table = inside.confusion(labels, probabilities.argmax(1), len(classes))
    return _figure(
        lambda target: pictures.confusion(target, table, classes),
        "confusion matrix",
        "How often each class was taken for each, for the test images; on the right, the share "
        "of each class that was found.",
    ) + _figure(
        lambda target: pictures.worst(target, images, labels, probabilities, classes),
        "the most wrong test images",
        "The test images whose labels got the lowest probabilities, with the answer, its "
        "probability, and the number of the image for <code>show features --index</code>.",
    )


def _inside(classifier: Classifier, images: Any, labels: Any) -> str:
    model, classes = classifier.model, classifier.classes
    inspector = classifier.inspector
    parts = []
    having = inside.with_filters(model)
    if having:
        weights = inside.filters(model, having[0])
        parts.append(_figure(
            lambda target: pictures.filters(target, weights, title=f"filters of {having[0]}"),
            f"filters of {having[0]}",
            "What the units of the first layer with weights look for: red for, blue against.",
        ))  # fmt: skip
    outputs = {name: values[0] for name, values in classifier.outputs(images[:1]).items()}
    parts.append(_figure(
        lambda target: pictures.features(
            target, model, images[0], outputs, title=f"test image 0 ({classes[labels[0]]})"
        ),
        "feature maps",
        "What every layer makes of the first test image. Red is positive, blue negative, white 0.",
    ))  # fmt: skip
    sample = classifier.inputs(images[:SAMPLE])
    parts.append(_figure(
        lambda target: pictures.histograms(target, inspector.activity(sample), title="outputs"),
        "histograms of the outputs of layers",
        f"How the outputs of each layer are spread over {len(sample):,} test images. Saturated "
        "ones are where the activation is flat; a dead unit gives the same for every image.",
    ))  # fmt: skip
    chosen = [int(np.argmax(labels == c)) for c in np.unique(labels)[:EXPLAINED]]
    x = classifier.inputs(images[chosen])
    answers = classifier.probabilities(images[chosen])
    captions = [
        f"{classes[labels[i]]}\nis {classes[row.argmax()]}: {100 * row.max():.1f} %"
        for i, row in zip(chosen, answers, strict=True)
    ]
    parts.append(_figure(
        lambda target: pictures.saliency(
            target, images[chosen], x, inspector.saliency(x), captions
        ),
        "saliency",
        "The gradient of the winning score with respect to the pixels: where a small change would "
        "change the answer most.",
    ))  # fmt: skip
    limits = None if classifier.preprocessing else (0.0, 1.0)
    count = min(len(classes), 40)
    found = inspector.maximise(units=range(count), limits=limits)
    parts.append(_figure(
        lambda target: pictures.maximised(
            target, found, classes[:count], limits=limits, title="what each class looks like"
        ),
        "pictures that maximise the classes' scores",
        "Pictures found by gradient ascent from noise that get the highest score of each class.",
    ))  # fmt: skip
    return "".join(parts)


def _graph(classifier: Classifier, dataset: Dataset) -> str:
    """The compiled training function; it is compiled for one image, which changes no kernel."""
    options = classifier.checkpoint.options
    image = Split(dataset.test.images[:1], dataset.test.labels[:1])
    preprocessing = classifier.preprocessing
    with symgraph.config.change_flags(floatX=classifier.model.x.dtype):
        functions = compile_functions(
            classifier.model,
            replace(dataset, train=image, valid=image, test=image),
            options,
            preprocessing.apply if preprocessing else None,
        )
    svg = symgraph.printing.svg(functions.compiled)
    if len(svg) > LARGEST_GRAPH:
        return "<p>It is too large for a page: <code>python -m lenet draw</code> draws it.</p>"
    return (
        "<p>The function that makes a training step, as it was compiled: frames are kernels, "
        "dashed arrows are updates of parameters. What lies under the pointer tells more.</p>"
        "<input type=checkbox id=full><label for=full>full size</label>"
        f"<figure class=svg>{_inline(svg, 'graph')}</figure>"
    )


def _data(described: dict[str, Any], dataset: Dataset, classifier: Classifier) -> str:
    facts = [
        ("name", described["name"]),
        ("source", described["source"]),
        ("official, bit for bit", "yes" if described["verified"] else "no"),
        ("images", f"{times(classifier.model.input_shape)} (channels x height x width)"),
        ("SHA-256", described["sha256"]),
    ]
    if described["is_sample"]:
        facts.insert(0, ("note", "the small sample, not the full set: errors are higher"))
    if dataset.source != described["source"]:
        facts.append(("this page's test images", f"{dataset.name} from {dataset.source}"))
    counts = [(part, f"{described[part]:,}") for part in ("train", "valid", "test")]
    test = np.bincount(dataset.test.labels, minlength=len(classifier.classes))
    classes = [(name, f"{n:,}") for name, n in zip(classifier.classes, test, strict=True)]
    return (
        f"{_facts(facts)}<div class=beside>{_table(('part', 'images'), counts)}"
        f"<div class=tall>{_table(('class', 'test images'), classes)}</div></div>"
    )


def _options(options: Options) -> str:
    body, others, recipe = [], [], Options.of(model=options.model)
    for i, row in enumerate(rows()):
        value = getattr(options, row.name)
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        text = "" if value is None else text
        body.append((flag(row.name), text, row.metadata["help"]))
        if value != getattr(recipe, row.name):
            others.append(i)
    table = _table(("option", "value", "meaning"), body, words=3, marked=others, kind="options")
    return f"<p>Those that are not the recipe of the model stand out.</p>{table}"


def _origins(result: dict[str, Any]) -> str:
    facts: list[tuple[str, Any]] = []
    if result:
        facts += [(f"trained with {name}", text) for name, text in result["versions"].items()]
        facts += [(f"trained on: {name}", text) for name, text in result["machine"].items()]
        facts.append(("ended by", result["ended"]))
    facts += [(f"this page: {name}", text) for name, text in runs.versions().items()]
    return _facts(facts)


# ---- pieces --------------------------------------------------------------------------------------


def _figure(draw: Callable[[io.BytesIO], None], name: str, caption: str) -> str:
    """What `draw` draws; `caption` is HTML."""
    target = io.BytesIO()
    draw(target)
    code = base64.b64encode(target.getvalue()).decode()
    return (
        f'<figure><img alt="{escape(name)}" src="data:image/png;base64,{code}">'
        f"<figcaption>{caption}</figcaption></figure>\n"
    )


def _inline(svg: str, prefix: str) -> str:
    """An SVG document as an element of a page, its ids with a prefix, since there are several."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    return re.sub(r'(url\(|href=")#', rf"\g<1>#{prefix}-", svg)


def _table(
    head: Iterable[str],
    body: Iterable[Iterable[str]],
    *,
    words: int = 1,
    marked: Collection[int] = (),
    kind: str = "numbers",
) -> str:
    """A table; the first `words` columns are text, the others numbers; rows `marked` stand out."""

    def cells(tag: str, row: Iterable[str]) -> str:
        return "".join(
            f"<{tag}{'' if i < words else ' class=n'}>{escape(str(cell))}</{tag}>"
            for i, cell in enumerate(row)
        )

    lines = "".join(
        f"<tr{' class=best' if i in marked else ''}>{cells('td', row)}</tr>"
        for i, row in enumerate(body)
    )
    return (
        f"<div class=scroll><table class={kind}><thead><tr>{cells('th', head)}</tr></thead>"
        f"<tbody>{lines}</tbody></table></div>"
    )


def _facts(facts: Iterable[tuple[str, Any]]) -> str:
    lines = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>" for name, value in facts
    )
    return f"<div class=scroll><table class=facts>{lines}</table></div>"


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"


def _history(classifier: Classifier) -> Sequence[Round]:
    """All epochs of the run: those of last.npz, if it lies beside an earlier checkpoint."""
    last = classifier.path.parent / runs.LAST
    if classifier.path.name == runs.BEST and last.is_file():
        return checkpoints.load(last).state.history
    return classifier.checkpoint.state.history


def _result(folder: Path) -> dict[str, Any]:
    """What result.json says; nothing if there is none that can be read."""
    try:
        found = json.loads((folder / runs.RESULT).read_text())
        return found if {"versions", "machine", "ended"} <= found.keys() else {}
    except (OSError, ValueError, AttributeError):
        return {}
