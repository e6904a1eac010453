"""From a picture to a file: by Graphviz where there is one, else by our own SVG writer.

Drawing is a by-product of somebody's job, so a missing or broken renderer never raises: the SVG
is written beside, and one line on stderr says what would help.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from symgraph.draw.picture import Picture
from symgraph.draw.svg import to_svg

FORMATS = ("png", "svg", "pdf", "dot", "gv", "mmd")
TIMEOUT = 30.0  # seconds a program may take for one picture
CURES = (
    "install Graphviz: pip install graphviz-pure (no PDF), apt-get install graphviz, "
    "brew install graphviz or winget install graphviz; or set SYMGRAPH_DOT to a dot program"
)
DPI = 110
LARGEST = 8000  # pixels of a side of a PNG
_MAGIC = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<svg"}


class RenderError(Exception):
    """A dot program that did not give a picture; the text says why."""


class Rendered(NamedTuple):
    """A drawn picture. `format` is "svg" if the wanted one was out of reach.

    `program` is the dot program that drew it, None for our own writers; `reasons` say why the
    programs before it did not.
    """

    data: bytes
    format: str
    program: str | None
    reasons: list[str]


def renderers() -> list[str]:
    """The dot programs to try, in order: $SYMGRAPH_DOT, `dot`, `graphviz-pure` of this Python."""
    pure = "graphviz-pure" + (".exe" if os.name == "nt" else "")
    # a virtual environment need not be activated: its scripts may not be on PATH
    folders = (sysconfig.get_path("scripts"), os.path.dirname(sys.executable))
    beside = (os.path.join(folder, pure) for folder in folders)
    found = [os.environ.get("SYMGRAPH_DOT"), shutil.which("dot"), shutil.which(pure)]
    found += [path for path in beside if os.path.exists(path)]
    return list(dict.fromkeys(path for path in found if path))


def find_dot() -> str | None:
    """The dot program that is tried first, or None."""
    return next(iter(renderers()), None)


def run_dot(program: str, source: str, format: str, timeout: float) -> bytes:
    """What `program` draws of `source` as "png", "svg" or "pdf". Raises RenderError.

    A PNG has 110 dots an inch, or as many fewer as keep its sides within LARGEST pixels: viewers
    refuse more.
    """
    if format != "png":
        return _run(program, source, format, timeout)
    drawn = _run(program, source, format, timeout, DPI)
    if len(drawn) < 24:
        raise RenderError(f"{program}: an unfinished picture")
    side = max(struct.unpack(">II", drawn[16:24]))
    if side <= LARGEST:
        return drawn
    return _run(program, source, format, timeout, DPI * LARGEST / side)


def _run(program: str, source: str, format: str, timeout: float, dpi: float | None = None) -> bytes:
    command = [program, "-Kdot", f"-T{format}"]
    if dpi is not None:
        command.append(f"-Gdpi={dpi:.5g}")
    try:
        done = subprocess.run(command, input=source.encode(), capture_output=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise RenderError(f"{program}: no picture after {timeout:g} s") from None
    except OSError as error:
        raise RenderError(f"{program}: {error.strerror or error}") from None
    if done.returncode != 0 or _MAGIC[format] not in done.stdout[:4096]:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        reason = said[-1] if said else f"exit code {done.returncode}"
        raise RenderError(f"{program}: {reason}")
    return done.stdout


def render_picture(picture: Picture, format: str) -> Rendered:
    """Draw `picture`. `format` is one of FORMATS; "dot", "gv", "mmd" (Mermaid) need no program."""
    if format == "mmd":
        from symgraph.draw.mermaid import to_mermaid

        return Rendered(to_mermaid(picture).encode(), format, None, [])
    from symgraph.draw.dot import to_dot

    source = to_dot(picture)
    if format in ("dot", "gv"):
        return Rendered(source.encode(), format, None, [])
    reasons: list[str] = []
    for program in renderers():
        try:
            return Rendered(run_dot(program, source, format, TIMEOUT), format, program, reasons)
        except RenderError as error:  # noqa: PERF203
            reasons.append(str(error))
    return Rendered(to_svg(picture).encode(), "svg", None, reasons)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise OSError with one clear line if a file at `path` could not be written.

    Makes missing folders. Called before work is done, so that nothing is lost.
    """
    folder = Path(path).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if Path(path).is_dir():
            raise IsADirectoryError(21, "it is a folder")
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise type(error)(
            error.errno,
            f"cannot write a picture to {path}: {error.strerror}; choose another outfile",
        ) from None


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary name beside `path`, which takes the place of `path` if all goes well."""
    handle, name = tempfile.mkstemp(prefix=".", suffix=Path(path).suffix, dir=Path(path).parent)
    os.close(handle)
    try:
        yield Path(name)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(name, 0o666 & ~mask)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def split_format(outfile: str | os.PathLike[str], format: str) -> tuple[Path, str]:
    """`outfile` with its extension, and the format that it names; `format` if it has none."""
    path = Path(outfile)
    extension = path.suffix[1:].lower()
    if extension in FORMATS:
        return path, extension
    if format not in FORMATS:
        raise ValueError(f"format is one of {', '.join(FORMATS)}; got {format!r}")
    return path.with_name(f"{path.name}.{format}"), format


def write(picture: Picture, outfile: str | os.PathLike[str], format: str = "png") -> Path:
    """Draw `picture` into a file; the path that was written.

    The format is that of outfile's extension, else `format`. If no program can make it, an SVG of
    our own is written beside, and one line on stderr names the cures. Raises OSError if the
    folder cannot be written to, ValueError for an unknown format.
    """
    path, wanted = split_format(outfile, format)
    check_writable(path)
    drawn = render_picture(picture, wanted)
    if drawn.format != wanted:
        path = path.with_suffix(f".{drawn.format}")
    if drawn.program is None and (drawn.format != wanted or drawn.reasons):
        why = "; ".join(drawn.reasons) or "no Graphviz found"
        sys.stderr.write(f"symgraph: {path} is a plain SVG ({why}). {CURES}\n")
    with replacing(path) as temporary:
        temporary.write_bytes(drawn.data)
    return path
