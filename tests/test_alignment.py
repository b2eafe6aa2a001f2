"""Frame and layer alignment: the numpy reference, and the laws that follow from "linear, on the time grid"."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import torch

from s3prl_fusion.alignment import align_frames, match_layers

RATES = [(320, 160), (640, 160), (640, 320), (320, 256), (256, 160), (320, 320), (441, 160), (1280, 320), (160, 320)]


def align(state: torch.Tensor, *grid) -> torch.Tensor:
    (aligned,) = align_frames([state], *grid)
    return aligned


def _states(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("rate, target", RATES)
@pytest.mark.parametrize("valid", [[11, 7, 2], [1, 11, 5]])
def test_frames_agree_with_the_reference(rate, target, valid):
    state = _states(3, 11, 4)
    frames = 11 * rate // target + 2
    ours = align(state, rate, target, frames, valid)
    np.testing.assert_allclose(ours, reference.align_frames(state.numpy(), rate, target, frames, valid), atol=1e-12)


def test_frames_agree_with_the_reference_in_single_precision_far_into_an_utterance():
    state = _states(1, 3000, 2).float()
    ours = align(state, 320, 256, 3750, [3000])
    np.testing.assert_allclose(ours, reference.align_frames(state.numpy(), 320, 256, 3750, [3000]), atol=1e-5)


def test_equal_rates_are_the_identity_bit_for_bit():
    state = _states(2, 9, 3).float()
    assert torch.equal(align(state, 320, 320, 9, [9, 9]), state)


@pytest.mark.parametrize("rate, target", RATES)
def test_states_of_any_memory_layout_and_type_are_aligned_as_each_alone(rate, target):
    state = _states(3, 11, 4)
    views = [state, state.transpose(0, 1).contiguous().transpose(0, 1), state.float(), state[:, :9], _states(3, 11, 2)]
    frames = 11 * rate // target + 2
    for view, ours in zip(views, align_frames(views, rate, target, frames, [11, 7, 2])):
        valid = [min(view.size(1), 11), 7, 2]
        expected = reference.align_frames(view.numpy(), rate, target, frames, valid)
        assert ours.dtype == view.dtype
        np.testing.assert_allclose(ours, expected, atol=1e-6 if view.dtype == torch.float32 else 1e-12)


def test_equal_rates_copy_nothing_where_every_frame_is_valid():
    states = [_states(2, 9, 3), _states(2, 10, 3)]
    aligned = align_frames(states, 320, 320, 8, [9, 8])
    assert all(ours.data_ptr() == state.data_ptr() for ours, state in zip(aligned, states))


def test_equal_rates_hold_an_utterances_last_valid_frame():
    state = _states(2, 9, 3)
    aligned = align(state, 320, 320, 9, [9, 4])
    assert torch.equal(aligned[1, :4], state[1, :4])
    assert torch.equal(aligned[1, 4:], state[1, 3].expand(5, 3))


@pytest.mark.parametrize("rate, target", RATES)
def test_constants_stay_constant(rate, target):
    state = torch.full((2, 6, 3), 0.7)
    aligned = align(state, rate, target, 20, [6, 3])
    torch.testing.assert_close(aligned, torch.full((2, 20, 3), 0.7), rtol=0, atol=1e-7)


@pytest.mark.parametrize("rate, target", RATES)
def test_linear_ramps_stay_linear_between_the_first_and_last_centre(rate, target):
    centres = (torch.arange(10, dtype=torch.float64) + 0.5) * rate
    frames = 10 * rate // target
    targets = (torch.arange(frames, dtype=torch.float64) + 0.5) * target
    aligned = align(centres.view(1, 10, 1), rate, target, frames, [10])[0, :, 0]
    torch.testing.assert_close(aligned, targets.clamp(centres[0], centres[-1]), rtol=0, atol=1e-9)


@pytest.mark.parametrize("rate, target", RATES)
def test_an_utterance_is_aligned_alone_as_in_a_padded_batch(rate, target):
    state = _states(2, 12, 3).float()
    frames = 5 * rate // target
    batch = align(state, rate, target, 12 * rate // target, [12, 5])
    alone = align(state[1:, :5], rate, target, frames, [5])
    assert torch.equal(batch[1, :frames], alone[0])


def test_what_lies_beyond_the_valid_frames_has_no_influence():
    state = _states(1, 8, 3)
    noisy = state.clone()
    noisy[:, 5:] = float("inf")
    assert torch.equal(align(state, 320, 160, 16, [5]), align(noisy, 320, 160, 16, [5]))


def test_alignment_is_linear_in_the_states():
    a, b = _states(2, 7, 3, seed=1), _states(2, 7, 3, seed=2)

    def aligned(state):
        return align(state, 320, 160, 14, [7, 4])

    torch.testing.assert_close(aligned(2 * a - b), 2 * aligned(a) - aligned(b))


@pytest.mark.parametrize("given, wanted", [(1, 4), (2, 5), (3, 13), (7, 13), (13, 7), (13, 25), (5, 1), (12, 25)])
def test_layers_agree_with_the_reference(given, wanted):
    states = _states(given, 2, 3, 4)
    ours = torch.stack(match_layers(list(states), wanted))
    np.testing.assert_allclose(ours, reference.match_layers(states.numpy(), wanted), atol=1e-12)


@pytest.mark.parametrize("given, wanted", [(2, 5), (7, 13), (12, 25), (13, 7), (24, 33)])
def test_first_and_last_layers_stay_first_and_last(given, wanted):
    states = list(_states(given, 1, 2, 3).float())
    matched = match_layers(states, wanted)
    torch.testing.assert_close(matched[0], states[0], rtol=0, atol=0)
    torch.testing.assert_close(matched[-1], states[-1], rtol=0, atol=1e-6)


def test_the_right_number_of_layers_passes_untouched():
    states = list(_states(5, 1, 2, 3))
    assert all(matched is state for matched, state in zip(match_layers(states, 5), states))


def test_one_layer_is_repeated():
    (state,) = _states(1, 2, 3, 4)
    assert all(torch.equal(matched, state) for matched in match_layers([state], 6))


def test_layers_of_mixed_types_are_matched_in_the_wider_one():
    states = [torch.zeros(1, 2, 3, dtype=torch.bfloat16), torch.ones(1, 2, 3)]
    matched = match_layers(states, 3)
    assert [state.dtype for state in matched] == [torch.float32] * 3
    assert [float(state[0, 0, 0]) for state in matched] == [0.0, 0.5, 1.0]
