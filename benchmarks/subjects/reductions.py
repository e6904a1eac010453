"""Reductions of everything and along an axis."""

from benchmarks.subject import Family, Subject

SHAPES = ((25, 40), (250, 400), (2500, 4000), (10000, 10000))
KINDS = ("sum", "max", "sum of axis 0", "sum of axis 1")

FAMILY = Family(
    "reductions",
    "Reductions",
    "Of float32 matrices; axis 0 runs across memory, axis 1 along it.",
    tuple(
        Subject(
            f"{kind}, {rows} x {columns}", "reduction", (kind, rows, columns),
            bytes=4.0 * rows * columns, memory=60.0 * rows * columns,
            slow=rows * columns > 10**7,
        )
        for kind in KINDS
        for rows, columns in SHAPES
    ),
)  # fmt: skip
