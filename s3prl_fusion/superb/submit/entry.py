"""What a submission is of: the checkpoints of an upstream's runs, and what the upstream itself costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...upstreams.entries import Size, known
from ..scores.leaderboard import PROFILED_SAMPLES
from .submission import Run, SubmissionError

HEADS = ("modelrc", "model")  # the head's part of a recipe's downstream_expert


@dataclass(frozen=True)
class Trained:
    """What a task's checkpoint tells; of a task with several folds the first one's.

    Attributes:
        run: where it is.
        args: run_downstream's arguments.
        fusion: the fusion as `FusionConfig.to_dict` gives it; a stock upstream is a fusion of one.
        shapes: number and width of each member's hidden states; None for a stock upstream.
        featurizer, head: trained parameters.
        only_weights: whether the featurizer has nothing but weights of layers.
        stock_head: whether the head is configured as SUPERB's recipe has it.
        upstream: parameters of the upstream, frozen or not.
    """

    run: Run
    args: Any
    fusion: Mapping[str, Any]
    shapes: list[tuple[int, int]] | None
    featurizer: int
    head: int
    only_weights: bool
    stock_head: bool
    upstream: int

    @property
    def is_picked(self) -> bool:
        """Whether run_downstream's -s or -l chose hidden states, where the default is a weighted sum of all."""
        return (self.args.upstream_feature_selection, self.args.upstream_layer_selection) != ("hidden_states", None)


@dataclass(frozen=True)
class Entry:
    """One upstream with its runs, one a task."""

    name: str
    trained: Sequence[Trained]

    @property
    def first(self) -> Trained:
        """What holds for all tasks stands here."""
        return self.trained[0]

    @property
    def is_stock(self) -> bool:
        """Whether it is under s3prl's own featurizer."""
        return self.first.shapes is None

    @property
    def members(self) -> list[str]:
        """The members' hub entries."""
        return [member["name"] for member in self.first.fusion["members"]]

    @property
    def sizes(self) -> list[Size] | None:
        """The members' sizes, if all are known without loading them."""
        sizes = [size for size in (known(name).size for name in self.members) if size]
        return sizes if len(sizes) == len(self.members) else None


@dataclass(frozen=True)
class Costs:
    """What only the loaded upstream tells.

    Attributes:
        rate: samples a frame.
        macs: of the upstream's forward, by group of `PROFILED_SAMPLES`, and "total".
        interface_macs: the same of the interface; None for a stock upstream.
    """

    rate: int
    macs: Mapping[str, int]
    interface_macs: Mapping[str, int] | None


def read(name: str, runs: Sequence[Run]) -> Entry:
    """Read a checkpoint of each task.

    Raises:
        SubmissionError: The tasks were trained with different upstreams or interfaces.
        ValueError: A file is no checkpoint of s3prl's runner.
    """
    entry = Entry(name, [_read(run) for run in runs])
    for other in entry.trained[1:]:
        for what, one, two in (
            ("upstream", entry.first.fusion["members"], other.fusion["members"]),
            ("interface", entry.first.fusion["interface"], other.fusion["interface"]),
            ("normalize", _is_normalized(entry.first), _is_normalized(other)),
            ("-f", entry.first.args.upstream_trainable, other.args.upstream_trainable),
        ):
            if one != two:
                raise SubmissionError(
                    f"{other.run.folder} has another {what} than {entry.first.run.folder}: {two} and {one}; a "
                    "submission is of one upstream, so move one of the folders away"
                )
    return entry


def _is_normalized(trained: Trained) -> bool:
    return bool(trained.fusion.get("normalize"))


def _read(run: Run) -> Trained:
    import yaml

    from ... import assets, checkpoint
    from ...host.ckpt import read_ckpt

    states, score = read_ckpt(run.fold(run.task.folds[0]).best_ckpt(run.task)), run.scores[0]
    args, remembered = states["Args"], checkpoint.read(states["Featurizer"])
    recipe = yaml.safe_load((assets.downstream_configs_dir() / run.task.config).read_text(encoding="utf-8"))
    heads = [[config["downstream_expert"].get(key) for key in HEADS] for config in (recipe, states["Config"])]
    return Trained(
        run=run,
        args=args,
        fusion=remembered["fusion"] if remembered else _stock(args),
        shapes=list(zip(remembered["layers"], remembered["dims"])) if remembered else None,
        featurizer=score["featurizer_parameters"],
        head=score["downstream_parameters"],
        only_weights=set(states["Featurizer"]) <= {"weights", "chosen"},
        stock_head=heads[0] == heads[1],
        upstream=score["frozen_parameters"] or score["finetuned_parameters"],
    )


def _stock(args: Any) -> dict[str, Any]:
    options = {"name": args.upstream, "ckpt": args.upstream_ckpt, "model_config": args.upstream_model_config}
    member = {key: value for key, value in options.items() if value is not None}
    fusion = {"members": [member], "interface": {"name": "weighted_sum"}, "stock": True}
    return {**fusion, "normalize": args.upstream_feature_normalize}


def measure(entry: Entry, device: str = "cpu") -> Costs:
    """Load the upstream and run it on the leaderboard's 32 lengths, with a progress bar.

    Raises:
        SubmissionError: It cannot be loaded here.
        ValueError: There is no such device.
    """
    from ... import costs
    from ...config import FusionConfig
    from ...devices import check_device
    from ...host.upstream import load_pair

    check_device(device)
    try:
        upstream, featurizer = load_pair(FusionConfig.from_record(entry.first.fusion), device)
    except Exception as error:  # a hub, a missing package, a file that is gone: what they raise is theirs
        raise SubmissionError(
            f"{entry.name} cannot be loaded here to count its multiply-accumulates: {error}. Mend that, or say "
            "--no-macs: it writes the form with those fields left open"
        ) from error
    table = costs.profile_groups(upstream, featurizer, PROFILED_SAMPLES, device).set_index("utterances")
    interface = None if featurizer is None else table["interface"].to_dict()
    rate = upstream.get_downsample_rates("hidden_states")
    return Costs(rate, table["upstream"].to_dict(), interface)
