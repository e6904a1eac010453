"""Unshared convolution: every place of the output has filters of its own ("locally connected").

One batched product over the places, of the windows of the images and the filters there.
Filters are (filters, output rows, output columns, channels / groups, rows, columns).
Source: Theano, tensor/nnet/abstract_conv, `unshared`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from symgraph.errors import explain
from symgraph.ops.conv_shapes import axis_padding, promised
from symgraph.ops.conv_sizes import canonical_mode, declared, positive_numbers
from symgraph.ops.core import describe, dimshuffle
from symgraph.ops.linalg import Dot
from symgraph.ops.shape import reshape
from symgraph.ops.structure import shape_i, sizes_of
from symgraph.ops.windows import OverlapAdd, Windows, crop_axis, pad_axis
from symgraph.variable import as_tensor_variable

Pair = Sequence[int]


class Unshared:
    """An unshared convolution of these parameters, and its gradients. Errors as `conv2d`."""

    def __init__(
        self, name: str, input_shape: Any, filter_shape: Any, border_mode: Any, subsample: Pair,
        filter_flip: bool, filter_dilation: Pair, num_groups: int,
    ) -> None:  # fmt: skip
        self.name = name
        self.images = declared("input_shape", input_shape)
        self.filters = declared("filter_shape", filter_shape, 6)
        self.border_mode, self.filter_flip = canonical_mode(border_mode), filter_flip
        self.subsample = positive_numbers("subsample", subsample)
        self.dilation = positive_numbers("filter_dilation", filter_dilation)
        self.groups = num_groups

    def _checked(self, x: Any, ndim: int, hint: Any) -> Any:
        """`x`, its declared sizes promised; TypeError for another number of axes."""
        if x.ndim != ndim:
            raise TypeError(
                explain(self.name, f"an operand must be {ndim}D tensor for unshared convolution",
                        got=describe((x,)), expected="images (batch, channels, rows, columns), "
                        "filters (filters, output rows, output columns, channels, rows, columns)")
            )  # fmt: skip
        return promised(x, hint)

    def _pads(self, kernel: Sequence[Any]) -> Any:
        mode = self.border_mode
        each = (mode,) * 2 if isinstance(mode, str) else mode
        return [
            axis_padding(m, (k - 1) * d)
            for m, k, d in zip(each, kernel, self.dilation, strict=True)
        ]

    def _windows(self, image: Any, kernel: Sequence[Any]) -> Any:
        """(groups, oh, ow, batch, channels, kh, kw): what each place of the output sees."""
        for a, (before, after) in enumerate(self._pads(kernel)):
            image = pad_axis(image, 2 + a, before, after)
        image = self._grouped(image, 1)
        for axis, a in ((3, 0), (5, 1)):
            window = Windows(axis, self.dilation[a])
            image = window(image, as_tensor_variable(kernel[a]), self.subsample[a])
        return dimshuffle(image, (1, 3, 5, 0, 2, 4, 6))

    def _grouped(self, x: Any, axis: int) -> Any:
        """`x` with its channels, at `axis`, as (groups, channels of a group)."""
        sizes = sizes_of(x)
        sizes[axis : axis + 1] = [self.groups, sizes[axis] // self.groups]
        return reshape(x, sizes)

    def _flipped(self, kernel: Any) -> Any:
        return kernel[..., ::-1, ::-1] if self.filter_flip else kernel

    @staticmethod
    def _product(a: Any, b: Any, inner: int) -> Any:
        """The sum of products over `inner` axes, for every group and place: three axes as one."""
        flat = [reshape(x, [-1, *sizes_of(x)[3:]]) for x in (a, b)]
        out = Dot(1, inner)(*flat)
        return reshape(out, [*sizes_of(a)[:3], *sizes_of(out)[1:]])

    def forward(self, image: Any, kernel: Any) -> Any:
        """(batch, filters, oh, ow)."""
        image, kernel = self._checked(image, 4, self.images), self._checked(kernel, 6, self.filters)
        seen = self._windows(image, sizes_of(kernel)[4:])
        places = [*sizes_of(kernel)[:1], *sizes_of(seen)[1:3], *sizes_of(kernel)[3:]]
        weights = self._grouped(self._flipped(promised(kernel, places)), 0)
        out = self._product(seen, dimshuffle(weights, (0, 2, 3, 4, 5, 6, 1)), 3)
        out = dimshuffle(out, (3, 0, 4, 1, 2))
        sizes = sizes_of(out)
        return reshape(out, [sizes[0], sizes[1] * sizes[2], *sizes[3:]])

    def by_inputs(self, kernel: Any, top: Any, size: Sequence[Any]) -> Any:
        """The gradient by the images, whose rows and columns are `size`."""
        kernel, top = self._checked(kernel, 6, self.filters), self._checked(top, 4, None)
        places = [*sizes_of(kernel)[:1], *sizes_of(top)[2:], *sizes_of(kernel)[3:]]
        weights = self._grouped(self._flipped(promised(kernel, places)), 0)
        errors = dimshuffle(self._grouped(top, 1), (1, 3, 4, 0, 2))
        seen = self._product(errors, dimshuffle(weights, (0, 2, 3, 1, 4, 5, 6)), 1)
        image = dimshuffle(seen, (3, 0, 4, 1, 5, 2, 6))
        pads = self._pads(sizes_of(kernel)[4:])
        for axis, a in ((5, 1), (3, 0)):
            whole = size[a] + pads[a][0] + pads[a][1]
            add = OverlapAdd(axis, self.dilation[a])
            image = add(image, as_tensor_variable(whole), self.subsample[a])
        sizes = sizes_of(image)
        image = reshape(image, [sizes[0], sizes[1] * sizes[2], *sizes[3:]])
        for a, (before, _) in enumerate(pads):
            image = crop_axis(image, 2 + a, before, size[a])
        return image

    def by_weights(self, image: Any, top: Any, size: Sequence[Any]) -> Any:
        """The gradient by the filters, whose last two sizes are `size`."""
        image, top = self._checked(image, 4, self.images), self._checked(top, 4, None)
        seen = self._windows(image, [size[0], size[1]])
        errors = dimshuffle(self._grouped(top, 1), (1, 3, 4, 2, 0))
        places = [*sizes_of(errors)[:1], *sizes_of(seen)[1:3], *sizes_of(errors)[3:]]
        weights = self._product(promised(errors, places), seen, 1)
        weights = dimshuffle(weights, (0, 3, 1, 2, 4, 5, 6))
        weights = reshape(weights, [shape_i(top, 1), *sizes_of(weights)[2:]])
        return self._flipped(weights)
