"""Recurrent layers in the manner of Lasagne: gates side by side, masks, clipped gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import theano
import theano.tensor as T
from layers import Layer, constant, numbers


def normal(shape: tuple[int, ...]) -> np.ndarray:
    return numbers.normal(0.0, 0.1, shape)


class _Recurrent(Layer):
    """States (batch, time, units) of an input (batch, time, features), or the last with `last`.

    A second incoming layer is a mask (batch, time): where it is 0 the state is held. Gradients are
    clipped to +-`grad_clip` at each step, unless it is 0. The initial states are learned.
    """

    gates: int
    states: int = 1

    def __init__(
        self, incoming: Any, num_units: int, grad_clip: float = 0.0, backwards: bool = False,
        last: bool = False, learn_init: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(incoming)
        self.num_units, self.grad_clip = num_units, grad_clip
        self.backwards, self.last = backwards, last
        num_inputs = int(np.prod(self.input_shape[2:]))
        width = self.gates * num_units
        self.W_in = self.add_param(normal, (num_inputs, width), name="W_in")
        self.W_hid = self.add_param(normal, (num_units, width), name="W_hid")
        self.b = self.add_param(constant(0), (width,), name="b", regularizable=False)
        self.inits = [
            self.add_param(
                constant(0), (1, num_units), name=f"init{k}", trainable=learn_init,
                regularizable=False,
            )
            for k in range(self.states)
        ]  # fmt: skip

    def get_output_shape_for(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        if self.last:
            return input_shape[0], self.num_units
        return input_shape[0], input_shape[1], self.num_units

    def clipped(self, x: Any) -> Any:
        if not self.grad_clip:
            return x
        return theano.gradient.grad_clip(x, -self.grad_clip, self.grad_clip)

    def slice_w(self, x: Any, n: int) -> Any:
        return x[:, n * self.num_units : (n + 1) * self.num_units]

    def new_states(self, input: Any, *previous: Any) -> list[Any]:
        raise NotImplementedError

    def get_output_for(self, input: Any, mask: Any = None, **kwargs: Any) -> Any:
        if input.ndim > 3:
            input = T.flatten(input, 3)
        # scan walks over the first axis; the product by W_in needs no loop.
        input = input.dimshuffle(1, 0, 2)
        _, num_batch, _ = input.shape
        input = T.dot(input, self.W_in) + self.b

        def step(input_n: Any, *rest: Any) -> list[Any]:
            return self.new_states(input_n, *rest[: self.states])

        def step_masked(input_n: Any, mask_n: Any, *rest: Any) -> list[Any]:
            previous = rest[: self.states]
            new = self.new_states(input_n, *previous)
            return [T.switch(mask_n, n, p) for n, p in zip(new, previous, strict=True)]

        sequences, fn = [input], step
        if mask is not None:
            mask = mask.dimshuffle(1, 0, "x")
            sequences, fn = [input, mask], step_masked
        ones = T.ones((num_batch, 1))
        outputs = theano.scan(
            fn=fn,
            sequences=sequences,
            outputs_info=[T.dot(ones, init) for init in self.inits],
            go_backwards=self.backwards,
            non_sequences=[self.W_hid],
            strict=True,
        )[0]
        hid_out = outputs if self.states == 1 else outputs[-1]
        if self.last:
            return hid_out[-1]
        hid_out = hid_out.dimshuffle(1, 0, 2)
        return hid_out[:, ::-1] if self.backwards else hid_out


class RecurrentLayer(_Recurrent):
    gates = 1

    def new_states(self, input: Any, *previous: Any) -> list[Any]:
        (hid,) = previous
        return [T.tanh(self.clipped(input + T.dot(hid, self.W_hid)))]


class LSTMLayer(_Recurrent):
    """States: the cells, then what is put out."""

    gates, states = 4, 2

    def new_states(self, input: Any, *previous: Any) -> list[Any]:
        cell, hid = previous
        gates = self.clipped(input + T.dot(hid, self.W_hid))
        sigmoid: Callable[[Any], Any] = T.nnet.sigmoid
        ingate, forgetgate, outgate = (sigmoid(self.slice_w(gates, n)) for n in (0, 1, 3))
        cell = forgetgate * cell + ingate * T.tanh(self.slice_w(gates, 2))
        return [cell, outgate * T.tanh(cell)]


class GRULayer(_Recurrent):
    gates = 3

    def new_states(self, input: Any, *previous: Any) -> list[Any]:
        (hid,) = previous
        hid_input = self.clipped(T.dot(hid, self.W_hid))
        input = self.clipped(input)
        resetgate = T.nnet.sigmoid(self.slice_w(hid_input, 0) + self.slice_w(input, 0))
        updategate = T.nnet.sigmoid(self.slice_w(hid_input, 1) + self.slice_w(input, 1))
        hidden = self.slice_w(input, 2) + resetgate * self.slice_w(hid_input, 2)
        hidden = T.tanh(self.clipped(hidden))
        return [(1 - updategate) * hid + updategate * hidden]
