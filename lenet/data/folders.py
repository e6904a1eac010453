"""A folder of pictures by class: `root/CLASS/*.png`, or `root/train/CLASS/*.png` and so on.

The layout is that of Keras' image_dataset_from_directory and torchvision's ImageFolder.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lenet.data.arrays import Parts, assemble, natural
from lenet.data.errors import DataError
from lenet.data.pictures import read_picture, resized_picture
from lenet.data.progress import progress

PARTS = {
    "train": "train", "training": "train", "test": "test", "testing": "test",
    "valid": "valid", "val": "valid", "validation": "valid",
}  # fmt: skip
_NO_PICTURES = {"thumbs.db", "desktop.ini"}  # left by file managers, as hidden files are

Pictures = dict[str, list[tuple[Path, str]]]


def read_pictures(root: Path, size: tuple[int, int] | None = None) -> Parts | None:
    """The pictures in the sub-folders of `root`, whose names are the classes; None if none are.

    If all sub-folders are named as parts (train, test, valid, val, validation), and train is
    among them, theirs name the classes. The classes come in the order of their numbers if they
    are numbers, else of their names. Pictures may lie deeper; hidden files are passed over. The
    images are grey if every picture is, else colour. Without `size` they must all have one size.

    Raises DataError for a file that is not an image, a class without any, pictures of two sizes.
    """
    found = _find(root)
    if found is None:
        return None
    pictures = _read(found, size)
    is_grey = all(picture.ndim == 2 for part in pictures.values() for picture in part)
    pairs = {}
    for part, files in found.items():
        images = [picture if is_grey else _colour(picture) for picture in pictures.pop(part)]
        pairs[part] = np.stack(images), np.array([name for _, name in files])
    return assemble(pairs, root, natural(name for _, name in found["train"]))


def _find(root: Path) -> Pictures | None:
    """The files of each part, class by class."""
    folders = _folders(root)
    if not folders:
        return None
    parts = [PARTS.get(folder.name.lower()) for folder in folders]
    if "train" not in parts or None in parts:
        return {"train": _classes(root, folders)}
    found: Pictures = {}
    for part, folder in zip(parts, folders, strict=True):
        assert part is not None
        if part in found:
            names = ", ".join(folder.name for folder in folders)
            cure = "merge the two folders"
            raise DataError(root, names, f"one folder with {part} images", cure)
        found[part] = _classes(folder, _folders(folder))
    return found


def _folders(folder: Path) -> list[Path]:
    return [path for path in listed(folder) if path.is_dir()]


def listed(folder: Path) -> list[Path]:
    """What is in `folder`, in order, without hidden files; DataError if that cannot be read."""
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise DataError(
            folder, error.strerror or str(error), "a readable folder", "change its permissions"
        ) from error
    seen = (n for n in names if not n.startswith((".", "__")) and n.lower() not in _NO_PICTURES)
    return sorted(folder / name for name in seen)


def _classes(root: Path, folders: list[Path]) -> list[tuple[Path, str]]:
    if not folders:
        raise DataError(
            root, "a folder without sub-folders", "one of each class", "sort the pictures by class"
        )
    order = natural(folder.name for folder in folders)
    by_class = []
    for name in order:
        files = _files(root / name)
        if not files:
            cure = "add pictures, or remove the folder"
            raise DataError(root / name, "an empty folder", "pictures of this class", cure)
        by_class += [(path, name) for path in files]
    return by_class


def _files(folder: Path) -> list[Path]:
    found = []
    for path in listed(folder):
        found += _files(path) if path.is_dir() else [path]
    return found


def _read(found: Pictures, size: tuple[int, int] | None) -> dict[str, list[NDArray[np.uint8]]]:
    first: tuple[Path, tuple[int, ...]] | None = None
    pictures: dict[str, list[NDArray[np.uint8]]] = {}
    with progress(sum(map(len, found.values())), "reading images", unit="img") as advance:
        for part, files in found.items():
            pictures[part] = []
            for path, _ in files:
                picture = read_picture(path)
                if size is not None:
                    picture = resized_picture(picture, size)
                elif first is None:
                    first = path, picture.shape
                elif first[1][:2] != picture.shape[:2]:
                    raise _two_sizes(first, (path, picture.shape))
                pictures[part].append(picture)
                advance(1)
    return pictures


def _two_sizes(*pictures: tuple[Path, tuple[int, ...]]) -> DataError:
    (one, shape), (other, second) = pictures
    return DataError(
        other,
        f"an image of {second[0]}x{second[1]} pixels (height x width), while {one} has "
        f"{shape[0]}x{shape[1]}",
        "images of one size",
        f"have them resized: size=({shape[0]}, {shape[1]}), or --size {shape[0]},{shape[1]}",
    )


def _colour(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return picture if picture.ndim == 3 else np.repeat(picture[:, :, None], 3, 2)
