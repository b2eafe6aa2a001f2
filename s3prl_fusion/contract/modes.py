"""What calls do under other modes: twice the same, in training mode, with gradients, in half precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..upstreams.alone import alone
from ..upstreams.outputs import are_finite
from .findings import OK, WARNING, Finding, explained
from .probe import Probe, checked, largest_difference

SECONDS = 1.0
ROUNDING = 1e-5
# What a cast to bf16 changes in s3prl's own models is below half of this.
BF16 = 0.1
_DROPOUTS = (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout, torch.dropout)


class WithoutDropout(TorchFunctionMode):
    """Lets every dropout pass what it gets, attention's too, in training mode."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in _DROPOUTS:
            return args[0] if args else kwargs["input"]
        if func is F.multi_head_attention_forward:
            kwargs["training"] = False
        if func is F.scaled_dot_product_attention:
            kwargs.pop("dropout_p", None)
            args = (*args[:4], 0.0, *args[5:]) if len(args) > 4 else args
        return func(*args, **kwargs)


def deterministic(probe: Probe) -> Finding:
    """Compare two calls on one utterance, one after the other."""
    wavs = probe.noise(SECONDS)
    with alone(probe.module, torch.device(probe.device)):
        first, second = (checked(probe.module(wavs), wavs) for _ in range(2))
    largest = largest_difference(first, second)
    values = {"largest_difference": largest}
    if largest <= ROUNDING:
        equal = "are equal to the bit" if largest == 0 else f"differ by rounding, {largest:.1g}"
        return Finding("deterministic", OK, f"two calls {equal}", values)
    said = (
        f"two calls differ, by {largest:.2g} of a hidden state's norm: something is random in evaluation mode "
        "(dither?); scores vary with it, and a cache keeps the first"
    )
    return Finding("deterministic", WARNING, said, values)


def half_precision(probe: Probe) -> Finding:
    """Compare a call under autocast in bf16 with one in single precision."""
    wavs = probe.noise(SECONDS)
    expected, device = probe.states(wavs), torch.device(probe.device)
    try:
        with alone(probe.module, device), torch.autocast(device.type, torch.bfloat16):
            states = checked(probe.module(wavs), wavs)
    except Exception as error:  # of whatever kind its code raises
        return Finding("half precision", WARNING, f"`precision: bf16` does not work: {explained(error)}")
    if not are_finite(states):
        return Finding("half precision", WARNING, "`precision: bf16` gives NaN or infinity; leave it out")
    largest = largest_difference(states, expected)
    said, values = f"bf16 changes hidden states by up to {largest:.2g} of their norm", {"largest_difference": largest}
    if largest <= BF16:
        return Finding("half precision", OK, said, values)
    return Finding("half precision", WARNING, f"{said}, which is much; leave `precision: bf16` out", values)


def training(probe: Probe) -> Finding:
    """Look at what train() changes beyond dropout, which shows only where a run trains the upstream (-f)."""
    wavs = probe.noise(SECONDS, SECONDS)
    expected = probe.states(wavs)
    with _in_training(probe) as changed:
        counts = {len(checked(probe.module(wavs), wavs)) for _ in range(3)}
        with WithoutDropout():
            states = checked(probe.module(wavs), wavs)
        buffers = changed()
    values = {"hidden_states": sorted(counts), "buffers": buffers}
    if counts != {len(expected)}:
        said = f"train() gives {sorted(counts)} hidden states in place of {len(expected)}: switch layer drop off for -f"
        return Finding("training mode", WARNING, said, values)
    largest = values["largest_difference"] = largest_difference(states, expected)
    said = "train() changes nothing but dropout"
    if largest > ROUNDING:
        said = f"train() changes hidden states by {largest:.2g} of their norm beyond dropout (masks, batch norm?)"
    if buffers:
        said += f"; a call there changes {buffers[0]}{f' and {len(buffers) - 1} more' if len(buffers) > 1 else ''}"
    if largest > ROUNDING or buffers:
        return Finding("training mode", WARNING, f"{said}; it matters for -f alone", values)
    return Finding("training mode", OK, said, values)


@contextmanager
def _in_training(probe: Probe) -> Iterator[Any]:
    """Put an upstream into training mode in the block, without a trace; yield what names the buffers that changed."""
    before = {name: buffer.clone() for name, buffer in probe.module.named_buffers()}
    rnns = {module: module.dropout for module in probe.module.modules() if isinstance(module, nn.RNNBase)}

    def changed() -> list[str]:
        return [name for name, buffer in probe.module.named_buffers() if not _same(buffer, before.get(name))]

    with alone(probe.module, torch.device(probe.device)):
        probe.module.train()
        for rnn in rnns:
            rnn.dropout = 0.0  # between its layers, which no function of torch's shows
        try:
            yield changed
        finally:
            probe.module.eval()
            for rnn, dropout in rnns.items():
                rnn.dropout = dropout
            for name, buffer in probe.module.named_buffers():
                if name in before and not _same(buffer, before[name]):
                    buffer.copy_(before[name])


def _same(buffer: Tensor, before: Tensor | None) -> bool:
    return before is not None and buffer.shape == before.shape and torch.equal(buffer, before)


def gradients(probe: Probe) -> Finding:
    """Look whether gradients stay off where a run switches them off, and reach the weights where it does not (-f)."""
    wavs = probe.noise(SECONDS)
    if any(state.requires_grad for state in probe.states(wavs)):
        said = "a call under torch.no_grad() builds a graph all the same, which a frozen upstream's memory pays for"
        return Finding("gradients", WARNING, f"{said}; take enable_grad out of it", {})
    weights = [weight for weight in probe.module.parameters() if weight.requires_grad]
    if not weights:
        return Finding("gradients", OK, "no weight asks for any: -f would train nothing", {"weights": 0, "reached": 0})
    with alone(probe.module, torch.device(probe.device)), torch.enable_grad():
        states = [state for state in checked(probe.module(wavs), wavs) if state.requires_grad]
        found = torch.autograd.grad([s.float().sum() for s in states], weights, allow_unused=True) if states else ()
    reached = sum(gradient is not None for gradient in found)
    values = {"weights": len(weights), "reached": reached}
    said = f"off in a frozen upstream; with -f they reach {reached} of {len(weights)} weights"
    if reached:
        return Finding("gradients", OK, said, values)
    return Finding("gradients", WARNING, f"{said}: a detach() or no_grad() is in the way, so -f trains nothing", values)
