"""Two random 9x9 filters over a photograph, as in the Theano tutorial "lenet".

    python examples/random_filters.py [OUT.png] [IMAGE]

Randomly initialised filters act much like edge detectors. The tutorial's own photograph is not
shipped; without IMAGE, the filters look at the one that comes with matplotlib, an official
(public-domain) portrait of Grace Hopper, the computer pioneer.
"""

from __future__ import annotations

import argparse
import sys

import numpy
from matplotlib.cbook import get_sample_data
from matplotlib.figure import Figure
from PIL import Image

import symgraph
from symgraph import tensor as T
from symgraph.tensor.nnet import conv2d


def main(out: str = "random_filters.png", photo: str | None = None) -> None:
    rng = numpy.random.RandomState(23455)

    # Images are (batch, channels, height, width), filters (maps, channels, height, width).
    input = T.tensor4(name="input")
    w_shp = (2, 3, 9, 9)
    w_bound = numpy.sqrt(3 * 9 * 9)
    W = symgraph.shared(
        numpy.asarray(
            rng.uniform(low=-1.0 / w_bound, high=1.0 / w_bound, size=w_shp), dtype=input.dtype
        ),
        name="W",
    )
    # Biases usually start at zero. These are never trained, so random ones stand for learned ones.
    b = symgraph.shared(
        numpy.asarray(rng.uniform(low=-0.5, high=0.5, size=(2,)), dtype=input.dtype), name="b"
    )
    conv_out = conv2d(input, W)
    output = T.nnet.sigmoid(conv_out + b.dimshuffle("x", 0, "x", "x"))
    f = symgraph.function([input], output)

    path = photo or get_sample_data("grace_hopper.jpg", asfileobj=False)
    with Image.open(path) as image:
        img = numpy.asarray(image.convert("RGB"), dtype=input.dtype) / 256
    height, width = img.shape[:2]
    filtered = f(img.transpose(2, 0, 1).reshape(1, 3, height, width))

    say = sys.stdout.write
    say(f"photograph {height}x{width}, filtered {filtered.shape}\n")
    for k in range(2):
        part = filtered[0, k]
        say(f"map {k}: mean {part.mean():.6f}, min {part.min():.6f}, max {part.max():.6f}\n")

    figure = Figure(figsize=(12, 5), layout="constrained")
    for k, axes in enumerate(figure.subplots(1, 3)):
        axes.axis("off")
        axes.set_title(("the photograph", "filter 0", "filter 1")[k])
        axes.imshow(img if k == 0 else filtered[0, k - 1], cmap="gray")
    figure.savefig(out)
    say(f"wrote {out}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", nargs="?", default="random_filters.png", help="picture to write")
    parser.add_argument("image", nargs="?", help="photograph to filter (default: matplotlib's)")
    args = parser.parse_args()
    try:
        main(args.out, args.image)
    except OSError as error:  # Pillow's are in words: no such file, no image, cannot be written
        parser.exit(1, f"random_filters.py: {error}\n")
