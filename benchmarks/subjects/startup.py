"""First calls and imports, each in a new process."""

from benchmarks.subject import Bar, Family, Subject

_MLP = ((784, 500, 10), 20)

FAMILY = Family(
    "startup",
    "First call and import",
    "Each in a new process. First call: from the first line of the model to the first step's "
    "cost, the import excluded. Cold: with empty caches; warm: with what the cold one left there. "
    "Import: what it takes beyond NumPy.",
    (
        Subject("first LeNet step, cold", "lenet_step", (20,), "cold",
                bars=(Bar("seconds", 5.0),)),
        Subject("first LeNet step, warm", "lenet_step", (20,), "warm",
                bars=(Bar("seconds", 0.3),)),
        Subject("first MLP step, cold", "network_step", _MLP, "cold"),
        Subject("first MLP step, warm", "network_step", _MLP, "warm"),
        Subject("import", how="import", bars=(Bar("seconds", 0.1),),
                contenders=("symgraph", "torch", "JAX", "PyTensor")),
    ),
)  # fmt: skip
