"""Interfaces against ssl-interface's HConv and s3prl's Featurizer, and against the matrix products that they are.

Both sides start from the list of states that s3prl gives: the peers have to stack it first. ssl-interface does not work
at 25 x 1024; there the peer is the same stack of stock Conv1d and ReLU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from common import Row, interleaved, main, row, share, speed_up
from s3prl.upstream.interfaces import Featurizer
from SSL_Interface.configs import HierarchicalConvInterfaceConfig
from SSL_Interface.interfaces.hconvInterface import HierarchicalConvInterface
from torch import Tensor, nn

from s3prl_fusion import build_interface
from s3prl_fusion.costs import count_macs, peak_memory
from s3prl_fusion.interfaces.base import Interface

States = list[Tensor]
HCONV = [(13, 768), (25, 1024)]
BATCHES = [(4, 250), (8, 500)]
PRODUCT = (4096, 2048, 2048)
# Interfaces with parts of each member's own, which can turn it down.
TURNED_DOWN = {
    "lowrank": ("lowrank", {}),
    "hconv, match_dim: project_all": ("hconv", {"match_dim": "project_all"}),
}


def rows(quick: bool = False, device: str = "cpu") -> list[Row]:
    torch.manual_seed(0)
    hconv, batches = ([(13, 64)], [(2, 50)]) if quick else (HCONV, BATCHES)
    measured = []
    for layers, dim in hconv:
        for batch in batches:
            measured += _hconv(layers, dim, batch, device)
    base = hconv[0]
    measured += _chconv(*base, batches[0], device)
    measured += _additions(*base, batches[0], device)
    for count in (2, 3):
        measured += _turned_down(count, *base, batches[0], device)
    for batch in batches:
        measured += _weighted_sum(*base, batch, device)
    return measured


def _states(layers: int, dim: int, batch: tuple[int, int], device: str) -> States:
    return [torch.randn(*batch, dim, device=device) for _ in range(layers)]


def _hconv(layers: int, dim: int, batch: tuple[int, int], device: str) -> Iterator[Row]:
    what = f"hconv, {layers} x ({batch[0]}, {batch[1]}, {dim})"
    ours = build_interface("hconv", [layers], [dim]).to(device)
    states = _states(layers, dim, batch, device)
    peer, name = _peer(ours)
    yield from _both_ways(what, name, ours, [states], peer, lambda: peer(torch.stack(states)), device)


def _chconv(layers: int, dim: int, batch: tuple[int, int], device: str) -> Iterator[Row]:
    ours = build_interface("chconv", [layers] * 2, [dim] * 2).to(device)
    members = [_states(layers, dim, batch, device) for _ in range(2)]
    peer, name = _peer(ours)

    def run() -> Tensor:
        return peer(torch.stack([torch.cat(layer, dim=-1) for layer in zip(*members)]))

    what = f"chconv, 2 members of {layers} x ({batch[0]}, {batch[1]}, {dim})"
    yield from _both_ways(what, name, ours, members, peer, run, device)


def _peer(ours: Interface) -> tuple[nn.Module, str]:
    """The peer of an hconv or chconv, with its weights, and what to call it."""
    layers, dim = ours.convs.depths[0], ours.convs[0].in_channels
    if ours.output_dim == dim:
        config = HierarchicalConvInterfaceConfig(
            upstream_layer_num=layers, upstream_feat_dim=dim, output_dim=ours.output_dim
        )
        peer, name = HierarchicalConvInterface(config), "ssl-interface"
    else:
        peer, name = _StockConvs(ours), "stock Conv1d"
    convs = [module for module in peer.transforms if isinstance(module, nn.Conv1d)]
    for conv, trained in zip(convs, ours.convs):
        conv.load_state_dict(trained.state_dict())
    return peer.to(ours.convs[0].weight.device), name


class _StockConvs(nn.Module):
    """What ssl-interface computes, at any size: (L, B, T, D) to (B, T, D' L')."""

    def __init__(self, ours: Interface) -> None:
        super().__init__()
        sizes = [(conv.in_channels, conv.out_channels) for conv in ours.convs]
        self.transforms = nn.Sequential(
            *(module for size in sizes for module in (nn.Conv1d(*size, 5, stride=3, padding=2), nn.ReLU()))
        )

    def forward(self, stacked: Tensor) -> Tensor:
        layers, batch, frames, dim = stacked.shape
        fused = self.transforms(stacked.permute(1, 2, 3, 0).reshape(-1, dim, layers))
        return fused.reshape(batch, frames, -1)


def _both_ways(
    what: str,
    name: str,
    ours: Interface,
    members: list[States],
    peer: nn.Module,
    run_peer: Callable[[], Tensor],
    device: str,
) -> Iterator[Row]:
    """Forward, forward and backward with frozen states, the memory that the latter takes, and the limit."""
    forward = _forward(lambda: ours(members))
    direction = torch.randn_like(run_peer())
    macs = count_macs(forward)
    repeats = 3 if macs > 4e10 else 7
    calls = {"ours": forward, "peer": _forward(run_peer), "product": _product(device)}
    seconds = interleaved(calls, repeats, device=device)
    yield speed_up(f"{what}, forward, against {name}", seconds["ours"], seconds["peer"], 1.5)
    steps = {"ours": _step(lambda: ours(members), ours, direction), "peer": _step(run_peer, peer, direction)}
    both = interleaved(steps, repeats, device=device)
    yield speed_up(f"{what}, forward + backward, against {name}", both["ours"], both["peer"], 1.5)
    memory = {side: peak_memory(run, device) / 1e6 for side, run in steps.items()}
    yield share(f"{what}, memory above the inputs, against {name}", memory["ours"], memory["peer"], "MB", 0.5)
    rate, limit = 2e-9 * macs / seconds["ours"], 2e-9 * math.prod(PRODUCT) / seconds["product"]
    described = f"{what}, forward, against one matrix product of {' x '.join(map(str, PRODUCT))}"
    yield row(described, f"{rate:.0f} GFLOP/s", f"{limit:.0f} GFLOP/s", rate / limit, at_least=0.75)


def _forward(run: Callable[[], Tensor]) -> Callable[[], Tensor]:
    return torch.no_grad()(run)


def _step(run: Callable[[], Tensor], module: nn.Module, direction: Tensor) -> Callable[[], None]:
    def step() -> None:
        module.zero_grad()
        run().backward(direction)

    return step


def _product(device: str) -> Callable[[], Tensor]:
    """One large float32 matrix product, the machine's limit."""
    rows, inner, columns = PRODUCT
    left, right = torch.randn(rows, inner, device=device), torch.randn(inner, columns, device=device)
    return lambda: left @ right


def _additions(layers: int, dim: int, batch: tuple[int, int], device: str) -> Iterator[Row]:
    """Three members against one, and two additions a layer."""
    fused, single = (build_interface("hconv", [layers] * n, [dim] * n).to(device) for n in (3, 1))
    members = [_states(layers, dim, batch, device) for _ in range(3)]

    def peer() -> None:
        single(members[:1])
        for first, *others in zip(*members):
            for other in others:
                first + other

    seconds = interleaved({"ours": _forward(lambda: fused(members)), "peer": _forward(peer)}, device=device)
    what = f"hconv of 3 members, {layers} x ({batch[0]}, {batch[1]}, {dim}), forward, against 1 and the additions"
    yield share(what, 1000 * seconds["ours"], 1000 * seconds["peer"], "ms", 1.05)


def _turned_down(count: int, layers: int, dim: int, batch: tuple[int, int], device: str) -> Iterator[Row]:
    """Parameters and steps of `TURNED_DOWN` against those of one hconv for each member."""
    single = build_interface("hconv", [layers], [dim]).to(device)
    members = [_states(layers, dim, batch, device) for _ in range(count)]
    direction = torch.randn_like(single(members[:1]))
    fused = {
        title: build_interface(name, [layers] * count, [dim] * count, single.output_dim, **options).to(device)
        for title, (name, options) in TURNED_DOWN.items()
    }
    steps = {title: _step(lambda ours=ours: ours(members), ours, direction) for title, ours in fused.items()}
    seconds = interleaved({"hconv": _step(lambda: single(members[:1]), single, direction), **steps}, device=device)
    parameters = {title: _parameters(ours) for title, ours in {"hconv": single, **fused}.items()}
    for title in fused:
        what = f"{title}, {count} members of {layers} x ({batch[0]}, {batch[1]}, {dim})"
        peer = count * parameters["hconv"] / 1e6
        yield share(f"{what}, parameters, against a hconv a member", parameters[title] / 1e6, peer, "M", 1.1)
        ours, peer = 1000 * seconds[title], 1000 * count * seconds["hconv"]
        yield share(f"{what}, forward + backward, against a hconv a member", ours, peer, "ms", 1.1)


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _weighted_sum(layers: int, dim: int, batch: tuple[int, int], device: str) -> Iterator[Row]:
    ours = build_interface("weighted_sum", [layers] * 2, [dim] * 2).to(device)
    members = [_states(layers, dim, batch, device) for _ in range(2)]
    upstream = _Given({"hidden_states": sum(members, [])})
    peer = Featurizer(upstream, upstream_device=device).to(device)
    direction = torch.randn(*batch, dim, device=device)
    steps = {
        "ours": _step(lambda: ours(members), ours, direction),
        "peer": _step(lambda: peer._weighted_sum(sum(members, [])), peer, direction),
    }
    seconds = interleaved(steps, repeats=15, device=device)
    memory = {side: peak_memory(run, device) / 1e6 for side, run in steps.items()}
    what = f"weighted_sum, 2 members of {layers} x ({batch[0]}, {batch[1]}, {dim})"
    against = "against s3prl's Featurizer"
    yield speed_up(f"{what}, forward + backward, {against}", seconds["ours"], seconds["peer"], 2)
    yield share(f"{what}, memory above the inputs, {against}", memory["ours"], memory["peer"], "MB")


class _Given(nn.Module):
    """An upstream that gives what it was given."""

    def __init__(self, features: dict[str, States]) -> None:
        super().__init__()
        self.features = features

    def get_downsample_rates(self, key: str) -> int:
        return 320

    def forward(self, wavs: States) -> dict[str, States]:
        return self.features


if __name__ == "__main__":
    main(__file__, rows)
