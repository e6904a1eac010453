"""Where the boxes of a layered drawing go.

Sugiyama's method (Sugiyama, Tagawa, Toda 1981): break cycles, assign layers by longest paths, cut
long edges by virtual items, order each layer by barycentres, then place items along the layers by
least squares with a minimum distance (isotonic regression, pool adjacent violators).
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

Point = tuple[float, float]
Size = tuple[float, float]
GAP_X, GAP_Y = 18.0, 26.0
SWEEPS = 8


@dataclass
class Item:
    """A box, a label or a bend: where it is (its centre), how big, and its neighbours."""

    width: float
    height: float
    weight: float = 1.0  # how much it wants to be straight above what it belongs to
    layer: int = 0
    x: float = 0.0
    y: float = 0.0
    above: list[Item] = field(default_factory=list)
    below: list[Item] = field(default_factory=list)
    rank: int = 0  # position in its layer
    is_bend: bool = False


@dataclass
class Layout:
    """Centres of boxes and labels, and the points each edge passes between its two boxes."""

    centres: dict[str, Point]
    routes: list[list[Point]]
    labels: list[Point | None]
    width: float
    height: float


def layered(sizes: Mapping[str, Size], edges: Sequence[tuple[str, str, Size | None]]) -> Layout:
    """Place boxes of `sizes` so that edges point down; an edge is (source, target, label size)."""
    items = {key: Item(w, h) for key, (w, h) in sizes.items()}
    turned = _backward(list(sizes), edges)
    ends = [(b, a) if back else (a, b) for (a, b, _), back in zip(edges, turned, strict=True)]
    step = 2 if any(label for *_, label in edges) else 1  # labels take the layers between
    _assign_layers(items, [e for e in ends if e[0] != e[1]], step)
    chains: list[list[Item]] = []
    label_items: list[Item | None] = []
    everything = list(items.values())
    for (a, b), (*_, label) in zip(ends, edges, strict=True):
        first, last = items[a], items[b]
        chain = [first]
        marked = None
        for layer in range(first.layer + 1, last.layer):
            bend = Item(4.0, 0.0, 8.0, layer, is_bend=True)
            if label is not None and layer == last.layer - 1:
                marked = bend
                bend.width, bend.height, bend.weight = label[0], label[1], 2.0
            chain.append(bend)
            everything.append(bend)
        chain.append(last)
        if a != b:
            for upper, lower in pairwise(chain):
                upper.below.append(lower)
                lower.above.append(upper)
        chains.append(chain)
        label_items.append(marked)
    layers = _order(everything)
    _place_x(layers)
    height = _place_y(layers)
    left = min((i.x - i.width / 2 for i in everything), default=0.0)
    right = max((i.x + i.width / 2 for i in everything), default=0.0)
    for item in everything:
        item.x -= left
    tops = [min(i.y - i.height / 2 for i in layer) for layer in layers if layer]
    bottoms = [max(i.y + i.height / 2 for i in layer) for layer in layers if layer]
    routes = []
    for chain, back in zip(chains, turned, strict=True):
        points: list[Point] = []
        for bend in chain[1:-1]:
            points += [(bend.x, tops[bend.layer]), (bend.x, bottoms[bend.layer])]
        routes.append(points[::-1] if back else points)
    centres = {key: (item.x, item.y) for key, item in items.items()}
    labels = [None if item is None else (item.x, item.y) for item in label_items]
    return Layout(centres, routes, labels, right - left, height)


def _backward(keys: Sequence[str], edges: Sequence[tuple[str, str, Size | None]]) -> list[bool]:
    """Which edges must be turned round for the graph to be free of cycles."""
    leaving: dict[str, list[tuple[str, int]]] = {key: [] for key in keys}
    for number, (a, b, _) in enumerate(edges):
        leaving[a].append((b, number))
    result = [False] * len(edges)
    state: dict[str, int] = {}  # 1: on the path, 2: done
    for root in keys:
        if root in state:
            continue
        state[root] = 1
        stack = [(root, iter(leaving[root]))]
        while stack:
            key, following = stack[-1]
            for target, number in following:
                if state.get(target) == 1:
                    result[number] = target != key
                elif target not in state:
                    state[target] = 1
                    stack.append((target, iter(leaving[target])))
                    break
            else:
                state[key] = 2
                stack.pop()
    return result


def _assign_layers(items: dict[str, Item], ends: Sequence[tuple[str, str]], step: int) -> None:
    """Longest paths from the top; then what has nothing above moves down to where it is used."""
    below: dict[str, list[str]] = {key: [] for key in items}
    waiting = dict.fromkeys(items, 0)
    for a, b in ends:
        below[a].append(b)
        waiting[b] += 1
    is_source = {key: count == 0 for key, count in waiting.items()}
    ready = [key for key, count in waiting.items() if count == 0]
    for key in ready:
        for target in below[key]:
            items[target].layer = max(items[target].layer, items[key].layer + step)
            waiting[target] -= 1
            if waiting[target] == 0:
                ready.append(target)
    for key, source in is_source.items():
        if source and below[key]:
            items[key].layer = min(items[t].layer for t in below[key]) - step


def _order(items: Sequence[Item]) -> list[list[Item]]:
    """Items by layer, each layer in the order with the fewest crossings that was met."""
    depth = max((i.layer for i in items), default=-1) + 1
    layers: list[list[Item]] = [[] for _ in range(depth)]
    seen: set[int] = set()
    for root in sorted(items, key=lambda i: i.layer):  # neighbours start near each other
        stack = [root]
        while stack:
            item = stack.pop()
            if id(item) in seen:
                continue
            seen.add(id(item))
            layers[item.layer].append(item)
            stack += item.above[::-1] + item.below[::-1]
    best, fewest = [list(layer) for layer in layers], _crossings(layers)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for layer in layers if down else layers[::-1]:
            for rank, item in enumerate(layer):
                item.rank = rank
            centre = {}
            for item in layer:
                near = item.above if down else item.below
                ranks = [n.rank for n in near]
                centre[id(item)] = sum(ranks) / len(ranks) if ranks else float(item.rank)
            layer.sort(key=lambda i: centre[id(i)])
            for rank, item in enumerate(layer):
                item.rank = rank
        count = _crossings(layers)
        if count < fewest:
            best, fewest = [list(layer) for layer in layers], count
    return best


def _crossings(layers: Sequence[list[Item]]) -> int:
    total = 0
    for upper, lower in pairwise(layers):
        rank = {id(item): r for r, item in enumerate(lower)}
        met: list[int] = []
        for item in upper:
            targets = sorted(rank[id(t)] for t in item.below)
            total += sum(len(met) - bisect_right(met, t) for t in targets)
            for target in targets:
                insort(met, target)
    return total


def _place_x(layers: Sequence[list[Item]]) -> None:
    for layer in layers:
        x = 0.0
        for item in layer:
            item.x = x + item.width / 2
            x += item.width + GAP_X
    for sweep in range(2 * SWEEPS):
        down = sweep % 2 == 0
        for layer in layers if down else layers[::-1]:
            wanted = []
            for item in layer:
                near = item.above if down else item.below
                both = item.above + item.below if sweep > SWEEPS else near
                pull = sum(n.weight for n in both)
                wanted.append(sum(n.x * n.weight for n in both) / pull if pull else item.x)
            _isotonic(layer, wanted)


def _isotonic(layer: Sequence[Item], wanted: Sequence[float]) -> None:
    """The places nearest to `wanted`, by weighted least squares, at which nothing overlaps."""
    offsets, at = [], 0.0
    for before, item in zip([None, *layer], layer, strict=False):
        if before is not None:
            at += (before.width + item.width) / 2 + GAP_X
        offsets.append(at)
    blocks: list[tuple[float, float, int]] = []  # mean, weight, number of items
    for item, target, offset in zip(layer, wanted, offsets, strict=True):
        mean, weight, count = target - offset, item.weight, 1
        while blocks and blocks[-1][0] > mean:
            other, more, n = blocks.pop()
            mean = (mean * weight + other * more) / (weight + more)
            weight, count = weight + more, count + n
        blocks.append((mean, weight, count))
    places = [mean for mean, _, count in blocks for _ in range(count)]
    for item, place, offset in zip(layer, places, offsets, strict=True):
        item.x = place + offset


def _place_y(layers: Sequence[list[Item]]) -> float:
    y = 0.0
    for layer in layers:
        tall = max((i.height for i in layer), default=0.0)
        for item in layer:
            item.y = y + tall / 2
        y += tall + GAP_Y
    return max(0.0, y - GAP_Y)
