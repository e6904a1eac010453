"""The layers, each a small class: declared, built for a shape, applied to expressions."""

from lenet.layers.base import Application, Layer, Shape
from lenet.layers.conv import Conv2D, LeNetConvPoolLayer
from lenet.layers.dense import Dense
from lenet.layers.images import Flatten, Pad, Rescale
from lenet.layers.pooling import Pool2D, Subsampling
from lenet.layers.radial import RadialBasis
from lenet.layers.regularization import BatchNormalization, Dropout
from lenet.layers.units import Activation

__all__ = [
    "Activation", "Application", "BatchNormalization", "Conv2D", "Dense", "Dropout", "Flatten",
    "Layer", "LeNetConvPoolLayer", "Pad", "Pool2D", "RadialBasis", "Rescale", "Shape",
    "Subsampling",
]  # fmt: skip
