"""A gradient step on a device: shapes that stay, recorded once and replayed.

With nets this small a device waits for the launches of a step's operations more than it computes.
So what a step reads is copied into tensors that stay, rounded up in size by rows of zeros, which
must count for nothing; CUDA then records the step's operations once for each shape and replays
them as one launch. On the CPU there is nothing to gain: a step reads its inputs where they are.
Used by `learners.ppo_steps`, `learners.impala` and `learners.padded_imitation`.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch

_LOG = logging.getLogger(__name__)

MOST_RECORDINGS = 16
"""Of one step; two doublings of a size. Further shapes are taken operation by operation."""
_REHEARSALS = 3
_LEAST_MULTIPLE = 8

Step = Callable[[Sequence[torch.Tensor]], torch.Tensor]
"""Takes the inputs, changes parameters and moments in place, returns its numbers, float32 [m]."""


def room(size: int) -> int:
    """`size` rounded up to one of eight sizes between two powers of two, so by an eighth at most.

    Below 64 to a multiple of 8.
    """
    multiple = max(1 << max(size - 1, 1).bit_length() >> 4, _LEAST_MULTIPLE)
    return max(-(-size // multiple), 1) * multiple


class RecordedStep:
    """One kind of gradient step; `load` what it reads, then `take` it as often as wanted."""

    def __init__(
        self,
        step: Step,
        axes: Sequence[int | None],
        changed: Sequence[torch.Tensor],
        pads: bool,
    ) -> None:
        """Nothing is recorded yet.

        Args:
            step: what is taken. Rows of zeros must not change what it does, apart from rounding;
                it must not wait for the device, nor make shapes of what it reads.
            axes: for each input the axis whose size varies, or None.
            changed: what a step changes besides its inputs.
            pads: whether inputs are copied to tensors that stay; else they are used as they are.
        """
        self._step, self._axes, self._changed = step, tuple(axes), tuple(changed)
        self._pads = pads
        self._recordings: dict[tuple[torch.Size, ...], _Recording] = {}
        self._pool: Any = None
        self._refused = self._full = False
        self._take: Callable[[], torch.Tensor] | None = None

    @property
    def recordings(self) -> int:
        """Shapes that are kept."""
        return len(self._recordings)

    def load(self, inputs: Sequence[torch.Tensor]) -> None:
        """The next steps read these, as they are now; on the device of the parameters.

        A step may change its inputs; they are not given back.
        """
        assert len(inputs) == len(self._axes), (len(inputs), len(self._axes))
        if not self._pads:
            self._take = lambda: self._step(inputs)
            return
        shapes = tuple(_shape(*pair) for pair in zip(inputs, self._axes, strict=True))
        recording = self._recordings.get(shapes)
        if recording is None:
            self.unload()  # a shape that is not kept gives its memory back first
            recording = self._new(shapes, inputs)
        recording.fill(inputs)
        self._take = recording.take

    def unload(self) -> None:
        """Let go of what was loaded."""
        self._take = None

    def take(self) -> torch.Tensor:
        """One step; returns its numbers, float32 [m], which stay what they are."""
        assert self._take is not None, "nothing is loaded"
        return self._take()

    def _new(self, shapes: tuple[torch.Size, ...], inputs: Sequence[torch.Tensor]) -> "_Recording":
        recording = _Recording(self._step, self._axes, shapes, inputs)
        if len(self._recordings) >= MOST_RECORDINGS:
            if not self._full:
                _LOG.warning(
                    "shapes=%s are recorded, others are taken step by step", MOST_RECORDINGS
                )
            self._full = True
            return recording
        if inputs[0].device.type == "cuda" and not self._refused:
            self._record(recording, inputs)
        self._recordings[shapes] = recording
        return recording

    def _record(self, recording: "_Recording", inputs: Sequence[torch.Tensor]) -> None:
        """Have the device record the step; if it cannot, steps are launched anew from now on."""
        present = torch.cuda.current_stream()
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(present)
        with torch.cuda.stream(side):  # not the one whose work others wait for
            recording.rehearse(inputs, self._changed)
        present.wait_stream(side)
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        try:
            recording.record(self._pool)
        except RuntimeError as error:
            self._refused = True
            reason = " ".join(str(error).split())[:200]
            _LOG.warning("the device records no steps, each is launched anew: %s", reason)


class _Recording:
    """Inputs of one shape, that stay where they are, and the step on them."""

    def __init__(
        self,
        step: Step,
        axes: Sequence[int | None],
        shapes: Sequence[torch.Size],
        like: Sequence[torch.Tensor],
    ) -> None:
        self._step, self._axes = step, axes
        self._inputs = [t.new_zeros(shape) for t, shape in zip(like, shapes, strict=True)]
        self._graph: torch.cuda.CUDAGraph | None = None
        self._numbers: torch.Tensor | None = None

    def fill(self, inputs: Sequence[torch.Tensor]) -> None:
        """Copy the inputs, and zeros behind them."""
        for ours, theirs, axis in zip(self._inputs, inputs, self._axes, strict=True):
            if axis is None:
                ours.copy_(theirs)
                continue
            size = theirs.shape[axis]
            ours.narrow(axis, 0, size).copy_(theirs)
            ours.narrow(axis, size, ours.shape[axis] - size).zero_()

    def take(self) -> torch.Tensor:
        """See `RecordedStep.take`."""
        if self._graph is None or self._numbers is None:
            return self._step(self._inputs)
        self._graph.replay()
        return self._numbers.clone()  # the next replay overwrites them

    def rehearse(self, inputs: Sequence[torch.Tensor], changed: Sequence[torch.Tensor]) -> None:
        """Take the step on `inputs` some times, and undo each.

        Libraries choose kernels and take their memory at the first calls; a recording cannot.
        """
        before = [tensor.clone() for tensor in changed]
        for _ in range(_REHEARSALS):
            self.fill(inputs)
            self._step(self._inputs)
            torch._foreach_copy_(list(changed), before)

    def record(self, pool: Any) -> None:
        """Record the step, which is not taken by this.

        Args:
            pool: of memory, shared with other recordings: one at a time is replayed, and nothing
                of it is read once another is.

        Raises:
            RuntimeError: the device cannot record it.
        """
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            numbers = self._step(self._inputs)
        self._graph, self._numbers = graph, numbers


def _shape(tensor: torch.Tensor, axis: int | None) -> torch.Size:
    sizes = list(tensor.shape)
    if axis is not None:
        sizes[axis] = room(sizes[axis])
    return torch.Size(sizes)
