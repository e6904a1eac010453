"""The one kind of error that the commands report without a traceback."""

from __future__ import annotations

from lenet.data.errors import DataError


class RunError(DataError):
    """An option, model, run folder, checkpoint or image that cannot be used.

    Like DataError, its parent, it says what it is about, what it got, what was expected and the
    cure; `python -m lenet` prints it as one line and ends with status 1.
    """
