"""The version of symgraph, in one place."""

__version__ = "0.1.0"
