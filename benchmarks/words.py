"""Numbers as people read them."""

from __future__ import annotations


def number(value: float, unit: str = "s") -> str:
    """Three digits with a unit that suits: 39.5 ms, 1.45 us, 412 MB. `unit`: s or bytes."""
    if unit == "bytes":
        return f"{value / 1e6:,.0f} MB"
    for scale, name in ((1, "s"), (1e-3, "ms"), (1e-6, "us")):
        if value >= scale * 0.9995:
            return f"{digits(value / scale)} {name}"
    return f"{digits(value / 1e-9)} ns"


def digits(value: float) -> str:
    """Three digits: 1.45, 39.5, 161."""
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}"
