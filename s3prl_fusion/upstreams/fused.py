"""Several frozen upstreams that look like one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..alignment import align_frames
from ..audio import SAMPLE_RATE, check_wavs

if TYPE_CHECKING:
    from ..config import FusionConfig, MemberConfig

# Utterances shorter than this, or than three frames of the slowest member, are looked at one member at a time: s3prl's
# upstreams need less for two frames.
SHORT_SAMPLES = 1600
SHORT_FRAMES = 3
# Interpolating further apart than this would fill the memory with what one member does not say.
MAX_RATE_RATIO = 100
# One frame alone has no variance: upstreams that normalize over time would give NaN.
MIN_FRAMES = 2


class FusedUpstream(nn.Module):
    """The hidden states of all members, on the frame grid of the fastest one (the paper, section III).

    Nothing here learns: what does is in `s3prl_fusion.FusionFeaturizer`.

    Args:
        config: what is fused.
        members: the upstreams themselves, in the config's order: modules whose call maps a list of waveforms to a dict
            with ``hidden_states`` and that have ``get_downsample_rates(key) -> int``. ``None`` loads them from s3prl's
            hub, as the config says.

    Attributes:
        fusion: the config; the featurizer finds it here.
        layers, dims: number and width of each member's hidden states; known once it has run.

    Raises:
        ValueError, TypeError, FileNotFoundError: a member cannot be what the config says; raised before any is loaded.
    """

    def __init__(self, config: FusionConfig, members: Sequence[nn.Module] | None = None) -> None:
        super().__init__()
        if members is None:
            from ..host.members import load_members

            members = load_members(config.members)
        if len(members) != len(config.members):
            raise ValueError(f"the config names {len(config.members)} members; got {len(members)} modules")
        self.fusion = config
        self.members = nn.ModuleList(members)
        self.rates = [_rate(member, cfg.name) for member, cfg in zip(self.members, config.members)]
        self.rate = min(self.rates)
        _check_rates(self.rates, config)
        self.layers: list[int] = []
        self.dims: list[int] = []
        self._first_frames: list[int] | None = None

    def get_downsample_rates(self, key: str | None = None) -> int:
        """Samples a frame, for every hidden state: the fastest member's."""
        return self.rate

    def forward(self, wavs: Sequence[Tensor]) -> dict[str, list[Tensor]]:
        """Runs every member and aligns its frames.

        Args:
            wavs: B waveforms, each (T',), 16 kHz, floating point.

        Returns:
            ``{"hidden_states": [...]}``: the members' L_1 + ... + L_N states in order, each (B, T, D_i).

        Raises:
            TypeError, ValueError: a waveform is empty, not finite, not 1-D or not floating point; its index is named.
        """
        check_wavs(wavs)
        grouped = self.member_states(wavs)
        return {"hidden_states": [state for states in grouped for state in states]}

    def member_states(self, wavs: Sequence[Tensor]) -> list[list[Tensor]]:
        """As `forward`, unchecked, and grouped by member."""
        short = min(len(wav) for wav in wavs) < max(SHORT_SAMPLES, SHORT_FRAMES * max(self.rates))
        if len(self.members) > 1 or short:
            self._probe(wavs[0].device)
        outputs, lengths = [], []
        for i, (member, config) in enumerate(zip(self.members, self.fusion.members)):
            padded = [_pad(wav, self._min_samples(i)) for wav in wavs] if short else wavs
            outputs.append(_select(member(padded), config))
            lengths.append([len(wav) for wav in padded])
        self._check_shapes(outputs)
        if len(self.members) == 1:
            return outputs
        grid = min(range(len(self.members)), key=lambda i: (self.rates[i], self._first_frames[i]))
        frames = outputs[grid][0].size(1)
        return [self._align(i, grid, states, frames, lengths[i]) for i, states in enumerate(outputs)]

    def _check_shapes(self, outputs: list[list[Tensor]]) -> None:
        """Notes the members' layers and widths in the first call, and refuses others in a later one."""
        widths = [{state.size(-1) for state in states} for states in outputs]
        for config, dims in zip(self.fusion.members, widths):
            if len(dims) > 1:
                raise ValueError(
                    f"member {config.name!r} has hidden states of several widths, {sorted(dims)}; an interface takes "
                    "one width a member: choose `layers` of one width in a fusion YAML, or name it once for each width"
                )
        layers, dims = [len(states) for states in outputs], [min(dims) for dims in widths]
        if not self.layers:
            self.layers, self.dims = layers, dims
        for config, before, now in zip(self.fusion.members, zip(self.layers, self.dims), zip(layers, dims)):
            if before != now:
                raise ValueError(
                    f"member {config.name!r} gave {before[0]} hidden states of width {before[1]}, and now {now[0]} of "
                    f"{now[1]}; every call must give the same: turn its layer drop off (layerdrop: 0)"
                )

    def _align(self, i: int, grid: int, states: list[Tensor], frames: int, lengths: list[int]) -> list[Tensor]:
        """Member i's states on the grid of member ``grid``, which has ``frames`` frames."""
        on_grid = (self.rates[i], self._first_frames[i]) == (self.rates[grid], self._first_frames[grid])
        if on_grid and states[0].size(1) >= frames:
            return [state[:, :frames] for state in states]
        valid = [self._valid_frames(i, length) for length in lengths]
        return align_frames(states, self.rates[i], self.rate, frames, valid)

    def _valid_frames(self, i: int, num_samples: int) -> int:
        """Frames that member i gives for an utterance alone."""
        return max(0, (num_samples - self._first_frames[i]) // self.rates[i] + 1)

    def _min_samples(self, i: int) -> int:
        return self._first_frames[i] + (MIN_FRAMES - 1) * self.rates[i]

    @torch.no_grad()
    def _probe(self, device: torch.device) -> None:
        """Finds once, for each member, how many samples its first frame takes.

        A member of rate R gives floor((len - first) / R) + 1 frames. ``first`` is 400 for wav2vec 2.0 and fbank, but
        s3prl's upstreams do not say so: it is found by bisection within one frame's length. A member may instead offer
        ``num_frames(num_samples) -> int``.
        """
        if self._first_frames is not None:
            return
        training = self.training
        self.eval()
        first_frames = []
        for member, rate in zip(self.members, self.rates):
            noise = torch.randn(SAMPLE_RATE + rate, generator=torch.Generator().manual_seed(0)).to(device)
            count = getattr(member, "num_frames", None) or _counter(member, noise)
            first_frames.append(_first_frame(count, rate))
        self._first_frames = first_frames
        self.train(training)


def _rate(member: nn.Module, name: str) -> int:
    if not hasattr(member, "get_downsample_rates"):
        raise TypeError(f"member {name!r} has no get_downsample_rates(key), so its frames cannot be aligned; add one")
    rate = member.get_downsample_rates("hidden_states")
    if type(rate) is not int or rate < 1:
        raise TypeError(
            f"member {name!r}: get_downsample_rates must give a positive int, samples a frame; got {rate!r}"
        )
    return rate


def _check_rates(rates: Sequence[int], config: FusionConfig) -> None:
    fast, slow = (rates.index(extreme(rates)) for extreme in (min, max))
    if rates[slow] > MAX_RATE_RATIO * rates[fast]:
        raise ValueError(
            f"member {config.members[slow].name!r} gives a frame every {rates[slow]} samples, and "
            f"{config.members[fast].name!r} every {rates[fast]}; members' rates must be within a factor of "
            f"{MAX_RATE_RATIO}: leave one of the two out"
        )


def _select(output: dict, config: MemberConfig) -> list[Tensor]:
    """A member's hidden states as a list, of the layers that the config asks for."""
    if "hidden_states" not in output:
        raise ValueError(f"member {config.name!r} gives no hidden_states, only {sorted(output)}; it cannot be fused")
    states = output["hidden_states"]
    if isinstance(states, Tensor):
        states = [states]
    states = list(states.values()) if isinstance(states, dict) else list(states)
    if config.layers is None:
        return states
    count = len(states)
    for layer in config.layers:
        if not -count <= layer < count:
            raise ValueError(f"member {config.name!r} has hidden states 0 to {count - 1}; its layers ask for {layer}")
    return [states[layer] for layer in config.layers]


def _pad(wav: Tensor, samples: int) -> Tensor:
    return F.pad(wav, (0, max(0, samples - len(wav))))


def _counter(member: nn.Module, noise: Tensor) -> Callable[[int], int]:
    def count(num_samples: int) -> int:
        states = member([noise[:num_samples]])["hidden_states"]
        states = list(states.values()) if isinstance(states, dict) else states
        return (states if isinstance(states, Tensor) else states[0]).size(1)

    return count


def _first_frame(count: Callable[[int], int], rate: int) -> int:
    """The samples that the first of ``count(num_samples)`` frames takes, for a member of ``rate`` samples a frame."""
    frames = count(SAMPLE_RATE)
    low, high = SAMPLE_RATE, SAMPLE_RATE + rate
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) == frames else (low, middle)
    # `high` samples are the fewest that give frames + 1 of them.
    return high - frames * rate
