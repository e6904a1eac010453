"""What symgraph is measured with. `python -m benchmarks` prints a table and writes JSON."""
