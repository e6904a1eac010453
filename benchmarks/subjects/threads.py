"""One thread and two."""

from benchmarks.subject import Family, Subject
from benchmarks.subjects import conv, gemm, lenet, lstm, networks


def _both(subject: Subject, *names: str) -> Subject:
    contenders = tuple(full for name in names for full in (name, f"{name}, 1 thread"))
    return Subject(
        f"{subject.name}, by threads", subject.kernel, subject.arguments, contenders=contenders
    )


_LENET = ("symgraph", "torch", "torch channels_last")

FAMILY = Family(
    "threads",
    "Thread scaling",
    "The speed-up from one thread to two.",
    (
        _both(lenet.FAMILY.subjects[0], *_LENET),
        _both(lenet.FAMILY.subjects[2], *_LENET),
        _both(networks.FAMILY.subjects[0], *_LENET[:2]),
        _both(lstm.FAMILY.subjects[0], "symgraph", "torch", "Numba by hand"),
        _both(conv.FAMILY.subjects[3], *_LENET),
        _both(gemm.FAMILY.subjects[0], *_LENET[:2]),
        _both(Subject("chain of 10,000,000", "chain", (10**7,)), *_LENET[:2]),
    ),
)
