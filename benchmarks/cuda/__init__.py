"""What symgraph does on a GPU, beside PyTorch and JAX: `python -m benchmarks.cuda`."""
