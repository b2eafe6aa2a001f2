"""Trained experiments, ready for inference on waveforms (s3prl's threads #539, #550 and #580 ask for it)."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Union

import torch
from torch import Tensor, nn

from .. import checkpoint
from ..audio import load
from ..costs import count_parameters
from ..devices import check_device
from ..errors import KindError, UsageError
from ..featurizer import FusionFeaturizer
from ..names import absolute, is_fused_name, is_yaml
from ..upstreams.outputs import are_finite
from ..upstreams.references import parse
from ..upstreams.windows import states_in_windows
from ..waveforms import check_wavs
from .checks import check_stock, fusion_of
from .ckpt import find_ckpt, read_experiment
from .hub import check_downstream, hub, quiet_torchaudio
from .members import entries, stock_loader
from .patches import Patches
from .recipes import find, table
from .recipes._names import check_names
from .recipes.ctc import supply_corpora
from .upstream import FusedUpstream

Wavs = Sequence[Union[Tensor, str, Path]]


@dataclass(frozen=True)
class LoadedExperiment:
    """A trained experiment: everything in evaluation mode, on one device.

    Attributes:
        upstream: the frozen upstream, fused or stock.
        featurizer: its trained featurizer.
        downstream: the recipe's DownstreamExpert; its ``model`` is the trained head.
        args: run_downstream's arguments of the training.
        config: the recipe's config.
    """

    upstream: nn.Module
    featurizer: nn.Module
    downstream: nn.Module
    args: argparse.Namespace
    config: dict[str, Any]

    @torch.no_grad()
    def features(self, wavs: Wavs, window: float | None = None) -> list[Tensor]:
        """Compute what the downstream gets.

        Args:
            wavs: B waveforms, each (T',), 16 kHz, on any device, of any precision; or paths of sound files.
            window: seconds that the upstream hears at once, one waveform after the other, so that long ones need less
                memory; None for all.

        Returns:
            B sequences of (T_i, D).

        Raises:
            CorpusError: a file cannot be read, or is not mono at 16 kHz; it is named. Or a hidden state is not finite.
            KindError, UsageError: a waveform is empty, not finite, not 1-D or not floating point; its index is named.
                Or a window, where the experiment has other features than hidden_states (``-s``). Or the features are
                not finite.
        """
        loaded = [wav.to(self.args.device, torch.float32) for wav in _loaded(wavs)]
        features = self._features(loaded, window)
        if not are_finite(features):
            raise UsageError(
                "the upstream's hidden states are finite, and the trained featurizer's features are not: the training "
                "has diverged, or the checkpoint is damaged"
            )
        return features

    def _features(self, wavs: list[Tensor], window: float | None) -> list[Tensor]:
        if window is None:
            return self.featurizer(wavs, self.upstream(wavs))
        selection = self.args.upstream_feature_selection
        if selection != "hidden_states":
            raise UsageError(f"a window needs hidden_states; the experiment was trained with -s {selection}")
        by_wav = [{"hidden_states": states_in_windows(self.upstream, wav, window)} for wav in wavs]
        return [self.featurizer([wav], states)[0] for wav, states in zip(wavs, by_wav)]

    @torch.no_grad()
    def predict(self, wavs: Wavs) -> list[str]:
        """Say about each waveform what the recipe does: its transcript, phonemes, speaker or emotion.

        One after the other, as ``-m inference`` does: in a batch, features have frames of padding, which heads hear.

        Args:
            wavs: as for `features`.

        Raises:
            CorpusError, KindError, UsageError: as for `features`.
            UsageError: the recipe has no prediction (SV's has none); use `features` and ``downstream``.
        """
        recipe = find(self.args.downstream, self.config)
        if recipe is None or recipe.predict is None:
            able = ", ".join(recipe.name for recipe in table() if recipe.predict)
            raise UsageError(
                f"the recipe {self.args.downstream!r} has no prediction here, only {able} have; "
                "call .downstream on .features(wavs)"
            )
        return [label for wav in _loaded(wavs) for label in recipe.predict(self.downstream, self.features([wav]))]


def _loaded(wavs: Wavs) -> list[Tensor]:
    """Read what is a path, and check all."""
    if isinstance(wavs, (str, Path)):
        raise KindError(f"wavs must be a list of waveforms or paths; got one path, {str(wavs)!r}: put it in a list")
    loaded = [load(wav) if isinstance(wav, (str, Path)) else wav for wav in wavs]
    check_wavs(loaded)
    return loaded


def load_experiment(
    expdir_or_ckpt: str | Path, device: str = "cpu", upstream: str | Path | None = None
) -> LoadedExperiment:
    """Load what `s3prl-fusion run` or s3prl itself has trained.

    The five recipes need no corpus for it; ER's labels are read from the corpus's meta data. s3prl, if it is not
    registered, and torch's random numbers are left as they are.

    Example:
        >>> experiment = sf.load_experiment("exp/asr")
        >>> (transcript,) = experiment.predict([wav])

    Args:
        expdir_or_ckpt: a checkpoint, or an experiment's folder, see `find_ckpt`. It may have moved.
        device: where everything runs.
        upstream: the fusion YAML's path, where it, and code beside it, have moved since the training; or what names an
            upstream of the user's own now.

    Raises:
        MissingFileError: there is no checkpoint, or a file that it was trained with is gone; the message names it.
        UsageError: the file is no checkpoint of s3prl's runner, or is of another fusion than its YAML says now, or
            there is no such device; or `upstream` is of another kind than the experiment's; or the checkpoint names
            code that the user has not (see docs/security.md).
    """
    check_device(device)
    path = find_ckpt(expdir_or_ckpt)
    states = read_experiment(path)
    args, config = states["Args"], states["Config"]
    if upstream is not None:
        _rename(args, str(upstream))
    args.device, args.init_ckpt, args.expdir = device, str(path), str(path.parent)
    hub()  # what s3prl lacks is supplied from here on, and it evaluates nothing
    with quiet_torchaudio(), torch.random.fork_rng(), _without_corpus(args, states):
        check_names(args.downstream, config)
        model = _restored(_upstream(args, states, named=upstream is not None), states, "Upstream", device)
        featurizer: Any = _restored(_featurizer(model, args, config), states, "Featurizer", device)
        head = _downstream(featurizer.output_dim, featurizer.downsample_rate, args, config)
        downstream = _restored(head, states, "Downstream", device)
    return LoadedExperiment(model, featurizer, downstream, args, config)


def _rename(args: argparse.Namespace, upstream: str) -> None:
    """Say where an experiment's upstream is now."""
    if is_yaml(upstream) and is_fused_name(args.upstream):
        args.upstream_model_config = None
    elif not (parse(upstream) and parse(args.upstream)):
        raise UsageError(
            f"upstream={upstream!r} must be a fusion YAML, and the experiment's own, {args.upstream!r}, a fusion, or "
            "both an upstream of your own; leave it out"
        )
    args.upstream = absolute(upstream)


def head_parameters(expdir_or_ckpt: str | Path, rate: int, widths: Sequence[int]) -> list[int]:
    """Count the parameters that an experiment's head would have for features of other widths.

    Args:
        expdir_or_ckpt: see `find_ckpt`.
        rate: samples a frame of the features.
        widths: of the features.

    Raises:
        UserError: see `load_experiment`; no upstream is loaded here.
    """
    path = find_ckpt(expdir_or_ckpt)
    states = read_experiment(path)
    args, config = states["Args"], states["Config"]
    args.device, args.expdir = "cpu", str(path.parent)
    hub()
    with quiet_torchaudio(), torch.random.fork_rng(), _without_corpus(args, states):
        check_names(args.downstream, config)
        return [count_parameters(_downstream(width, rate, args, config)) for width in widths]


def _restored(module: nn.Module, states: dict[str, Any], name: str, device: str) -> nn.Module:
    if name in states:
        module.load_state_dict(states[name])
    return module.to(device).eval()


def _upstream(args: argparse.Namespace, states: dict[str, Any], named: bool) -> nn.Module:
    remembered = checkpoint.read(states["Featurizer"])
    fusion = checkpoint.with_old_defaults(fusion_of(args, lambda: remembered, named), remembered)
    if not fusion.stock:
        return FusedUpstream(fusion)
    check_stock(args, fusion)
    if not parse(args.upstream) and args.upstream not in entries():
        raise UsageError(f"the experiment's upstream {args.upstream!r} is not in s3prl's hub of this environment")
    return stock_loader(fusion.members[0])(refresh=False)


def _featurizer(upstream: nn.Module, args: argparse.Namespace, config: dict[str, Any]) -> nn.Module:
    from s3prl.upstream.interfaces import Featurizer

    recipe = find(args.downstream, config)
    own = recipe.featurizer if recipe else None
    return (own or (FusionFeaturizer if isinstance(upstream, FusedUpstream) else Featurizer))(
        upstream.to(args.device),
        feature_selection=args.upstream_feature_selection,
        layer_selection=args.upstream_layer_selection,
        upstream_device=args.device,
        normalize=args.upstream_feature_normalize,
    )


@contextmanager
def _without_corpus(args: argparse.Namespace, states: dict[str, Any]) -> Iterator[None]:
    """Let the recipe's expert be built where its corpus is gone, until the block ends."""
    check_downstream(args.downstream)
    patches = Patches()
    try:
        supply_corpora(patches)
        recipe = find(args.downstream, states["Config"])
        if recipe:
            recipe.without_corpus(states["Config"], states["Downstream"], patches)
        yield
    finally:
        patches.undo()


def _downstream(width: int, rate: int, args: argparse.Namespace, config: dict[str, Any]) -> nn.Module:
    return import_module(f"s3prl.downstream.{args.downstream}.expert").DownstreamExpert(
        upstream_dim=width, upstream_rate=rate, **config, **vars(args)
    )
