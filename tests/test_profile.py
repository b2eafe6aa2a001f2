"""Multiply-accumulates against counts by hand."""

from __future__ import annotations

import pytest
import torch

from s3prl_fusion.cli import main
from s3prl_fusion.commands.profile import count_macs, parse_seconds, profile
from s3prl_fusion.names import parse


@pytest.mark.parametrize(
    ("module", "shape", "expected"),
    [
        (torch.nn.Linear(7, 5), (3, 7), 3 * 7 * 5),
        (torch.nn.Conv1d(4, 6, 3, stride=2), (1, 4, 11), 5 * 3 * 4 * 6),
        (torch.nn.LSTM(7, 5, batch_first=True), (1, 9, 7), 9 * 4 * 5 * (7 + 5)),
        (torch.nn.GRU(7, 5, batch_first=True), (1, 9, 7), 9 * 3 * 5 * (7 + 5)),
    ],
)
def test_macs(module, shape, expected):
    with torch.no_grad():
        assert count_macs(lambda: module(torch.randn(shape))) == expected


def test_attention_is_counted():
    states = torch.randn(1, 4, 50, 16)  # heads of 16, 50 frames
    attend = torch.nn.functional.scaled_dot_product_attention
    assert count_macs(lambda: attend(states, states, states)) == 4 * 2 * 50 * 50 * 16
    layer = torch.nn.TransformerEncoderLayer(64, 4, 128, batch_first=True).eval()
    with torch.no_grad():
        counted = count_macs(lambda: layer(torch.randn(1, 50, 64)))
    assert counted == 50 * (4 * 64 * 64 + 2 * 64 * 128) + 4 * 2 * 50 * 50 * 16


def test_hconv_and_its_members():
    table = profile(parse("fused_demo"), [1.0, 2.0])
    assert list(table["part"]) == ["demo_hubert", "demo_whisper", "interface"] * 2
    assert (table["MACs"] > 0).all()
    assert (table["real_time_factor"] > 0).all()
    short, long = (group.set_index("part")["MACs"] for _, group in table.groupby("seconds"))
    # 49 and 99 frames; the interface's work is proportional to them.
    assert long["interface"] / short["interface"] == pytest.approx(99 / 49, rel=0.02)
    assert 1.9 < long["demo_hubert"] / short["demo_hubert"] < 2.3


def test_the_command(capsys):
    assert main(["profile", "-u", "fused_demo_weighted_sum", "--seconds", "0.5"]) == 0
    text = capsys.readouterr().out
    assert all(word in text for word in ("MACs", "demo_hubert", "demo_whisper", "interface"))


@pytest.mark.parametrize("text", ["", "five", "0", "1,-2"])
def test_seconds_are_positive_numbers(text):
    with pytest.raises(ValueError, match="--seconds: got .*; give positive numbers"):
        parse_seconds(text)
    assert main(["profile", "-u", "fused_demo", "--seconds", text]) == 2
