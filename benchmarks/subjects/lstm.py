"""An LSTM over 100 steps: a loop in the graph, its gradient a loop back."""

from benchmarks.subject import Bar, Family, Subject

STEPS, INPUTS, UNITS = 100, 64, 128
BARS = (Bar("ratio", 2.0, against="Numba by hand"),)


def _step(batch: int) -> Subject:
    # multiply-adds of one sequence, but for the softmax: the inputs need no gradient
    work = STEPS * 4 * UNITS * (2 * INPUTS + 3 * UNITS)
    return Subject(
        f"LSTM step, batch {batch}", "lstm_step", (STEPS, batch, INPUTS, UNITS),
        flops=2.0 * batch * work, bars=BARS,
    )  # fmt: skip


FAMILY = Family(
    "lstm",
    "LSTM",
    f"One SGD step through {STEPS} steps of a sequence: {INPUTS} inputs, {UNITS} units, softmax on "
    "the last state. symgraph and PyTensor write it with `scan`, JAX with `lax.scan`; PyTorch's is "
    "`nn.LSTM`. By hand: loops forward and back compiled by Numba, their products OpenBLAS's.",
    (
        *(_step(batch) for batch in (64, 10, 1)),
        Subject(
            "first LSTM step, cold", "lstm_step", (STEPS, 64, INPUTS, UNITS), "cold",
            bars=(Bar("seconds", 10.0),),
        ),
        Subject("first LSTM step, warm", "lstm_step", (STEPS, 64, INPUTS, UNITS), "warm"),
    ),
)  # fmt: skip
