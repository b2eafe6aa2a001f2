"""Interfaces: parity with s3prl's Featurizer and with ssl-interface, the paper's parameter counts, and their laws."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest
import reference
import torch
from torch import nn

from s3prl_fusion import FusionConfig, build_interface, list_interfaces
from s3prl_fusion.costs import count_macs
from s3prl_fusion.interfaces import interface_options
from s3prl_fusion.interfaces.hconv import stack_depths


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def build(name: str, layers, dims, output_dim=None, seed: int = 0, **options):
    """An interface with weights of its own seed; zeros get values too."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        interface = build_interface(name, layers, dims, output_dim, **options)
        for parameter in interface.parameters():
            if not parameter.any():
                parameter.data.normal_()
    return interface


def num_params(interface: nn.Module) -> int:
    return sum(parameter.numel() for parameter in interface.parameters())


def assert_near(got: torch.Tensor, expected: torch.Tensor, relative: float = 1e-5) -> None:
    assert got.dtype == expected.dtype and got.shape == expected.shape
    assert (got - expected).norm() <= relative * expected.norm() > 0


def leaves(states, *, need_gradients: bool = True) -> list[torch.Tensor]:
    return [state.detach().clone().requires_grad_(need_gradients) for state in states]


class TestWeightedSum:
    def stock(self, layers: int, normalize: bool = False):
        """s3prl's Featurizer around an upstream of ``layers`` states."""
        from s3prl.upstream.interfaces import Featurizer

        class Upstream(nn.Module):
            def forward(self, wavs):
                return {"hidden_states": [torch.zeros(1, 50, 6) for _ in range(layers)]}

            def get_downsample_rates(self, key):
                return 320

        featurizer = Featurizer(Upstream(), upstream_device="cpu", normalize=normalize)
        featurizer.weights.data.copy_(random(layers, seed=9))
        return featurizer

    @pytest.mark.parametrize("layers", [2, 3, 13, 25])
    @pytest.mark.parametrize("shape", [(1, 1, 4), (3, 17, 24), (2, 50, 96)])
    def test_one_member_is_stock_bit_for_bit(self, layers, shape):
        stock, ours = self.stock(layers), build("weighted_sum", [layers], [shape[-1]])
        ours.load_state_dict(stock.state_dict())
        states = [random(*shape, seed=i) for i in range(layers)]
        assert torch.equal(ours([states]), stock._weighted_sum(states))

    @pytest.mark.parametrize("layers", [2, 13, 25])
    def test_one_member_learns_as_stock_bit_for_bit(self, layers):
        stock, ours = self.stock(layers), build("weighted_sum", [layers], [96])
        ours.load_state_dict(stock.state_dict())
        states, direction = [random(2, 50, 96, seed=i) for i in range(layers)], random(2, 50, 96, seed=99)
        ours([states]).backward(direction)
        stock._weighted_sum(states).backward(direction)
        assert torch.equal(ours.weights.grad, stock.weights.grad)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
    @pytest.mark.parametrize("frozen", [True, False])
    def test_many_members_agree_with_stock_in_values_and_gradients(self, dtype, frozen):
        stock, ours = self.stock(16), build("weighted_sum", [13, 3], [96, 96])
        ours.load_state_dict(stock.state_dict())
        whole = random(16, 2, 60, 96).to(dtype)[:, :, :50]  # cut to a faster member's frames, as in a fusion
        states, theirs = leaves(whole, need_gradients=not frozen), leaves(whole, need_gradients=not frozen)
        fused, expected = ours([states[:13], states[13:]]), stock._weighted_sum(theirs)
        torch.testing.assert_close(fused, expected, rtol=0, atol=1e-6)
        direction = random(2, 50, 96, seed=99)
        fused.backward(direction)
        expected.backward(direction)
        assert_near(ours.weights.grad, stock.weights.grad, 1e-6)
        for state, other in zip(states, theirs):
            assert (state.grad is None) if frozen else torch.equal(state.grad, other.grad)

    def test_many_members_gradients_are_those_of_finite_differences(self):
        interface = build("weighted_sum", [2, 1], [3, 3]).double()
        states = leaves(random(3, 2, 2, 3).double())
        assert torch.autograd.gradcheck(lambda *s: interface([s[:2], s[2:3]]), (*states, interface.weights))

    def test_state_dicts_load_both_ways(self):
        stock, ours = self.stock(5), build("weighted_sum", [5], [6])
        assert not torch.equal(stock.weights, ours.weights)
        stock.load_state_dict(ours.state_dict(), strict=True)
        assert torch.equal(stock.weights, ours.weights)
        ours.weights.data.zero_()
        ours.load_state_dict(stock.state_dict(), strict=True)
        assert torch.equal(stock.weights, ours.weights) and ours.weights.any()

    @pytest.mark.parametrize("layers, dims", [([3, 3], [5, 5]), ([1, 13], [8, 8]), ([2, 3, 4], [4, 4, 4])])
    def test_many_members_agree_with_the_reference(self, layers, dims):
        interface = build("weighted_sum", layers, dims)
        members = [
            [random(2, 7, dim, seed=10 * i + j) for j in range(n)] for i, (n, dim) in enumerate(zip(layers, dims))
        ]
        flat = np.stack([state.numpy() for states in members for state in states])
        expected = reference.weighted_sum(interface.weights.detach().numpy(), flat)
        np.testing.assert_allclose(interface(members).detach(), expected, atol=1e-6)

    def test_weights_start_at_zero_so_the_fusion_at_the_mean(self):
        interface = build_interface("weighted_sum", [3, 2], [4, 4])
        assert not interface.weights.any()
        states = random(5, 2, 6, 4)
        torch.testing.assert_close(interface([list(states[:3]), list(states[3:])]), states.mean(0))

    def test_permuting_states_and_weights_together_changes_nothing(self):
        interface, states = build("weighted_sum", [4], [6]), list(random(4, 2, 5, 6))
        before, order = interface([states]), [2, 0, 3, 1]
        interface.weights.data.copy_(interface.weights.data[order])
        torch.testing.assert_close(interface([[states[i] for i in order]]), before)

    def test_a_requested_width_is_a_linear_map_of_the_sum(self):
        interface = build("weighted_sum", [3], [6], output_dim=10)
        plain = build("weighted_sum", [3], [6])
        plain.weights.data.copy_(interface.weights.data)
        states = list(random(3, 2, 5, 6))
        assert interface.output_dim == 10
        torch.testing.assert_close(interface([states]), interface.output(plain([states])))


SHAPES_OF_SSL_INTERFACE = [(13, 768), (7, 512), (33, 1280), (4, 64), (9, 96)]


class TestHConvAgainstSslInterface:
    """The peer works only where floor(D / L') * L' is asked for and L > 2; 25 x 1024 ends its process."""

    def pair(self, layers: int, dim: int):
        configs = pytest.importorskip("SSL_Interface.configs")
        hconv = pytest.importorskip("SSL_Interface.interfaces.hconvInterface")
        ours = build("hconv", [layers], [dim])
        config = configs.HierarchicalConvInterfaceConfig(
            upstream_layer_num=layers, upstream_feat_dim=dim, output_dim=ours.output_dim
        )
        with torch.random.fork_rng():
            torch.manual_seed(3)
            peer = hconv.HierarchicalConvInterface(config)
        theirs = [module for module in peer.transforms if isinstance(module, nn.Conv1d)]
        assert len(theirs) == len(ours.convs)
        for mine, conv in zip(ours.convs, theirs):
            mine.load_state_dict(conv.state_dict(), strict=True)
        return ours, peer, theirs

    @pytest.mark.parametrize("layers, dim", SHAPES_OF_SSL_INTERFACE)
    def test_forward_and_gradients_agree(self, layers, dim):
        ours, peer, convs = self.pair(layers, dim)
        stacked = random(layers, 2, 5, dim).requires_grad_()
        states = [state.detach().clone().requires_grad_() for state in stacked]
        expected, fused = peer(stacked), ours([states])
        torch.testing.assert_close(fused, expected, rtol=1e-5, atol=1e-5)
        direction = random(*expected.shape, seed=7)
        (expected * direction).sum().backward()
        (fused * direction).sum().backward()
        torch.testing.assert_close(torch.stack([s.grad for s in states]), stacked.grad, rtol=1e-4, atol=1e-5)
        for mine, conv in zip(ours.convs, convs):
            torch.testing.assert_close(mine.weight.grad, conv.weight.grad, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(mine.bias.grad, conv.bias.grad, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("layers, dim", [(13, 768), (4, 64), (9, 96)])
    def test_slices_of_a_longer_and_wider_tensor_agree(self, layers, dim):
        ours, peer, _ = self.pair(layers, dim)
        whole = random(layers, 2, 9, 2 * dim)
        sliced = whole[:, :, 1:8:2, ::2]
        assert not sliced.is_contiguous()
        torch.testing.assert_close(ours([list(sliced)]), peer(sliced.contiguous()), rtol=1e-5, atol=1e-5)


class TestHConv:
    @pytest.mark.parametrize("layers", range(1, 31))
    def test_agrees_with_the_reference_at_every_depth(self, layers):
        interface = build("hconv", [layers], [12], seed=layers)
        states = random(layers, 2, 5, 12)
        convs = [(conv.weight.detach(), conv.bias.detach()) for conv in interface.convs]
        expected = reference.hconv(states, convs)
        assert len(convs) == reference.num_convs(layers)
        assert interface.output_dim == expected.size(-1)
        torch.testing.assert_close(interface([list(states)]), expected, rtol=1e-5, atol=1e-6)

    def stock(self, interface):
        """The same convolutions as stock modules over (L, B, T, D), with gradients."""
        convs = [nn.Conv1d(c.in_channels, c.out_channels, 5, stride=3, padding=2) for c in interface.convs]
        for ours, conv in zip(interface.convs, convs):
            conv.load_state_dict(ours.state_dict(), strict=True)
        stack = nn.Sequential(*(module for conv in convs for module in (conv, nn.ReLU())))
        return convs, lambda x: stack(x.permute(1, 2, 3, 0).flatten(0, 1)).view(*x.shape[1:3], -1)

    @pytest.mark.parametrize("frozen", [True, False])
    @pytest.mark.parametrize("layers, dim", [([1], 12), ([5], 12), ([13], 48), ([7, 3], 24), ([2, 27, 1], 24)])
    def test_gradients_are_those_of_stock_convolutions(self, layers, dim, frozen):
        interface = build("hconv", layers, [dim] * len(layers))
        convs, stock = self.stock(interface)
        members = [leaves(random(n, 2, 5, dim, seed=n), need_gradients=not frozen) for n in layers]
        theirs = [leaves(states, need_gradients=not frozen) for states in members]
        fused, expected = interface(members), stock(torch.stack(interface.add(theirs)))
        direction = random(*expected.shape, seed=7)
        fused.backward(direction)
        expected.backward(direction)
        for ours, conv in zip(interface.convs, convs):
            assert_near(ours.weight.grad, conv.weight.grad)
            assert_near(ours.bias.grad, conv.bias.grad)
        for state, other in zip(sum(members, []), sum(theirs, [])):
            assert (state.grad is None) == frozen
            if not frozen:
                assert_near(state.grad, other.grad)

    def test_gradients_go_to_the_states_that_need_them_alone(self):
        interface = build("hconv", [5], [12])
        frozen, tuned = leaves(random(5, 2, 4, 12), need_gradients=False), leaves(random(5, 2, 4, 12))
        interface([tuned]).sum().backward()
        mixed = [*frozen[:2], tuned[2].detach().requires_grad_(), *frozen[3:]]
        interface.requires_grad_(False)([mixed]).sum().backward()
        assert torch.equal(mixed[2].grad, tuned[2].grad) and all(state.grad is None for state in frozen)

    def test_gradients_are_those_of_finite_differences(self):
        interface = build("hconv", [4], [4]).double()
        inputs = (*leaves(random(4, 1, 2, 4).double()), *interface.parameters())
        assert torch.autograd.gradcheck(lambda *values: interface([values[:4]]), inputs)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_autocast_takes_half_precision_and_sums_in_single(self, dtype):
        interface, states = build("hconv", [13], [96]), leaves(random(13, 2, 9, 96))
        expected = interface([states])
        direction = random(*expected.shape, seed=7)
        wanted = torch.autograd.grad(expected, [*states, *interface.parameters()], direction)
        with torch.autocast("cpu", dtype):
            fused = interface([states])
        assert fused.dtype == dtype
        assert_near(fused.float(), expected, 0.01)
        gradients = torch.autograd.grad(fused, [*states, *interface.parameters()], direction.to(dtype))
        for got, gradient in zip(gradients, wanted):
            assert_near(got, gradient, 0.1)  # as far as stock convolutions: a ReLU near zero may open or close

    def test_only_taps_on_real_layers_are_multiplied_and_no_state_is_copied(self):
        interface, states = build("hconv", [13], [48]), list(random(13, 2, 5, 48))
        assert count_macs(lambda: interface([states])) == 2 * 5 * (21 * 48 * 48 + 7 * 48 * 24)
        assert all(added is state for added, state in zip(interface.add([states]), states))

    @pytest.mark.parametrize("layers", [1, 2, 3, 13, 25])
    @pytest.mark.parametrize("output_dim", [1, 2, 5, 12, 13, 40])
    def test_any_requested_width_is_honoured_exactly(self, layers, output_dim):
        interface = build("hconv", [layers], [12], output_dim)
        states = random(layers, 2, 3, 12)
        convs = [(conv.weight.detach(), conv.bias.detach()) for conv in interface.convs]
        fused = interface([list(states)])
        assert interface.output_dim == fused.size(-1) == output_dim
        torch.testing.assert_close(fused, reference.hconv(states, convs)[..., :output_dim], rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("layers", [1, 2, 3, 8, 9, 26, 27, 80, 81, 242, 243, 244, 729])
    def test_the_number_of_convolutions_is_counted_in_integers(self, layers):
        assert len(stack_depths(layers)) - 1 == reference.num_convs(layers)

    @pytest.mark.parametrize(
        "layers, dim, depths, params, output_dim",
        [
            (13, 768, [13, 5, 2], 4_424_832, 768),
            (25, 1024, [25, 9, 3], 6_990_165, 1023),
            (7, 512, [7, 3], 435_370, 510),
            (33, 1280, [33, 11, 4, 2], 20_483_200, 1280),
        ],
    )
    def test_sizes_of_the_paper(self, layers, dim, depths, params, output_dim):
        interface = build_interface("hconv", [layers, layers], [dim, dim])
        assert stack_depths(layers) == depths
        assert (num_params(interface), interface.output_dim) == (params, output_dim)

    def test_a_member_of_zeros_adds_nothing_before_the_convolutions(self):
        both, alone = build("hconv", [5, 5], [8, 8]), build("hconv", [5], [8])
        states = list(random(5, 2, 4, 8))
        zeros = [torch.zeros_like(state) for state in states]
        assert all(torch.equal(summed, state) for summed, state in zip(both.add([states, zeros]), states))
        assert torch.equal(both([states, zeros]), both([zeros, states]))
        alone.load_state_dict(both.state_dict())
        assert torch.equal(both([states, zeros]), alone([states]))

    @pytest.mark.parametrize("order", [(1, 0, 2), (2, 1, 0), (1, 2, 0)])
    def test_permuting_members_of_one_shape_changes_nothing(self, order):
        interface = build("hconv", [7, 7, 7], [12, 12, 12])
        members = [list(random(7, 2, 4, 12, seed=i)) for i in range(3)]
        torch.testing.assert_close(interface([members[i] for i in order]), interface(members), rtol=0, atol=1e-6)

    def test_members_of_other_depths_are_interpolated_before_the_sum(self):
        interface = build("hconv", [4, 1, 7], [6, 6, 6])
        members = [random(n, 2, 3, 6, seed=n) for n in (4, 1, 7)]
        expected = sum(reference.match_layers(states.numpy(), 7) for states in members)
        np.testing.assert_allclose(torch.stack(interface.add([list(m) for m in members])), expected, atol=1e-6)

    def test_the_cost_does_not_grow_with_the_members(self):
        sizes = {num_params(build_interface("hconv", [13] * n, [32] * n)) for n in (1, 2, 3)}
        assert len(sizes) == 1

    def test_too_few_features_are_refused_unless_a_width_is_given(self):
        with pytest.raises(ValueError, match=r"1 features are too few for 2 layers .* give output_dim"):
            build_interface("hconv", [13], [1])
        assert build_interface("hconv", [13], [1], 3)([list(random(13, 2, 4, 1))]).shape == (2, 4, 3)


@pytest.mark.parametrize("name", ["weighted_sum", "hconv"])
class TestMatchDim:
    def test_interpolate_stretches_the_feature_axis(self, name):
        interface = build(name, [2, 2], [4, 8], match_dim="interpolate")
        narrow, wide = list(random(2, 3, 5, 4, seed=1)), list(random(2, 3, 5, 8, seed=2))
        stretched = [
            torch.from_numpy(reference.align_frames(state.transpose(1, 2).numpy(), 2, 1, 8, [4] * 3))
            .float()
            .transpose(1, 2)
            for state in narrow
        ]
        torch.testing.assert_close(interface([narrow, wide]), interface([stretched, wide]), rtol=1e-5, atol=1e-6)
        assert not any("projections" in key for key in interface.state_dict())

    def test_project_maps_the_narrow_member_linearly_with_one_map_for_its_layers(self, name):
        interface = build(name, [2, 2], [4, 8])
        narrow, wide = list(random(2, 3, 5, 4, seed=1)), list(random(2, 3, 5, 8, seed=2))
        maps = [key for key in interface.state_dict() if "projections" in key]
        assert maps == ["match.projections.0.weight", "match.projections.0.bias"]
        weight, bias = (interface.state_dict()[key] for key in maps)
        projected = [state @ weight.T + bias for state in narrow]
        torch.testing.assert_close(interface([narrow, wide]), interface([projected, wide]), rtol=1e-5, atol=1e-6)

    def test_project_all_maps_every_member_and_starts_at_what_is_wide_enough_as_it_is(self, name):
        interface = build_interface(name, [2, 2], [4, 8], match_dim="project_all")
        narrow, wide = list(random(2, 3, 5, 4, seed=1)), list(random(2, 3, 5, 8, seed=2))
        plain = build_interface(name, [2, 2], [4, 8])
        state = interface.state_dict()
        own = {key: state.pop(key) for key in list(state) if key.startswith("match.projections.1")}
        assert torch.equal(own["match.projections.1.weight"], torch.eye(8)) and len(own) == 2
        plain.load_state_dict(state, strict=True)
        torch.testing.assert_close(interface([narrow, wide]), plain([narrow, wide]))
        for linear in interface.match.projections.values():
            linear.weight.data.copy_(random(*linear.weight.shape, seed=3))
        projected = [
            [interface.match.projections[i](state) for state in states] for i, states in zip("01", (narrow, wide))
        ]
        equal = build_interface(name, [2, 2], [8, 8])
        equal.load_state_dict({key: value for key, value in interface.state_dict().items() if "match" not in key})
        torch.testing.assert_close(interface([narrow, wide]), equal(projected))

    def test_equal_widths_need_no_map(self, name):
        assert not any("projections" in key for key in build(name, [2, 3], [4, 4]).state_dict())

    def test_an_unknown_way_is_refused(self, name):
        with pytest.raises(ValueError, match=r"match_dim must be one of project, interpolate, project_all; got 'crop'"):
            build_interface(name, [2], [4], match_dim="crop")


@pytest.mark.parametrize("name", list_interfaces())
class TestEveryInterface:
    LAYERS, DIMS = [1, 5, 3], [4, 8, 6]

    def members(self, layers=LAYERS, dims=DIMS):
        return [[random(2, 6, dim, seed=10 * i + j) for j in range(n)] for i, (n, dim) in enumerate(zip(layers, dims))]

    @pytest.mark.parametrize("output_dim", [None, 7])
    def test_the_width_is_as_announced(self, name, output_dim):
        interface = build(name, self.LAYERS, self.DIMS, output_dim)
        assert interface(self.members()).shape == (2, 6, interface.output_dim)
        assert output_dim is None or interface.output_dim == output_dim

    def test_every_frame_is_fused_by_itself(self, name):
        interface = build(name, self.LAYERS, self.DIMS).eval()
        members = self.members()
        frame = [[state[1:, 3:4] for state in states] for states in members]
        torch.testing.assert_close(interface(frame), interface(members)[1:, 3:4], rtol=1e-5, atol=1e-6)

    def test_gradients_reach_every_parameter_and_every_state(self, name):
        # With gumbel a dimension picks one of its member's layers: enough dimensions pick each, if there are two.
        layers, dims = [2, 5, 3], [64, 48, 32]
        interface = build(name, layers, dims)
        members = [[state.requires_grad_() for state in states] for states in self.members(layers, dims)]
        interface(members).pow(2).sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in interface.parameters())
        assert all(state.grad.abs().max() > 1e-3 for states in members for state in states)

    def test_its_states_are_not_changed(self, name):
        members = self.members()
        build(name, self.LAYERS, self.DIMS)(members)
        assert all(torch.equal(a, b) for one, other in zip(members, self.members()) for a, b in zip(one, other))

    def test_its_state_dict_restores_it(self, name):
        interface, other = build(name, self.LAYERS, self.DIMS, seed=1), build(name, self.LAYERS, self.DIMS, seed=2)
        assert not torch.equal(interface(self.members()), other(self.members()))
        other.load_state_dict(interface.state_dict(), strict=True)
        assert torch.equal(interface.eval()(self.members()), other.eval()(self.members()))

    def test_wrong_sizes_are_refused(self, name):
        for layers, dims in [([2], [4, 4]), ([], []), ([0], [4]), ([2], [0])]:
            with pytest.raises(ValueError, match="layers and dims"):
                build_interface(name, layers, dims)
        with pytest.raises(ValueError, match="output_dim must be positive; got 0"):
            build_interface(name, [2], [4], 0)

    def test_unknown_options_are_refused(self, name):
        with pytest.raises(ValueError, match=rf"unknown option of the interface {name} 'kernel'; choose from \w+"):
            build_interface(name, [2], [4], kernel=3)


class TestGumbel:
    """GumD's laws: who is drawn how often, what learns, and how the temperature falls."""

    def members(self):
        return [list(random(3, 2, 5, 4, seed=1)), list(random(5, 2, 5, 6, seed=2))]

    def test_evaluation_takes_each_dimensions_most_likely_layer_and_projects_all_members(self):
        interface = build("gumbel", [3, 5], [4, 6]).eval()
        logits = [table.detach().numpy() for table in interface.logits]
        members = self.members()
        selected = reference.gumbel_selection(logits, [np.stack([s.numpy() for s in states]) for states in members])
        expected = selected @ interface.output.weight.detach().numpy().T + interface.output.bias.detach().numpy()
        np.testing.assert_allclose(interface(members).detach(), expected, atol=1e-6)
        assert interface.output_dim == 6

    def test_evaluation_draws_nothing_and_counts_nothing(self):
        interface = build("gumbel", [3, 5], [4, 6]).eval()
        state = torch.random.get_rng_state()
        assert torch.equal(interface(self.members()), interface(self.members()))
        assert torch.equal(torch.random.get_rng_state(), state) and interface.forwards == 0

    @pytest.mark.parametrize("temperature_at", [0, 5])
    def test_training_draws_layers_as_often_as_the_softmax_of_logits_over_temperature(self, temperature_at):
        dim = 20000
        interface = build_interface("gumbel", [3], [dim], linear_steps=10)
        interface.forwards.fill_(temperature_at)
        interface.logits[0].data.copy_(torch.tensor([0.0, 0.5, 1.0]).unsqueeze(1).expand(3, dim))
        expected = torch.softmax(torch.tensor([0.0, 0.5, 1.0]) / (1.0 - 0.09 * temperature_at), dim=0)
        # State l is l + 1 everywhere: the result names the chosen layer.
        states = [torch.full((1, 1, dim), layer + 1.0) for layer in range(3)]
        with torch.random.fork_rng():
            torch.manual_seed(0)
            chosen = interface([states]).round().long().flatten() - 1
        frequencies = torch.bincount(chosen, minlength=3) / dim
        torch.testing.assert_close(frequencies, expected, rtol=0, atol=0.015)

    def test_training_picks_whole_layers_and_learns_through_the_soft_choice(self):
        interface = build("gumbel", [4], [6])
        states = [state.requires_grad_() for state in random(4, 2, 5, 6)]
        with torch.random.fork_rng():
            torch.manual_seed(1)
            soft = torch.nn.functional.gumbel_softmax(interface.logits[0] / 1.0, dim=0)
        with torch.random.fork_rng():
            torch.manual_seed(1)
            fused = interface([states])
        hard = torch.stack([states[soft[:, d].argmax()][..., d] for d in range(6)], dim=-1)
        torch.testing.assert_close(fused, hard, rtol=1e-5, atol=1e-5)
        direction = random(2, 5, 6, seed=3)
        (got,) = torch.autograd.grad((fused * direction).sum(), interface.logits[0])
        mixed = sum(state.detach() * weight for state, weight in zip(states, soft))
        (expected,) = torch.autograd.grad((mixed * direction).sum(), interface.logits[0])
        assert expected.abs().sum() > 0
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)

    @pytest.mark.parametrize(
        "forwards, temperature",
        [(0, 1.0), (50, 0.55), (100, 0.1), (150, 0.1 * 1e-3**0.25), (300, 1e-4), (5000, 1e-4)],
    )
    def test_the_temperature_falls_linearly_then_exponentially_then_stays(self, forwards, temperature):
        interface = build_interface("gumbel", [2], [3], linear_steps=100, exponential_steps=200)
        interface.forwards.fill_(forwards)
        assert interface.temperature.item() == pytest.approx(temperature, rel=1e-5)

    def test_only_training_forwards_with_gradients_count(self):
        interface = build("gumbel", [3, 5], [4, 6])
        interface(self.members())
        interface(self.members())
        with torch.no_grad():
            interface(self.members())
        interface.eval()(self.members())
        assert interface.forwards == 2

    def test_the_count_is_restored_with_the_state(self):
        interface, other = build("gumbel", [3, 5], [4, 6]), build("gumbel", [3, 5], [4, 6])
        for _ in range(3):
            interface(self.members())
        other.load_state_dict(interface.state_dict(), strict=True)
        assert other.forwards == 3 and other.temperature == interface.temperature < 1

    def test_one_member_needs_no_projection(self):
        assert list(dict(build("gumbel", [13], [8]).named_parameters())) == ["logits.0"]

    @pytest.mark.parametrize("steps", [0, -1, 1.5, True, "30k"])
    def test_wrong_lengths_of_a_phase_are_refused(self, steps):
        for option in ("linear_steps", "exponential_steps"):
            with pytest.raises(ValueError, match=rf"{option} must be a positive integer, .*; got {steps!r}"):
                build_interface("gumbel", [2], [4], **{option: steps})


class TestCHConv:
    def members(self):
        return [list(random(9, 2, 4, 8, seed=1)), list(random(9, 2, 4, 8, seed=2))]

    def test_is_hconv_over_the_concatenated_members(self):
        both, wide = build("chconv", [9, 9], [8, 8]), build("hconv", [9], [16])
        wide.load_state_dict(both.state_dict(), strict=True)
        members, others = ([leaves(states) for states in self.members()] for _ in range(2))
        fused, expected = both(members), wide([[torch.cat(pair, dim=-1) for pair in zip(*others)]])
        torch.testing.assert_close(fused, expected, rtol=1e-5, atol=1e-6)
        assert both.output_dim == 16
        fused.square().sum().backward()
        expected.square().sum().backward()
        for got, wanted in zip(both.parameters(), wide.parameters()):
            assert_near(got.grad, wanted.grad)
        for state, other in zip(sum(members, []), sum(others, [])):
            assert_near(state.grad, other.grad)

    def test_with_a_projection_is_hconv_over_one_linear_of_every_concatenated_layer(self):
        both, narrow = build("chconv", [9, 9], [8, 8], projection=True), build("hconv", [9], [8])
        narrow.convs.load_state_dict(both.convs.state_dict(), strict=True)
        weight, bias = both.projection.weight, both.projection.bias
        joined = [torch.cat(pair, dim=-1) @ weight.T + bias for pair in zip(*self.members())]
        torch.testing.assert_close(both(self.members()), narrow([joined]), rtol=1e-5, atol=1e-6)
        assert both.output_dim == 8

    def test_one_member_is_hconv(self):
        one, hconv = build("chconv", [7], [6]), build("hconv", [7], [6])
        hconv.load_state_dict(one.state_dict(), strict=True)
        states = list(random(7, 2, 4, 6))
        assert torch.equal(one([states]), hconv([states]))

    def test_members_of_other_depths_are_interpolated_and_of_other_widths_concatenated(self):
        interface, wide = build("chconv", [4, 7], [6, 10]), build("hconv", [7], [16])
        wide.load_state_dict(interface.state_dict(), strict=True)
        shallow, deep = random(4, 2, 3, 6, seed=1), random(7, 2, 3, 10, seed=2)
        matched = torch.from_numpy(reference.match_layers(shallow.numpy(), 7)).float()
        expected = wide([list(torch.cat([matched, deep], dim=-1))])
        torch.testing.assert_close(interface([list(shallow), list(deep)]), expected, rtol=1e-5, atol=1e-6)

    def test_a_projection_that_is_not_yes_or_no_is_refused(self):
        with pytest.raises(TypeError, match="projection must be true or false; got 768"):
            build_interface("chconv", [2, 2], [4, 4], projection=768)


@pytest.mark.parametrize(
    "name, options, params",
    [
        ("weighted_sum", {}, 26),
        ("gumbel", {}, 1_200_384),
        ("hconv", {}, 4_424_832),
        ("chconv", {}, 17_697_024),
        ("chconv", {"projection": True}, 5_605_248),
        ("hconv", {"match_dim": "project_all"}, 5_606_016),
        ("lowrank", {}, 4_523_162),
    ],
)
def test_parameter_counts_for_two_base_models_are_the_papers_and_the_docs(name, options, params):
    with torch.device("meta"):
        assert num_params(build_interface(name, [13, 13], [768, 768], **options)) == params


def own_parts(interface: nn.Module, order: tuple[int, ...]) -> dict[str, torch.Tensor]:
    """A state dict in which member i has what member order[i] had of its own; there are as many as order has."""
    own = re.compile(r"((?:match\.projections|scales|down|up)\.)(\d+)(.*)")
    state, result = interface.state_dict(), {}
    for key in state:
        if not (found := own.fullmatch(key)):
            result[key] = state[key]
        elif int(found[2]) < len(order):
            result[key] = state[f"{found[1]}{order[int(found[2])]}{found[3]}"]
    return result


def shut(interface: nn.Module, member: int) -> None:
    """Turn a member down to nothing."""
    with torch.no_grad():
        if hasattr(interface, "scales"):
            interface.scales[member].zero_()
        else:
            interface.match.projections[str(member)].weight.zero_()
            interface.match.projections[str(member)].bias.zero_()


@pytest.mark.parametrize(
    "name, options",
    [
        ("lowrank", {"rank": 2}),
        ("hconv", {"match_dim": "project_all"}),
    ],
)
class TestMembersThatCanBeTurnedDown:
    """What an interface with parts of each member's own promises beyond `TestEveryInterface`."""

    def trained(self, name, options, layers, dims):
        interface = build(name, layers, dims, **options)
        generator = torch.Generator().manual_seed(5)
        for parameter in interface.parameters():
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
        return interface

    def members(self, layers, dims):
        return [list(random(n, 2, 4, dim, seed=i)) for i, (n, dim) in enumerate(zip(layers, dims))]

    @pytest.mark.parametrize("layers, dims", [([5, 5], [8, 8]), ([5, 2, 3], [8, 6, 8])])
    def test_it_starts_as_the_plain_sum(self, name, options, layers, dims):
        interface, members = build_interface(name, layers, dims, **options), self.members(layers, dims)
        hconv = build_interface("hconv", layers, dims)
        state = interface.state_dict()
        hconv.load_state_dict({key: state[key] for key in hconv.state_dict()})
        torch.testing.assert_close(interface(members), hconv(members), rtol=1e-6, atol=1e-6)

    def test_a_member_that_is_turned_down_is_as_if_it_were_not_there(self, name, options):
        both = self.trained(name, options, [5, 5], [8, 8])
        members, alone = self.members([5, 5], [8, 8]), build(name, [5], [8], **options)
        whole = both(members)
        for member in (0, 1):
            interface = self.trained(name, options, [5, 5], [8, 8])
            shut(interface, member)
            other = 1 - member
            alone.load_state_dict(own_parts(interface, (other,)), strict=True)
            fused = interface(members)
            torch.testing.assert_close(fused, alone([members[other]]))
            assert not torch.allclose(fused, whole, atol=1e-2)

    @pytest.mark.parametrize("order", [(1, 0, 2), (2, 1, 0), (1, 2, 0)])
    def test_permuting_members_with_their_parts_changes_nothing(self, name, options, order):
        interface = self.trained(name, options, [7, 7, 7], [12, 12, 12])
        other = build(name, [7, 7, 7], [12, 12, 12], **options)
        other.load_state_dict(own_parts(interface, order), strict=True)
        members = self.members([7, 7, 7], [12, 12, 12])
        expected = interface(members)
        torch.testing.assert_close(other([members[i] for i in order]), expected, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(interface([members[i] for i in order]), expected, atol=1e-2)

    def test_gradients_are_those_of_finite_differences(self, name, options):
        interface = self.trained(name, options, [4, 2], [4, 4]).double()
        states = leaves(random(6, 1, 2, 4).double())
        inputs = (*states, *interface.parameters())
        assert torch.autograd.gradcheck(lambda *values: interface([values[:4], values[4:6]]), inputs)

    def test_autocast_takes_half_precision(self, name, options):
        interface, members = self.trained(name, options, [5, 3], [96, 64]), self.members([5, 3], [96, 64])
        expected = interface(members)
        with torch.autocast("cpu", torch.bfloat16):
            fused = interface(members)
        assert fused.dtype == torch.bfloat16
        assert_near(fused.float(), expected, 0.02)
        fused.sum().backward()
        assert all(p.grad.dtype == torch.float32 and p.grad.any() for p in interface.parameters())


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize(
    "name, options",
    [
        ("lowrank", {}),
        ("hconv", {"match_dim": "project_all"}),
    ],
)
def test_turning_members_down_costs_at_most_a_tenth_more_than_a_hconv_a_member(name, options, count):
    hconv = build_interface("hconv", [13], [768])
    ours = build_interface(name, [13] * count, [768] * count, **options)
    states = list(random(13, 1, 1, 768))
    spent = count_macs(lambda: ours([states] * count)), count_macs(lambda: hconv([states]))
    assert num_params(ours) <= 1.1 * count * num_params(hconv)
    assert 0 < spent[0] <= 1.1 * count * spent[1]


class TestLowRank:
    @pytest.mark.parametrize("rank", [0, 1.5, True])
    def test_a_rank_that_is_none_is_refused(self, rank):
        with pytest.raises(ValueError, match=f"rank must be a positive integer; got {rank}"):
            build_interface("lowrank", [2], [4], rank=rank)

    @pytest.mark.parametrize("dims", [[8, 8], [4, 8]])
    @pytest.mark.parametrize("match_dim", ["project", "project_all", "interpolate"])
    def test_it_is_hconv_of_members_that_are_mapped_and_scaled(self, match_dim, dims):
        interface, hconv = (build_interface(name, [3, 2], dims, match_dim=match_dim) for name in ("lowrank", "hconv"))
        generator = torch.Generator().manual_seed(7)
        for parameter in (*interface.up.parameters(), *interface.scales):
            parameter.data.normal_(generator=generator)
        hconv.load_state_dict({key: interface.state_dict()[key] for key in hconv.state_dict()})
        members = [list(random(n, 2, 5, dim, seed=n)) for n, dim in zip([3, 2], dims)]
        mapped = [
            [(x + x @ down.weight.T @ up.weight.T) * scale for x, scale in zip(states, scales)]
            for states, down, up, scales in zip(hconv.match(members), interface.down, interface.up, interface.scales)
        ]
        wide = build_interface("hconv", [3, 2], [8, 8])
        wide.convs.load_state_dict(hconv.convs.state_dict())
        torch.testing.assert_close(interface(members), wide(mapped), rtol=1e-5, atol=1e-5)


class TestSharesAndOcclusion:
    def members(self, layers, dims):
        return [list(random(n, 2, 6, dim, seed=i)) for i, (n, dim) in enumerate(zip(layers, dims))]

    def test_shares_of_a_weighted_sum_are_its_softmax(self):
        interface = build("weighted_sum", [2, 3], [4, 4])
        shares = interface.shares()
        expected = interface.weights.detach().exp() / interface.weights.detach().exp().sum()
        torch.testing.assert_close(torch.cat(shares), expected)
        assert [len(share) for share in shares] == [2, 3]

    def test_shares_of_gumbel_are_those_of_the_dimensions_that_choose_a_layer(self):
        interface = build("gumbel", [2, 3], [4, 4])
        interface.logits[0].data.copy_(torch.tensor([[1.0, 1, 1, 0], [0, 0, 0, 1]]))
        shares = interface.shares()
        assert shares[0].tolist() == [0.75, 0.25] and shares[1].sum() == pytest.approx(1)

    @pytest.mark.parametrize("name", ["hconv", "chconv"])
    def test_convolutions_have_no_shares(self, name):
        assert build(name, [3, 2], [4, 4]).shares() is None

    @pytest.mark.parametrize("name", list_interfaces())
    def test_occlusion_is_the_change_when_a_layer_is_its_mean_over_time(self, name):
        interface, members = build(name, [3, 2], [8, 8]).eval(), self.members([3, 2], [8, 8])
        changes = interface.occlusion(members)
        whole = interface(members).detach()
        members[1][1] = members[1][1].mean(1, keepdim=True).repeat(1, 6, 1)
        change = np.linalg.norm(interface(members).detach() - whole) / np.linalg.norm(whole)
        assert changes[1][1].item() == pytest.approx(change, rel=1e-4) and change > 0
        assert [len(c) for c in changes] == [3, 2]

    @pytest.mark.parametrize("name", list_interfaces())
    def test_a_layer_that_does_not_change_over_time_has_no_influence(self, name):
        members = self.members([3, 2], [16, 16])
        members[0][2] = members[0][2][:, :1].expand(-1, 6, -1)
        changes = build(name, [3, 2], [16, 16]).eval().occlusion(members)
        assert changes[0][2].item() == pytest.approx(0, abs=1e-6)
        assert all(change > 1e-3 for change in [*changes[0][:2], *changes[1]])


OWN_INTERFACE = """
from dataclasses import dataclass

from s3prl_fusion import Interface


@dataclass
class NotAnInterface:
    scale: float = 1.0


class LastLayers(Interface):
    def __init__(self, layers, dims, output_dim=None, *, scale=1.0):
        super().__init__(layers, dims, output_dim)
        self.output_dim, self.scale = dims[-1], scale

    def forward(self, members):
        return self.scale * members[-1][-1]
"""


class TestUsersInterface:
    @pytest.fixture
    def folder(self, tmp_path):
        (tmp_path / "own.py").write_text(OWN_INTERFACE)
        return tmp_path

    def check(self, name):
        states = list(random(3, 1, 2, 4))
        assert interface_options(name) == {"scale": 1.0}
        assert torch.equal(build_interface(name, [3], [4], scale=2.0)([states]), 2 * states[-1])

    def test_is_found_by_its_files_path(self, folder):
        self.check(f"{folder}/own.py:LastLayers")

    def test_is_found_in_an_importable_module(self, folder, monkeypatch):
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.delitem(sys.modules, "own", raising=False)
        self.check("own:LastLayers")

    @pytest.mark.parametrize("name", ["own:LastLayers", "own.py:LastLayers"])
    def test_is_found_beside_the_yaml_that_names_it(self, folder, name):
        (folder / "fusion.yaml").write_text(f"members: [fbank]\ninterface: {{name: '{name}', scale: 3.0}}\n")
        config = FusionConfig.from_yaml(folder / "fusion.yaml")
        assert config.interface.options == {"scale": 3.0}
        self.check(config.interface.name)
        assert FusionConfig.from_dict(config.to_dict()) == config

    def test_an_option_that_it_does_not_have_is_refused_before_anything_loads(self, folder):
        interface = {"name": f"{folder}/own.py:LastLayers", "scal": 3.0}
        with pytest.raises(ValueError, match=r"unknown key 'scal'.*did you mean 'scale'"):
            FusionConfig.from_dict({"members": ["fbank"], "interface": interface})

    def test_a_module_that_is_not_there_says_where_to_put_it(self):
        with pytest.raises(ValueError, match=r"'nowhere' cannot be imported .*put the file beside the fusion YAML"):
            FusionConfig.from_dict({"members": ["fbank"], "interface": "nowhere:Mine"})
        with pytest.raises(ValueError, match=r"'nowhere.py' cannot be imported .*No such file"):
            FusionConfig.from_dict({"members": ["fbank"], "interface": "nowhere.py:Mine"})

    def test_a_class_that_is_not_there_says_what_is(self, folder):
        with pytest.raises(ValueError, match=r"unknown name 'LastLayer'.*did you mean 'LastLayers'"):
            interface_options(f"{folder}/own.py:LastLayer")

    def test_a_class_that_does_not_say_its_width_is_refused(self, tmp_path):
        (tmp_path / "mute.py").write_text("from s3prl_fusion import Interface\n\n\nclass Mute(Interface):\n    pass\n")
        with pytest.raises(TypeError, match=r"mute.py:Mute' must set self.output_dim, the width of its result"):
            build_interface(f"{tmp_path}/mute.py:Mute", [2], [4])

    def test_a_class_that_is_no_interface_is_refused(self, folder):
        with pytest.raises(TypeError, match="must be a subclass of s3prl_fusion.Interface; got .*NotAnInterface"):
            interface_options(f"{folder}/own.py:NotAnInterface")


class TestRegistry:
    def test_names_are_the_folders_files(self):
        assert list_interfaces() == sorted(list_interfaces()) and {"hconv", "weighted_sum"} <= set(list_interfaces())
        assert "base" not in list_interfaces()

    def test_unknown_names_say_what_is_near(self):
        with pytest.raises(ValueError, match=r"unknown interface 'hconf'; choose from .*hconv.*did you mean 'hconv'"):
            build_interface("hconf", [2], [4])

    def test_a_file_in_the_folder_is_an_interface(self, tmp_path, monkeypatch):
        import s3prl_fusion.interfaces as package

        (tmp_path / "last_layer.py").write_text(
            "from s3prl_fusion.interfaces.base import Interface\n\n\n"
            "class LastLayer(Interface):\n"
            "    def __init__(self, layers, dims, output_dim=None, *, scale=1.0):\n"
            "        super().__init__(layers, dims, output_dim)\n"
            "        self.output_dim, self.scale = dims[-1], scale\n\n"
            "    def forward(self, members):\n"
            "        return self.scale * members[-1][-1]\n"
        )
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
        try:
            assert "last_layer" in list_interfaces() and interface_options("last_layer") == {"scale": 1.0}
            states = list(random(3, 1, 2, 4))
            assert torch.equal(build_interface("last_layer", [3], [4], scale=2.0)([states]), 2 * states[-1])
            config = FusionConfig.from_dict({"members": ["fbank"], "interface": {"name": "last_layer", "scale": 3.0}})
            assert config.interface.options == {"scale": 3.0}
            assert FusionConfig.from_name("fused_wavlm_hubert_last_layer").interface.name == "last_layer"
        finally:
            sys.modules.pop(f"{package.__name__}.last_layer", None)
