"""The pictures of a run: its learning curves, its filters and maps, its answers, its graph.

Each function draws arrays, those of lenet.inside among them, as one PNG into a path or a binary
buffer. It raises ImportError without matplotlib (pip install 'symgraph[lenet]') and DataError if
the path cannot be written; `attempt` makes one line on stderr of these.
"""

from lenet.pictures.answers import confusion, maximised, saliency, worst
from lenet.pictures.figures import CURE, Target, attempt
from lenet.pictures.layers import features, filters, histograms
from lenet.pictures.training import curve, curves, graph

__all__ = [
    "CURE", "Target", "attempt", "confusion", "curve", "curves", "features", "filters", "graph",
    "histograms", "maximised", "saliency", "worst",
]  # fmt: skip
