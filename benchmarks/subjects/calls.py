"""What a call costs when there is nothing to do."""

from benchmarks.subject import Bar, Family, Subject

FAMILY = Family(
    "calls",
    "Call overhead",
    "A function that adds two float64 scalars.",
    (Subject("call with two scalars", "add_scalars", bars=(Bar("seconds", 1.5e-6),)),),
)
