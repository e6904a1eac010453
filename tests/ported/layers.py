"""A small library of layers in the manner of Lasagne: what such code calls of Theano.

Layers know their input layer and their shapes, None where a size is not known; `get_output` walks
them; updates are OrderedDicts. Feed-forward layers are here, recurrent ones in recurrent.py.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import theano
import theano.tensor as T
from theano.sandbox.rng_mrg import MRG_RandomStreams as RandomStreams
from theano.tensor.signal import pool

try:
    import theano.sandbox.cuda
except ImportError:
    ON_GPU = False

numbers = np.random.RandomState(1)


def floatX(arr: Any) -> np.ndarray:
    return np.asarray(arr, dtype=theano.config.floatX)


class Layer:
    def __init__(self, incoming: Layer | Sequence[Layer] | None, name: str = "") -> None:
        self.incoming = (
            [] if incoming is None
            else list(incoming) if isinstance(incoming, (list, tuple)) else [incoming]
        )  # fmt: skip
        self.name = name
        self.params: OrderedDict[Any, set[str]] = OrderedDict()

    @property
    def input_shape(self) -> tuple[Any, ...]:
        return self.incoming[0].output_shape

    @property
    def output_shape(self) -> tuple[Any, ...]:
        return self.get_output_shape_for(self.input_shape)

    def get_output_shape_for(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        return input_shape

    def get_output_for(self, *inputs: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    def add_param(self, spec: Any, shape: tuple[int, ...], name: str, **tags: bool) -> Any:
        """A shared variable from a function of a shape, an array, or a variable as it is."""
        if isinstance(spec, theano.Variable):
            assert spec.ndim == len(shape)
            param = spec
        else:
            values = floatX(spec(shape) if callable(spec) else spec)
            assert values.shape == shape
            # A size of one may be broadcast, as the patterns of gradients and updates must agree.
            param = theano.shared(values, broadcastable=tuple(s == 1 for s in shape), name=name)
        tags = {"trainable": True, "regularizable": True, **tags}
        self.params[param] = {tag for tag, on in tags.items() if on}
        return param


class InputLayer(Layer):
    def __init__(self, shape: tuple[Any, ...], input_var: Any = None) -> None:
        super().__init__(None)
        self.shape = shape
        self.input_var = T.TensorType(theano.config.floatX, [False] * len(shape))("input")
        if input_var is not None:
            self.input_var = input_var

    @property
    def output_shape(self) -> tuple[Any, ...]:
        return self.shape


def get_all_layers(layer: Layer) -> list[Layer]:
    found: list[Layer] = []
    for below in layer.incoming:
        found += [each for each in get_all_layers(below) if each not in found]
    return [*found, layer]


def get_output(layer: Layer, **kwargs: Any) -> Any:
    outputs: dict[Layer, Any] = {}
    for each in get_all_layers(layer):
        if isinstance(each, InputLayer):
            outputs[each] = each.input_var
        else:
            outputs[each] = each.get_output_for(*(outputs[i] for i in each.incoming), **kwargs)
    return outputs[layer]


def get_all_params(layer: Layer, *tags: str) -> list[Any]:
    """Shared variables with all of `tags`; of a parameter that is an expression, those in it."""
    chosen = [
        param
        for each in get_all_layers(layer)
        for param, its in each.params.items()
        if its.issuperset(tags)
    ]
    return [
        v for v in theano.gof.graph.inputs(chosen) if isinstance(v, theano.compile.SharedVariable)
    ]


def uniform(shape: tuple[int, ...]) -> np.ndarray:
    """Glorot's."""
    field = np.prod(shape[2:])
    bound = np.sqrt(6.0 / ((shape[0] + shape[1]) * field))
    return floatX(numbers.uniform(-bound, bound, shape))


def constant(value: float) -> Callable[[tuple[int, ...]], np.ndarray]:
    return lambda shape: np.full(shape, value)


class DenseLayer(Layer):
    def __init__(
        self, incoming: Layer, num_units: int, W: Any = uniform, b: Any = None,
        nonlinearity: Any = T.nnet.relu,
    ) -> None:  # fmt: skip
        super().__init__(incoming)
        self.num_units, self.nonlinearity = num_units, nonlinearity
        num_inputs = int(np.prod(self.input_shape[1:]))
        self.W = self.add_param(W, (num_inputs, num_units), name="W")
        self.b = self.add_param(b or constant(0), (num_units,), name="b", regularizable=False)

    def get_output_shape_for(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        return input_shape[0], self.num_units

    def get_output_for(self, input: Any, **kwargs: Any) -> Any:
        if input.ndim > 2:
            input = input.flatten(2)
        return self.nonlinearity(T.dot(input, self.W) + self.b)


class Conv2DLayer(Layer):
    def __init__(
        self, incoming: Layer, num_filters: int, filter_size: tuple[int, int],
        stride: tuple[int, int] = (1, 1), pad: Any = "same", W: Any = uniform,
        nonlinearity: Any = T.nnet.relu, flip_filters: bool = True, num_groups: int = 1,
    ) -> None:  # fmt: skip
        super().__init__(incoming)
        self.num_filters, self.filter_size, self.stride = num_filters, filter_size, stride
        self.pad, self.nonlinearity = pad, nonlinearity
        self.flip_filters, self.num_groups = flip_filters, num_groups
        channels = self.input_shape[1] // num_groups
        self.W = self.add_param(W, (num_filters, channels, *filter_size), name="W")
        self.b = self.add_param(constant(0), (num_filters,), name="b", regularizable=False)

    @property
    def border_mode(self) -> Any:
        return "half" if self.pad == "same" else self.pad

    def get_output_shape_for(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        return T.nnet.abstract_conv.get_conv_output_shape(
            input_shape, self.W.get_value(borrow=True).shape, self.border_mode, self.stride
        )

    def get_output_for(self, input: Any, **kwargs: Any) -> Any:
        conved = T.nnet.conv2d(
            input,
            self.W,
            self.input_shape,
            self.W.get_value(borrow=True).shape,
            subsample=self.stride,
            border_mode=self.border_mode,
            filter_flip=self.flip_filters,
            num_groups=self.num_groups,
        )
        return self.nonlinearity(conved + self.b.dimshuffle("x", 0, "x", "x"))


class TransposedConv2DLayer(Layer):
    """The gradient of a convolution by its input as a layer of its own: it makes images larger."""

    def __init__(
        self, incoming: Layer, num_filters: int, filter_size: tuple[int, int],
        stride: tuple[int, int] = (1, 1), W: Any = uniform, nonlinearity: Any = T.nnet.relu,
    ) -> None:  # fmt: skip
        super().__init__(incoming)
        self.num_filters, self.filter_size, self.stride = num_filters, filter_size, stride
        self.nonlinearity = nonlinearity
        self.W_shape = (self.input_shape[1], num_filters, *filter_size)
        self.W = self.add_param(W, self.W_shape, name="W")

    def get_output_shape_for(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        sizes = zip(input_shape[2:], self.filter_size, self.stride, strict=True)
        return (input_shape[0], self.num_filters, *((n - 1) * s + k for n, k, s in sizes))

    def get_output_for(self, input: Any, **kwargs: Any) -> Any:
        op = T.nnet.abstract_conv.AbstractConv2d_gradInputs(
            imshp=self.output_shape,
            kshp=self.W_shape,
            subsample=self.stride,
            border_mode="valid",
            filter_flip=False,
        )
        return self.nonlinearity(op(self.W, input, self.output_shape[2:]))


class Pool2DLayer(Layer):
    def __init__(
        self, incoming: Layer, pool_size: tuple[int, int], stride: tuple[int, int] | None = None,
        pad: tuple[int, int] = (0, 0), mode: str = "max",
    ) -> None:  # fmt: skip
        super().__init__(incoming)
        self.pool_size, self.stride, self.pad = pool_size, stride or pool_size, pad
        self.mode = mode

    def get_output_shape_for(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        facts = zip(input_shape[2:], self.pool_size, self.stride, self.pad, strict=True)
        sizes = [(n + 2 * p - k) // s + 1 for n, k, s, p in facts]  # whole windows only
        return *input_shape[:2], *sizes

    def get_output_for(self, input: Any, **kwargs: Any) -> Any:
        return pool.pool_2d(
            input,
            ws=self.pool_size,
            stride=self.stride,
            ignore_border=True,
            pad=self.pad,
            mode=self.mode,
        )


class GlobalPoolLayer(Layer):
    def get_output_shape_for(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        return input_shape[:2]

    def get_output_for(self, input: Any, **kwargs: Any) -> Any:
        return T.mean(input.flatten(3), axis=2)


class DropoutLayer(Layer):
    """Inverted dropout; whole feature maps with `shared_axes=(2, 3)`."""

    def __init__(self, incoming: Layer, p: float = 0.5, shared_axes: tuple[int, ...] = ()) -> None:
        super().__init__(incoming)
        self._srng = RandomStreams(numbers.randint(1, 2147462579))
        self.p, self.shared_axes = p, shared_axes

    def get_output_for(self, input: Any, deterministic: bool = False, **kwargs: Any) -> Any:
        if deterministic or self.p == 0:
            return input
        one = T.constant(1)
        retain_prob = one - self.p
        input /= retain_prob
        mask_shape = self.input_shape
        if any(s is None for s in mask_shape):
            mask_shape = input.shape
        if self.shared_axes:
            shared_axes = tuple(a if a >= 0 else a + input.ndim for a in self.shared_axes)
            mask_shape = tuple(
                1 if a in shared_axes else s for a, s in enumerate(mask_shape)
            )  # fmt: skip
        mask = self._srng.binomial(mask_shape, p=retain_prob, dtype=input.dtype)
        if self.shared_axes:
            bcast = tuple(bool(s == 1) for s in mask_shape)
            mask = T.patternbroadcast(mask, bcast)
        return input * mask


class BatchNormLayer(Layer):
    """Normalised over all axes but the second.

    The running averages are updated by a trick: copies of them get default updates, and enter the
    expression times zero so that a training function meets them.
    """

    def __init__(self, incoming: Layer, epsilon: float = 1e-4, alpha: float = 0.1) -> None:
        super().__init__(incoming)
        self.epsilon, self.alpha = epsilon, alpha
        self.axes = tuple(a for a in range(len(self.input_shape)) if a != 1)
        shape = (self.input_shape[1],)
        self.beta = self.add_param(constant(0), shape, name="beta", regularizable=False)
        self.gamma = self.add_param(constant(1), shape, name="gamma")
        hidden = {"trainable": False, "regularizable": False}
        self.mean = self.add_param(constant(0), shape, name="mean", **hidden)
        self.inv_std = self.add_param(constant(1), shape, name="inv_std", **hidden)

    def get_output_for(self, input: Any, deterministic: bool = False, **kwargs: Any) -> Any:
        input_mean = input.mean(self.axes)
        input_inv_std = T.inv(T.sqrt(input.var(self.axes) + self.epsilon))
        if deterministic:
            mean, inv_std = self.mean, self.inv_std
        else:
            mean, inv_std = input_mean, input_inv_std
            running_mean = theano.clone(self.mean, share_inputs=False)
            running_inv_std = theano.clone(self.inv_std, share_inputs=False)
            running_mean.default_update = (1 - self.alpha) * running_mean + self.alpha * input_mean
            running_inv_std.default_update = (
                1 - self.alpha
            ) * running_inv_std + self.alpha * input_inv_std
            mean += 0 * running_mean
            inv_std += 0 * running_inv_std
        param_axes = iter(range(input.ndim - len(self.axes)))
        pattern = ["x" if axis in self.axes else next(param_axes) for axis in range(input.ndim)]
        beta, gamma, mean, inv_std = (
            v.dimshuffle(pattern) for v in (self.beta, self.gamma, mean, inv_std)
        )
        return (input - mean) * (gamma * inv_std) + beta


class ElemwiseSumLayer(Layer):
    def get_output_for(self, *inputs: Any, **kwargs: Any) -> Any:
        return functools.reduce(T.add, inputs)
