"""Trained experiments, ready for inference on waveforms (s3prl's threads #539, #550 and #580 ask for it)."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .. import checkpoint
from ..audio import check_wavs
from ..devices import check_device
from ..errors import MissingFileError, UsageError
from ..featurizer import FusionFeaturizer
from .checks import fusion_of
from .ckpt import find_ckpt, read_ckpt
from .hub import quiet_torchaudio
from .inference import PREDICT
from .members import entries
from .patches import Patches
from .recipes import mend, supply_files, supply_libriphone
from .upstream import FusedUpstream


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
    def features(self, wavs: Sequence[Tensor]) -> list[Tensor]:
        """What the downstream gets.

        Args:
            wavs: B waveforms, each (T',), 16 kHz, on any device, of any precision.

        Returns:
            B sequences of (T_i, D).

        Raises:
            TypeError, ValueError: a waveform is empty, not finite, not 1-D or not floating point; its index is named.
        """
        check_wavs(wavs)
        wavs = [wav.to(self.args.device, torch.float32) for wav in wavs]
        return self.featurizer(wavs, self.upstream(wavs))

    @torch.no_grad()
    def predict(self, wavs: Sequence[Tensor]) -> list[str]:
        """What the recipe says about each waveform: its transcript, phonemes, speaker or emotion.

        One after the other, as ``-m inference`` does: in a batch, features have frames of padding, which heads hear.

        Args, Raises: as `features`.

        Raises:
            ValueError: the recipe is not one of asr, ctc, voxceleb1 and emotion; use `features` and ``downstream``.
        """
        if self.args.downstream not in PREDICT:
            raise UsageError(
                f"the recipe {self.args.downstream!r} has no prediction here, only {', '.join(PREDICT)} have; "
                "call .downstream on .features(wavs)"
            )
        check_wavs(wavs)
        predict = PREDICT[self.args.downstream]
        return [label for wav in wavs for label in predict(self.downstream, self.features([wav]))]


def load_experiment(expdir_or_ckpt: str | Path, device: str = "cpu") -> LoadedExperiment:
    """Loads what `s3prl-fusion run` or s3prl itself has trained.

    ASR, PR, SID and ER need no corpus for it; ER's labels are read from the corpus's meta data. s3prl, if it is not
    registered, and torch's random numbers are left as they are.

    Args:
        expdir_or_ckpt: a checkpoint, or an experiment's folder, see `find_ckpt`. It may have moved.
        device: where everything runs.

    Raises:
        FileNotFoundError: there is no checkpoint, or a file that it was trained with is gone; the message names it.
        ValueError: the file is no checkpoint of s3prl's runner, or is of another fusion than its YAML says now, or
            there is no such device.
    """
    check_device(device)
    path = find_ckpt(expdir_or_ckpt)
    states = read_ckpt(path)
    args, config = states["Args"], states["Config"]
    args.device, args.init_ckpt, args.expdir = device, str(path), str(path.parent)
    with quiet_torchaudio(), torch.random.fork_rng():
        upstream = _upstream(args, states)
        upstream = _restored(upstream, states, "Upstream", device)
        featurizer = _restored(_featurizer(upstream, args), states, "Featurizer", device)
        downstream = _restored(_downstream(featurizer, args, config, states), states, "Downstream", device)
    return LoadedExperiment(upstream, featurizer, downstream, args, config)


def _restored(module: nn.Module, states: dict[str, Any], name: str, device: str) -> nn.Module:
    if name in states:
        module.load_state_dict(states[name])
    return module.to(device).eval()


def _upstream(args: argparse.Namespace, states: dict[str, Any]) -> nn.Module:
    fusion = fusion_of(args, lambda: checkpoint.read(states["Featurizer"]))
    if not fusion.stock:
        return FusedUpstream(fusion)
    known = entries()
    if args.upstream not in known:
        raise UsageError(f"the experiment's upstream {args.upstream!r} is not in s3prl's hub of this environment")
    return known[args.upstream](ckpt=args.upstream_ckpt, model_config=args.upstream_model_config, refresh=False)


def _featurizer(upstream: nn.Module, args: argparse.Namespace) -> nn.Module:
    from s3prl.upstream.interfaces import Featurizer

    return (FusionFeaturizer if isinstance(upstream, FusedUpstream) else Featurizer)(
        upstream.to(args.device),
        feature_selection=args.upstream_feature_selection,
        layer_selection=args.upstream_layer_selection,
        upstream_device=args.device,
        normalize=args.upstream_feature_normalize,
    )


def _downstream(
    featurizer: nn.Module, args: argparse.Namespace, config: dict[str, Any], states: dict[str, Any]
) -> nn.Module:
    patches = Patches()
    supply_libriphone(patches)
    try:
        module = import_module(f"s3prl.downstream.{args.downstream}.expert")
        with _without_corpus(module, args.downstream, config, states["Downstream"]):
            return module.DownstreamExpert(
                upstream_dim=featurizer.output_dim,
                upstream_rate=featurizer.downsample_rate,
                **config,
                **vars(args),
            )
    finally:
        patches.undo()


@contextmanager
def _without_corpus(module: Any, downstream: str, config: dict[str, Any], state: dict[str, Tensor]) -> Iterator[None]:
    """A recipe's expert builds its datasets at once, for which the corpus would be needed: here they are empty."""
    patches = Patches()
    # The head's last parameter is the bias of its classes.
    classes = list(state.values())[-1].numel()
    if downstream == "voxceleb1":
        patches.set(module, "SpeakerClassifiDataset", _empty(module.SpeakerClassifiDataset, speaker_num=classes))
    elif downstream == "emotion":
        labels = _emotions(config["downstream_expert"]["datarc"])
        patches.set(module, "IEMOCAPDataset", _empty(module.IEMOCAPDataset, class_num=classes, idx2emotion=labels))
    elif downstream in PREDICT:
        supply_files(downstream, config)
    else:
        mend(downstream, config, patches)
    try:
        yield
    finally:
        patches.undo()


def _empty(dataset: type, **attributes: Any) -> type:
    """A dataset class whose instances have no items, but the attributes given."""
    return type(dataset.__name__, (dataset,), {"__init__": lambda *_: None, "__len__": lambda _: 0, **attributes})


def _emotions(datarc: dict[str, Any]) -> dict[int, str]:
    """ER's labels by index, from the first fold's meta data that is there (s3prl/downstream/emotion/dataset.py:23)."""
    found = sorted(Path(datarc["meta_data"]).glob("Session*/train_meta_data.json"))
    if not found:
        raise MissingFileError(
            f"{datarc['meta_data']} has no Session*/train_meta_data.json, which names the emotions that the experiment "
            "was trained on; put one there (the audio is not needed)"
        )
    labels = json.loads(found[0].read_text(encoding="utf-8"))["labels"]
    return {index: emotion for emotion, index in labels.items()}
