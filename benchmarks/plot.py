"""The two pictures of docs/benchmarks.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")

from matplotlib import pyplot as plt
from matplotlib import ticker

STYLE: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "symgraph", "font.family": "sans-serif",
    "font.size": 9, "axes.spines.top": False, "axes.spines.right": False,
    "axes.spines.left": False, "axes.spines.bottom": False,
}  # fmt: skip
FASTER, SLOWER = "#0b7285", "#c2410c"


def ratios(results: dict[str, Any], path: Path) -> None:
    """Every row that has a ratio: a dot, its range over rounds as a line; SVG or PNG by suffix."""
    groups = [
        (f["title"], [r for r in f["rows"] if r["ratio"] is not None and not r["speed_up"]])
        for f in results["families"]
    ]
    groups = [(title, rows) for title, rows in groups if rows]
    height = sum(len(rows) + 1.4 for _, rows in groups)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(9, 0.19 * height + 1), layout="constrained")
        ticks, names, y = [], [], 0.0
        for title, rows in groups:
            axes.text(0, y, title, weight="bold", va="center", ha="right",
                      transform=axes.get_yaxis_transform())  # fmt: skip
            for row in rows:
                y += 1
                ratio = row["ratio"]
                color = FASTER if ratio <= 1 else SLOWER
                axes.plot(row["ratio_range"], [y, y], color=color, alpha=0.35, linewidth=2)
                axes.plot(ratio, y, "o", color=color, markersize=4.5)
                axes.text(1, y, f" {ratio:.2f}  {row['best_peer']}", va="center", color="#555",
                          transform=axes.get_yaxis_transform())  # fmt: skip
                ticks.append(y)
                names.append(row["name"])
            y += 1.4
        axes.axvline(1, color="#333", linewidth=1)
        axes.axvline(0.5, color="#333", linewidth=1, linestyle=(0, (4, 3)))
        axes.set_yticks(ticks, names)
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(y, -1)
        axes.set_xscale("log", base=2)
        axes.grid(axis="x", color="#ddd", linewidth=0.6)
        axes.set_axisbelow(True)
        low, high = axes.get_xlim()
        axes.set_xlim(max(low, 1 / 40), min(high, 40))
        axes.xaxis.set_major_formatter(
            ticker.FuncFormatter(lambda v, _: f"{v:g}" if v >= 1 else f"1/{1 / v:g}")
        )
        axes.set_xlabel("symgraph's time over the best peer's: left is faster; dashed, half")
        axes.xaxis.set_label_position("top")
        axes.xaxis.tick_top()
        _save(figure, path)


def compile_times(results: dict[str, Any], path: Path) -> None:
    """Seconds against nodes, both logarithmic, with the slope of linear growth."""
    rows = [r for f in results["families"] if f["key"] == "compiling" for r in f["rows"]]
    curves: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for row in rows:
        for name, seconds in row["median"].items():
            curves.setdefault((name, row["name"].partition(" ")[0]), []).append(
                (row["scale"], seconds)
            )
    colors = {name: f"C{k}" for k, name in enumerate(dict.fromkeys(name for name, _ in curves))}
    shapes = {kind: "os"[k % 2] for k, kind in enumerate(dict.fromkeys(k for _, k in curves))}
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
        for (name, kind), points in curves.items():
            axes.plot(*zip(*points, strict=True), shapes[kind] + "-", color=colors[name],
                      label=f"{name}, {kind}", markersize=5, alpha=0.8)  # fmt: skip
        known = [p for points in curves.values() for p in points]
        if known:
            nodes = [min(n for n, _ in known), max(n for n, _ in known)]
            low = min(s for _, s in known)
            axes.plot(nodes, [low, low * nodes[1] / nodes[0]], ":", color="#888", label="linear")
            axes.set(xscale="log", yscale="log")
            axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
        axes.set(xlabel="nodes", ylabel="seconds to the first result")
        axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda v, _: f"{v:g}"))
        axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda v, _: f"{v:,.0f}"))
        axes.grid(color="#ddd", linewidth=0.6)
        _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=100)
    plt.close(figure)
