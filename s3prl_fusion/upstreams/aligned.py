"""Several frozen upstreams on the frame grid of the fastest one."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any, Callable, Protocol, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..alignment import match_widths
from ..errors import UsageError
from ..waveforms import check_wavs
from .alone import alone
from .chosen import all_states, check_layers, chosen_states
from .frames import FrameGrid, layer_counter, trims, untrimmable
from .layer_rates import Counts, measure_layers
from .outputs import are_finite, check_finite
from .rates import first_frame

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Member(Protocol):
    """What is to be known of a member, see `config.MemberConfig`."""

    @property
    def name(self) -> str: ...

    @property
    def layers(self) -> tuple[int, ...] | None: ...

    @property
    def precision(self) -> str | None: ...

    @property
    def device(self) -> str | None: ...

    def runs_as(self, other: Any) -> bool: ...


class Fusion(Protocol):
    """What is to be known of a fusion, see `config.FusionConfig`."""

    @property
    def members(self) -> Sequence[Member]: ...


class AlignedMembers(nn.Module):
    """The hidden states of all members, on the frame grid of the fastest one (the paper, section III).

    Members that differ in layers alone and are one module run once a batch. A member with a device of its own stays
    there, whatever moves the whole; waveforms go to it and hidden states come back.

    Args:
        fusion: what is fused.
        members: the upstreams themselves, in the fusion's order: modules whose call maps a list of waveforms to a dict
            with ``hidden_states``. Their frames' rates are measured, whatever ``get_downsample_rates(key)`` says.

    Attributes:
        fusion: what is fused; the featurizer finds it here.
        members: a module for each member of the fusion; the same one twice for those that differ in layers alone.
        sources: for each member the index of the first one whose forward is its own too.
        grid: the members' frames.
        layers, dims: number and width of each member's hidden states; known once it has run.

    Raises:
        UserError: there are more or fewer members than the fusion names, or what one says of its rate is no number.
    """

    def __init__(self, fusion: Fusion, members: Sequence[nn.Module]) -> None:
        super().__init__()
        if len(members) != len(fusion.members):
            raise UsageError(f"the config names {len(fusion.members)} members; got {len(members)} modules")
        self.fusion = fusion
        self.members = nn.ModuleList(members)
        self.sources = [_source(i, members, fusion) for i in range(len(members))]
        for member, config in zip(members, fusion.members):
            if config.device is not None:
                member.to(config.device)
        self.grid = FrameGrid(members, [config.name for config in fusion.members])
        self.layers: list[int] = []
        self.dims: list[int] = []

    def get_downsample_rates(self, key: str | None = None) -> int:
        """Return samples a frame, for every hidden state: the fastest member's, measured at the first call."""
        own = (m for m, config in zip(self.members, self.fusion.members) if config.device is None)
        self._measure(next((p.device for m in own for p in m.parameters()), torch.device("cpu")))
        return self.grid.rate

    def forward(self, wavs: Sequence[Tensor]) -> dict[str, list[Tensor]]:
        """Run every member and align its frames.

        Args:
            wavs: B waveforms, each (T',), 16 kHz, floating point.

        Returns:
            ``{"hidden_states": [...]}``: the members' L_1 + ... + L_N states in order, each (B, T, D_i). A narrower
            state of a member is brought to its widest one's width, see `alignment.match_widths`, and one of another
            rate than the member's to that, see `layer_rates`.

        Raises:
            KindError, UsageError: a waveform is empty, not finite, not 1-D or not floating point, or a hidden state is
                not finite; the utterance's index is named.
        """
        check_wavs(wavs)
        grouped = self.member_states(wavs)
        return {"hidden_states": [state for states in grouped for state in states]}

    def member_states(self, wavs: Sequence[Tensor], cached: bool = True) -> list[list[Tensor]]:
        """Return what `forward` does, unchecked, grouped by member; computed now if not ``cached``, see `outputs`."""
        self._measure(wavs[0].device)
        short = self.grid.is_short(min(len(wav) for wav in wavs))
        if len(self.members) > 1 or short:
            self._measure(wavs[0].device, first_frames=True)
        least = [self.grid.min_samples(i) if short else 0 for i in range(len(self.members))]
        padded = [[_pad(wav, samples) for wav in wavs] if short else wavs for samples in least]
        outputs = self.outputs(padded) if cached else self.run_all(padded)
        if short:
            longest = max(len(wav) for wav in wavs)
            outputs = [self.grid.crop(i, states, longest) for i, states in enumerate(outputs)]
        self._check_shapes(outputs)
        if not are_finite([state for states in outputs for state in states]):
            for i, states in enumerate(outputs):
                self.check_finite(i, states, padded[i])
        if len(self.members) == 1:
            return outputs
        return self.grid.align(outputs, [[len(wav) for wav in given] for given in padded])

    def run_member(self, i: int, wavs: Sequence[Tensor]) -> dict[str, Any]:
        """Run member i on B waveforms, each (T',), on its device, in its precision; its output is of all its layers.

        On each alone, where it trims: what such a member gives in a batch depends on what else is in there.
        """
        if not self._trims(i, wavs):
            return self._run(i, wavs)
        outputs = [self._run(i, [untrimmable(wav, self.grid.rates[i])]) for wav in wavs]
        return self.grid.hold(i, outputs, [len(wav) for wav in wavs])

    def _trims(self, i: int, wavs: Sequence[Tensor]) -> bool:
        """Tell whether member i trims, see `frames.trims`; found out once, with the first waveforms where it shows."""
        device = wavs[0].device
        self._measure(device)
        if i not in self.grid.trims:
            if len({len(wav) for wav in wavs}) == 1 and not any(wav[-1] == 0 for wav in wavs):
                return False
            with alone(self, device):
                # Whoever offers to count frames by samples does not look at these.
                counts = hasattr(self.members[i], "num_frames")
                self.grid.trims[i] = not counts and trims(partial(self._run, i), self.grid.rates[i], device)
        if self.grid.trims[i]:
            self._measure(device, first_frames=True)
        return self.grid.trims[i]

    def _run(self, i: int, wavs: Sequence[Tensor]) -> dict[str, Any]:
        config = self.fusion.members[i]
        if config.device is not None:
            wavs = [wav.to(config.device, non_blocking=True) for wav in wavs]
        if config.precision is None:
            return self.members[i](wavs)
        kind = wavs[0].device.type
        if (kind, config.precision) == ("cpu", "fp16"):
            warnings.warn(
                f"member {config.name!r}: most CPUs compute in fp16 many times slower than in float32; say bf16"
            )
        with torch.autocast(kind, AUTOCAST[config.precision]):
            return self.members[i](wavs)

    def outputs(self, wavs: Sequence[Sequence[Tensor]]) -> list[list[Tensor]]:
        """Return each member's states for its own waveforms; a subclass may have them from elsewhere."""
        return self.run_all(wavs)

    def run_all(self, wavs: Sequence[Sequence[Tensor]]) -> list[list[Tensor]]:
        """Compute each member's states for its own waveforms, of the layers that the config asks for.

        GPUs, which are not waited for, are started before a CPU, and all before any state is fetched: so they work at
        the same time.
        """
        device = wavs[0][0].device
        outputs: list[list[Tensor]] = [[] for _ in self.members]
        kinds = [torch.device(config.device or device).type for config in self.fusion.members]
        for source in sorted(set(self.sources), key=lambda i: (kinds[i] == "cpu", i)):
            output = self.run_member(source, wavs[source])
            for i in range(source, len(self.members)):
                if self.sources[i] == source:
                    outputs[i] = self.own_states(i, output, wavs[source])
        return [fetch(states, config, device) for states, config in zip(outputs, self.fusion.members)]

    def own_states(self, i: int, output: Any, wavs: Sequence[Tensor]) -> list[Tensor]:
        """Take member i's layers of what it gives for B waveforms, and bring them to one rate and one width."""
        states = chosen_states(output, self.fusion.members[i])
        layers = self.grid.layers
        if i not in layers and len({state.size(1) for state in states}) > 1:
            device, name, rate = wavs[0].device, self.grid.names[i], self.grid.rates[i]
            grid = measure_layers(layer_counter(partial(self.states_alone, i), device), rate, name)
            if grid is None or grid.rate != rate:
                raise UsageError(
                    f"member {name!r} has hidden states of {sorted({state.size(1) for state in states})} frames for "
                    f"{max(map(len, wavs))} samples, which its num_frames does not tell of; choose `layers` of one "
                    "rate in a fusion YAML, or name it once for each"
                )
            layers[i] = grid
        return match_widths(layers[i].align(states, [len(wav) for wav in wavs]) if i in layers else states)

    def _check_shapes(self, outputs: list[list[Tensor]]) -> None:
        """Note the members' layers and widths in the first call, and refuse others later."""
        layers, dims = [len(states) for states in outputs], [states[0].size(-1) for states in outputs]
        if not self.layers:
            self.layers, self.dims = layers, dims
        for config, before, now in zip(self.fusion.members, zip(self.layers, self.dims), zip(layers, dims)):
            if before != now:
                raise UsageError(
                    f"member {config.name!r} gave {before[0]} hidden states of width {before[1]}, and now {now[0]} of "
                    f"{now[1]}; every call must give the same: turn its layer drop off (layerdrop: 0)"
                )

    def check_finite(self, i: int, states: Sequence[Tensor], wavs: Sequence[Tensor]) -> None:
        """Refuse states of member i for B waveforms that are not finite, see `outputs.check_finite`."""
        config = self.fusion.members[i]
        check_finite(
            config.name, states, [len(wav) for wav in wavs], self.grid.rates[i], config.layers or range(len(states))
        )

    def _measure(self, device: torch.device, first_frames: bool = False) -> None:
        """Find once each member's rate, and if asked for how many samples its first frame takes, see `first_frame`; a
        member may offer ``num_frames(num_samples) -> int``, and is run otherwise."""
        grid = self.grid
        if grid.rates and (grid.first_frames or not first_frames):
            return
        counts: list[Callable[[int], int]] = []
        by_source: dict[int, Counts] = {}
        for i, member in enumerate(self.members):
            source = self.sources[i]
            own = getattr(member, "num_frames", None)
            if own is None:
                run = partial(self._all_states_alone, source)
                of_all = by_source.setdefault(source, layer_counter(run, device))
                of_own = partial(_of_layers, of_all, self.fusion.members[i])
                found = measure_layers(of_own, grid.claims[i], grid.names[i], first_frames)
                if found is not None:
                    grid.layers[i] = found
                own = partial(_of_layer, of_own, found.target if found else 0)
            counts.append(own)
        if not grid.rates:
            grid.measure(counts)
        if first_frames:
            grid.first_frames = [first_frame(count, rate) for count, rate in zip(counts, grid.rates)]

    def measure(self) -> None:
        """Find out about the members' frames now, on the CPU, what is else found out when it is needed."""
        self._measure(torch.device("cpu"), first_frames=True)

    def states_alone(self, i: int, wavs: Sequence[Tensor]) -> list[Tensor]:
        """Return what member i gives, of the layers that its config asks for, each (B, T_l, D_l) as it is, with no
        trace left, see `alone`."""
        return chosen_states(self._output_alone(i, wavs), self.fusion.members[i])

    def _all_states_alone(self, i: int, wavs: Sequence[Tensor]) -> list[Tensor]:
        return all_states(self._output_alone(i, wavs), self.fusion.members[i].name)

    def _output_alone(self, i: int, wavs: Sequence[Tensor]) -> Any:
        with alone(self.members[i], torch.device(self.fusion.members[i].device or wavs[0].device)):
            return self._run(i, wavs)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> AlignedMembers:
        """Do what ``to``, ``cuda`` and ``float`` do: members with a device of their own stay there."""
        for i in dict.fromkeys(self.sources):
            device = self.fusion.members[i].device
            self.members[i]._apply(fn if device is None else partial(_apply_here, fn), recurse)
        return self


def _apply_here(fn: Callable[[Tensor], Tensor], tensor: Tensor) -> Tensor:
    """Do what ``fn`` does to a tensor's type, on the device where it is."""
    return tensor.to(fn(torch.empty(0, dtype=tensor.dtype)).dtype)


def _source(i: int, members: Sequence[nn.Module], fusion: Fusion) -> int:
    """Find the first member whose forward is member i's too."""
    return next(j for j in range(i + 1) if members[j] is members[i] and fusion.members[j].runs_as(fusion.members[i]))


def _of_layers(counts: Counts, member: Member, num_samples: int) -> list[int]:
    frames = list(counts(num_samples))
    if member.layers is None:
        return frames
    check_layers(member, len(frames))
    return [frames[layer] for layer in member.layers]


def _of_layer(counts: Counts, layer: int, num_samples: int) -> int:
    return counts(num_samples)[layer]


def fetch(states: list[Tensor], member: Member, device: torch.device) -> list[Tensor]:
    """Bring a member's states to a device, in single precision if the member runs in a lower one."""
    if member.device is not None:
        # The CPU would not wait for a copy that does not block, and read too early.
        states = [state.to(device, non_blocking=device.type != "cpu") for state in states]
    return states if member.precision is None else [state.float() for state in states]


def _pad(wav: Tensor, samples: int) -> Tensor:
    return F.pad(wav, (0, max(0, samples - len(wav))))
