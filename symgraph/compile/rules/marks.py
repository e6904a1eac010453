"""Max pooling by marks, where the image need not be kept for the gradient.

    maxpoolgrad(x, maxpool(x), g) -> marksgrad(marks(x), g), and maxpool(x) -> maxima(x)

both from one kernel. The image x, such as the result of a convolution, is then used up as soon as
it is pooled: in LeNet's training step it never leaves the cache. No rule of one node could say it,
since both ends change together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from symgraph.graph import Apply, Variable, rebuild, toposort, tracing
from symgraph.ops.pool_marks import MaxPoolMarks, MaxPoolMarksGrad, can_mark
from symgraph.ops.pooling import MaxPoolGrad, Pool
from symgraph.types import FLOATS


def mark_maxima(outputs: Sequence[Variable]) -> list[Variable]:
    """`outputs` with marks in place of images that are there for no other reason."""
    nodes = toposort(outputs)
    users: dict[Variable, list[Apply]] = {}
    for node in nodes:
        for v in dict.fromkeys(node.inputs):
            users.setdefault(v, []).append(node)
    pools = [n for n in nodes if isinstance(n.op, Pool) and _only_pooled(n, users)]
    kept = set(outputs)
    marked: dict[Variable, Any] = {
        pool.inputs[0]: pool.op for pool in pools if pool.inputs[0] not in kept
    }
    if not marked:
        return list(outputs)
    marks: dict[Variable, Variable] = {}
    env: dict[Variable, Variable] = {}
    for node in nodes:
        inputs = [env.get(v, v) for v in node.inputs]
        op = marked.get(node.inputs[0]) if isinstance(node.op, (Pool, MaxPoolGrad)) else None
        if op is None:
            new = rebuild(node, inputs).outputs
        else:
            fields = op.mode, op.ignore_border, op.ws, op.stride, op.pad, op.ties
            x = node.inputs[0]
            with tracing(node.trace):
                if isinstance(node.op, Pool):
                    best, marks[x] = MaxPoolMarks(*fields)(inputs[0])
                    new = [best]
                else:
                    new = [MaxPoolMarksGrad(*fields)(inputs[0], marks[x], inputs[2])]
        for old, fresh in zip(node.outputs, new, strict=True):
            env[old] = fresh
            fresh.name = fresh.name or old.name
    return [env.get(v, v) for v in outputs]


def _only_pooled(pool: Apply, users: Mapping[Variable, Sequence[Apply]]) -> bool:
    """Whether the image is computed, and used by this pooling and its gradient alone."""
    x = pool.inputs[0]
    others = [user for user in users[x] if user is not pool]
    if x.owner is None or x.type.dtype not in FLOATS or not can_mark(pool.op):
        return False
    return bool(others) and all(_is_gradient(user, pool) for user in others)


def _is_gradient(user: Apply, pool: Apply) -> bool:
    """Whether `user` is the gradient of this very pooling."""
    if not isinstance(pool.op, Pool) or user.op != pool.op._again(MaxPoolGrad):
        return False
    (x,), (best,), (of, pooled, g) = pool.inputs, pool.outputs, user.inputs
    return of is x and pooled is best and g is not x
