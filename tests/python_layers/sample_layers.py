"""Python layers as users write them, for the tests beside this file."""

import ast
from typing import ClassVar

import caffe
import numpy as np


class EuclideanLoss(caffe.Layer):
    """Half the mean squared distance, as the built-in layer; it keeps the difference for its backward."""

    def setup(self, bottom, top):
        if len(bottom) != 2:
            raise ValueError("two bottoms expected")

    def reshape(self, bottom, top):
        self.difference = np.zeros(bottom[0].shape, np.float32)
        top[0].reshape(1)

    def forward(self, bottom, top):
        self.difference[...] = bottom[0].data - bottom[1].data
        top[0].data[...] = np.sum(self.difference**2) / bottom[0].num / 2

    def backward(self, top, propagate_down, bottom):
        for index, sign in enumerate((1, -1)):
            if propagate_down[index]:
                bottom[index].diff[...] = top[0].diff[0] * sign * self.difference / bottom[index].num


class Gain:
    """``y = g * x`` with a learned number a channel, which begins at the number in ``param_str``."""

    def setup(self, bottom, top):
        self.blobs.add_blob(bottom[0].channels)
        self.blobs[0].data[...] = float(self.param_str)

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data * self._gain(bottom)

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            bottom[0].diff[...] = top[0].diff * self._gain(bottom)
        axes = tuple(axis for axis in range(bottom[0].data.ndim) if axis != 1)
        self.blobs[0].diff[...] += (top[0].diff * bottom[0].data).sum(axis=axes)

    def _gain(self, bottom):
        return self.blobs[0].data.reshape(1, -1, *[1] * (bottom[0].data.ndim - 2))


class Clamp:
    """Works in place: negative numbers become 0, on its bottom's own memory."""

    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        pass

    def forward(self, bottom, top):
        bottom[0].data[bottom[0].data < 0] = 0

    def backward(self, top, propagate_down, bottom):
        bottom[0].diff[top[0].data <= 0] = 0


class Rows:
    """A source of data: image ``i`` is full of the number i, its label is i; each pass takes the next."""

    def setup(self, bottom, top):
        if bottom:
            raise ValueError("a source of data has no bottom")
        self.shape = ast.literal_eval(self.param_str)["shape"]
        self.index = 0

    def reshape(self, bottom, top):
        self.data = np.full(self.shape, self.index, np.float32)
        top[0].reshape(1, *self.data.shape)
        top[1].reshape(1)

    def forward(self, bottom, top):
        top[0].data[...] = self.data
        top[1].data[...] = self.index
        self.index += 1

    def backward(self, top, propagate_down, bottom):
        pass


class Recorder:
    """Has no top: it remembers what it saw, and in which phase."""

    seen: ClassVar[list] = []

    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        pass

    def forward(self, bottom, top):
        self.seen.append((self.phase, float(bottom[0].data.flat[0])))


class Growing(Rows):
    """Its images become larger from run to run."""

    def reshape(self, bottom, top):
        top[0].reshape(1, 1 + self.index)
        top[1].reshape(1)

    def forward(self, bottom, top):
        self.index += 1


class Fails(Clamp):
    """Raises in the method that ``param_str`` names."""

    def setup(self, bottom, top):
        self.fail("setup")

    def reshape(self, bottom, top):
        self.fail("reshape")
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        self.fail("forward")

    def backward(self, top, propagate_down, bottom):
        self.fail("backward")

    def fail(self, method):
        if self.param_str == method:
            raise RuntimeError(f"no {method} today")
        if self.param_str == "exit":
            raise SystemExit(3)


class Shapeless(Clamp):
    """Forgets to give its top a shape."""
