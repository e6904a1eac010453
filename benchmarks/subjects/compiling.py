"""Compile time against the number of nodes."""

from benchmarks.subject import Bar, Family, Subject

# Links of three nodes; layers of NODES_A_LAYER with their gradient.
NODES_A_LAYER = 15
KERNELS = {"chain": ("deep_chain", 3), "network": ("deep_network", NODES_A_LAYER)}
PEERS = ("torch.compile", "JAX", "PyTensor")  # PyTorch without its compiler compiles nothing
GROWTH = (Bar("growth", 1.3),)

FAMILY = Family(
    "compiling",
    "Compile time by nodes",
    "First call with empty caches, in a new process, of graphs as the user's lines build them. "
    "Chain: v = tanh(v * x + x), again and again; network: sigmoid layers with the gradient by "
    "all weights. Peers at 1,000 nodes only.",
    tuple(
        Subject(
            f"{title} of {nodes:,} nodes", kernel, (nodes // each,), "cold",
            scale=nodes, slow=nodes > 10**4, bars=GROWTH if nodes == 10**5 else (),
            contenders=("symgraph", *(PEERS if nodes == 1000 else ())),
        )
        for title, (kernel, each) in KERNELS.items()
        for nodes in (1000, 10**4, 10**5)
    ),
)  # fmt: skip
