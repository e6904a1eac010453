"""A fused elementwise chain."""

from benchmarks.subject import Family, Subject

FAMILY = Family(
    "elementwise",
    "Fused elementwise",
    "tanh(x / 2 + 1/4) * x into a new array.",
    tuple(
        Subject(
            f"chain of {count:,}", "chain", (count,),
            bytes=8.0 * count, memory=100.0 * count, slow=count > 10**7,
        )
        for count in (10**power for power in range(3, 9))
    ),
)  # fmt: skip
