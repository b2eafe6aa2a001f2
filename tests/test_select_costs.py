"""What a set costs against `profile` of the whole, and the capacity control against the trained modules themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny_models import ToyUpstream

from s3prl_fusion import costs
from s3prl_fusion.config import FusionConfig, InterfaceConfig, MemberConfig
from s3prl_fusion.errors import UsageError
from s3prl_fusion.featurizer import FusionFeaturizer
from s3prl_fusion.select.capacity import control
from s3prl_fusion.select.costs import MemberCost, check_budget, costs_of, interface_of, measure, of_set
from s3prl_fusion.upstreams.fused import FusedUpstream

COST = MemberCost(macs=1e6, parameters=100, real_time_factor=0.1, layers=5, dim=24, rate=320)


def fused(*members: torch.nn.Module, interface: str = "hconv") -> FusedUpstream:
    configs = tuple(MemberConfig(f"toy{i}") for i in range(len(members)))
    return FusedUpstream(FusionConfig(configs, InterfaceConfig(interface)), members).eval()


@pytest.mark.parametrize("interface", ["hconv", "weighted_sum", "gumbel"])
def test_members_measured_alone_cost_what_the_whole_does(interface):
    members = ToyUpstream(), ToyUpstream(rate=160, first=200, layers=2, dim=6)
    upstream = fused(*members, interface=interface)
    alone = [measure(fused(member))[0] for member in members]
    found = of_set(alone, upstream.fusion.interface)
    featurizer = FusionFeaturizer(upstream)
    whole = costs.profile(upstream, featurizer, [10.0])
    assert found.macs == pytest.approx(whole["MACs"].sum() / 10, rel=0.02)
    assert found.parameters == whole["parameters"].sum()
    assert found.interface_parameters == costs.count_parameters(featurizer)
    assert found.real_time_factor > sum(member.real_time_factor for member in alone) > 0
    assert [(one.layers, one.dim, one.rate) for one in measure(upstream)] == [(3, 8, 320), (2, 6, 160)]


def test_measuring_leaves_the_cache_alone(tmp_path):
    from s3prl_fusion.cache.config import CacheConfig

    upstream = fused(ToyUpstream())
    cached = FusedUpstream(replace(upstream.fusion, cache=CacheConfig(str(tmp_path))), [ToyUpstream()]).eval()
    assert [one.macs for one in measure(cached)] == [one.macs for one in measure(upstream)]
    assert not list(tmp_path.rglob("*.safetensors"))


def test_costs_come_back_from_json():
    assert MemberCost(**COST.to_dict()) == COST


def test_sets_by_their_labels():
    single = FusionConfig((MemberConfig("a"),), InterfaceConfig("hconv"))
    found = costs_of({"a": COST, "b": COST}, {"one": (["a"], single), "two": (["a", "b"], single)})
    assert found["two"].parameters - found["one"].parameters == 100


def test_a_budget_that_nothing_is_within():
    members = {"small": COST, "large": replace(COST, macs=5e9)}
    check_budget(members, None)
    check_budget(members, 1e6)
    with pytest.raises(UsageError, match="--budget-macs: got 5.*small, which costs least, has 1e[+]06"):
        check_budget(members, 5.0)


def head(width: int) -> int:
    return 32 * width + 32 + 500


@pytest.mark.parametrize("interface", ["hconv", "chconv", "weighted_sum", "gumbel"])
@pytest.mark.parametrize("wanted", [12_000, 40_000, 1_000_000])
def test_the_control_has_as_many_parameters(interface, wanted):
    single = FusionConfig((MemberConfig("a"),), InterfaceConfig(interface), normalize=True)
    found = control(single, COST, wanted, head)
    assert found is not None
    module = interface_of([COST], found.interface)
    assert costs.count_parameters(module) + head(module.output_dim) == pytest.approx(wanted, rel=0.02)
    assert replace(found, interface=single.interface) == single
    assert (found.interface.name, found.interface.options) == (interface, {})


def test_no_control_where_the_single_is_as_large():
    single = FusionConfig((MemberConfig("a"),))
    own = costs.count_parameters(interface_of([COST], single.interface))
    own += head(interface_of([COST], single.interface).output_dim)
    assert control(single, COST, own, head) is None
    assert control(single, COST, round(1.015 * own), head) is None
    assert control(single, COST, own // 2, head) is None
    assert control(single, COST, 4 * own, head) is not None
