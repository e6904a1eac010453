"""What symgraph is measured with, and against whom. `python -m benchmarks --help` explains."""
