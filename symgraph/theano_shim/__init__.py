"""`import theano` means symgraph: for code that was written for Theano, unchanged.

Nothing here is active unless `install_as_theano` is called, or a script is run by
`python -m symgraph run`. `table.py` says which module and name of Theano's is which of symgraph's,
`absent.py` why the others are not there. docs/theano.md is made from both.
"""

from __future__ import annotations

import sys

from symgraph.compile.function import Function
from symgraph.errors import explain
from symgraph.theano_shim.modules import FINDER, TheanoModule

__all__ = ["install_as_theano", "uninstall"]


def install_as_theano() -> None:
    """Make `import theano`, and every import below it, give symgraph's objects.

    Modules named `theano...` are faces: their names are looked up in symgraph when asked for. A
    name that is not provided raises AttributeError (`from theano import name`: ImportError) that
    says what to use instead. Copies of functions return lists, as Theano's do. Calling this again
    does nothing.

    Raises ImportError if the real Theano has been imported by this process.
    """
    real = sys.modules.get("theano")
    if real is not None and not isinstance(real, TheanoModule):
        raise ImportError(
            explain("install_as_theano", "another `theano` has been imported already",
                    got=str(getattr(real, "__file__", real)),
                    expected="a process in which nothing has imported theano",
                    cure="call symgraph.install_as_theano() before the first import of theano")
        )  # fmt: skip
    if FINDER not in sys.meta_path:
        sys.meta_path.insert(0, FINDER)
    Function.copies_return_lists = True


def uninstall() -> None:
    """Undo `install_as_theano`: `import theano` means again what Python's path says."""
    Function.copies_return_lists = False
    if FINDER in sys.meta_path:
        sys.meta_path.remove(FINDER)
    for name in [n for n, m in sys.modules.items() if isinstance(m, TheanoModule)]:
        del sys.modules[name]
