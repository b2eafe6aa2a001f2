"""Running an encoder of transformers, of a family that `families` has a row of: its features, its layers' states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from fnmatch import fnmatch
from functools import partial
from inspect import signature
from math import ceil, prod
from typing import Any, Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..alignment import align_frames
from ..errors import UsageError
from ..waveforms import SAMPLE_RATE
from .family import Family, fewest_samples, num_frames
from .rates import MIN_FRAMES


class Encoder(nn.Module):
    """An encoder of a known family, as an upstream.

    Args:
        ckpt: what messages call it.
        model: the part that is run, see `family.Family`; what comes behind its layers is dropped.
        config: its config, or the whole model's where it has none of its own.
        extractor: its feature extractor, which masks padding where it says so.
        family: its row.
        masks: whether padding is masked.

    Raises:
        UsageError: frames of windows are no whole samples apart.
    """

    def __init__(self, ckpt: str, model: Any, config: Any, extractor: Any, family: Family, masks: bool) -> None:
        super().__init__()
        self.ckpt, self.model, self.extractor, self.family, self.masks = ckpt, model, extractor, family, masks
        for behind in family.drop:
            if getattr(self.model, behind, None) is not None:
                setattr(self.model, behind, None)
        self.config = config
        self.hushed = [
            module
            for path, module in self.model.named_modules()
            if any(fnmatch(path, f"*{end}") for end in family.hush)
        ]
        self.front = family.front(self.config, self.extractor)
        self.window = family.window(self.config, self.extractor) if family.window else None
        samples = prod(stride for _, stride, _ in self.front)
        self.exact_rate = samples * SAMPLE_RATE / self.extractor.sampling_rate
        self.rate = round(self.exact_rate)
        if self.rate != self.exact_rate and self.window:
            raise UsageError(
                f"{ckpt} has a frame every {samples} samples at {self.extractor.sampling_rate} Hz, which are "
                f"{self.exact_rate:.2f} at {SAMPLE_RATE} Hz; in windows these must be whole: take another model"
            )
        # What is shorter has no frame, and one frame alone no variance.
        self.least = family.fewest or fewest_samples(self.front, MIN_FRAMES)

    def get_downsample_rates(self, key: str | None = None) -> int:
        """Return samples a frame, for every hidden state."""
        return self.rate

    def num_frames(self, num_samples: int) -> int:
        """Count the frames of an utterance of ``num_samples`` samples."""
        if self.rate != self.exact_rate:
            return max(MIN_FRAMES, num_samples // self.rate)
        return self._given_frames(num_samples)

    def _given_frames(self, num_samples: int) -> int:
        """Count those that the model gives."""
        samples = ceil(num_samples * self.extractor.sampling_rate / SAMPLE_RATE)
        return max(1, num_frames(self.front, samples if self.window else max(samples, self.least)))

    def forward(self, wavs: Sequence[Tensor]) -> dict[str, list[Tensor]]:
        """Return ``{"hidden_states": [...]}``, each (B, T, D), for B waveforms of (T',) samples, 16 kHz.

        Raises:
            UsageError: there are not as many frames as the model's config says.
        """
        longest = max(len(wav) for wav in wavs)
        given = [resampled(wav.detach().float(), self.extractor) for wav in wavs]
        states = self._encode_windows(given) if self.window else self._encode(given)
        frames = self._given_frames(longest)
        if self.window or self.family.crop:
            states = [state[:, :frames] for state in states]
        if states[0].size(1) != frames:
            raise UsageError(
                f"{self.ckpt} gives {states[0].size(1)} frames for {longest} samples, and by its config.json and its "
                f"preprocessor_config.json there would be {frames}; are the two of one model?"
            )
        if self.rate != self.exact_rate:
            valid = [self._given_frames(len(wav)) for wav in wavs]
            states = align_frames(states, self.exact_rate, self.rate, self.num_frames(longest), valid)
        return {"hidden_states": states}

    def _encode_windows(self, wavs: Sequence[Tensor]) -> list[Tensor]:
        """Encode windows of the one length that the model takes, and join their frames."""
        assert self.window
        size, step = self.window
        pieces = []
        for start in range(0, max(len(wav) for wav in wavs), step):
            # An utterance that has ended goes on as a little silence: a mask without a frame would give NaN.
            cut = [wav[start : start + size] for wav in wavs]
            pieces.append([state[:, : step // self.rate] for state in self._encode(cut)])
        return [torch.cat(layer, dim=1) for layer in zip(*pieces)]

    def _encode(self, wavs: Sequence[Tensor]) -> list[Tensor]:
        wavs = [F.pad(wav, (0, max(0, self.least - len(wav)))) for wav in wavs]
        x, mask = features(self.extractor, wavs, self.family.takes)
        x = x.to(next(self.model.parameters()).dtype)
        masks = {self.family.mask: mask} if self.masks else {}
        found = (_module(self.model, path) for path in self.family.layers)
        layers = next((module for module in found if module is not None), None)
        with ExitStack() as hooks:
            if self.masks and self.hushed:
                valid = self._valid_frames(wavs)
                for module in self.hushed:
                    hooks.enter_context(module.register_forward_pre_hook(partial(_hush, valid)))
            states = record(layers, partial(self.family.run, self.model, x, masks))
        norm = self.family.norm(self.config)
        if norm:
            states[-1] = self.model.get_submodule(norm)(states[-1])
        return [self.family.shape(state, self.config) for state in states] if self.family.shape else states

    def _valid_frames(self, wavs: Sequence[Tensor]) -> Tensor:
        """Mark the frames of each waveform, which is at the model's sampling rate: (B, 1, T)."""
        frames = torch.tensor([num_frames(self.front, len(wav)) for wav in wavs])
        return (torch.arange(int(frames.max())) < frames[:, None]).unsqueeze(1).to(wavs[0].device)


def resampled(wav: Tensor, extractor: Any) -> Tensor:
    """Bring a waveform of 16 kHz to a feature extractor's sampling rate."""
    if extractor.sampling_rate == SAMPLE_RATE:
        return wav
    from torchaudio.functional import resample

    return resample(wav, SAMPLE_RATE, extractor.sampling_rate)


def features(extractor: Any, wavs: Sequence[Tensor], takes: Mapping[str, Any] | None = None) -> tuple[Tensor, Tensor]:
    """Run a feature extractor of transformers on each waveform alone, so that no normalisation sees padding.

    Args:
        extractor: it.
        wavs: B waveforms, each (T',), at its sampling rate.
        takes: keyword arguments for it.

    Returns:
        what it makes, B of them, each padded to the longest; and (B, T), 1 for what is no padding.
    """
    usual = {"sampling_rate": extractor.sampling_rate, "return_tensors": "pt", "return_attention_mask": True}
    taken = signature(extractor.__call__).parameters
    options = {**{key: value for key, value in usual.items() if key in taken}, **(takes or {})}
    made, masks = [], []
    # Powers of a spectrum need the range and precision of float32.
    with torch.autocast(wavs[0].device.type, enabled=False):
        for wav in wavs:
            found = extractor(wav.cpu().numpy(), **options)
            made.append(found[extractor.model_input_names[0]][0])
            mask = found.get("attention_mask", found.get("padding_mask"))
            masks.append(torch.ones(made[-1].shape[:1]) if mask is None else mask[0])
    device = wavs[0].device
    padding = getattr(extractor, "padding_value", 0.0)  # Granite Speech's has none before transformers 5
    return together(made, padding).to(device), together(masks).long().to(device)


def record(layers: nn.ModuleList | None, run: Callable[[], Any]) -> list[Tensor]:
    """Run a model, and return what goes into the first of its layers and what each gives, or of none what it gives."""
    if layers is None:
        return [run()]
    states: list[Tensor] = []

    def note_input(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        states.append(args[0] if args else kwargs["hidden_states"])

    def note_output(layer: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        states.append(output[0] if isinstance(output, tuple) else output)

    with ExitStack() as hooks:
        hooks.enter_context(layers[0].register_forward_pre_hook(note_input, with_kwargs=True))
        for layer in layers:
            hooks.enter_context(layer.register_forward_hook(note_output))
        run()
    return states


def _hush(valid: Tensor, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return (args[0] * valid, *args[1:])


def _module(model: nn.Module, path: str) -> Any:
    for name in path.split("."):
        model = getattr(model, name, None)  # type: ignore[assignment]
    return model


def together(tensors: Sequence[Tensor], value: float = 0.0) -> Tensor:
    """Stack tensors, padded at the end of each dimension to the longest."""
    sizes = [max(sizes) for sizes in zip(*(tensor.shape for tensor in tensors))]
    padded = []
    for tensor in tensors:
        more = [size - own for size, own in zip(sizes, tensor.shape)]
        padded.append(F.pad(tensor, [side for count in reversed(more) for side in (0, count)], value=value))
    return torch.stack(padded)
