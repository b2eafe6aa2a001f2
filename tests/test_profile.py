"""What is measured, against counts by hand and the leaderboard's own."""

from __future__ import annotations

from itertools import chain

import pytest
import torch
from torch import Tensor

from s3prl_fusion import costs
from s3prl_fusion.cli import main
from s3prl_fusion.commands.profile import parse_seconds
from s3prl_fusion.costs import count_macs, peak_memory, profile, profile_groups
from s3prl_fusion.host.upstream import load_pair
from s3prl_fusion.names import resolve
from s3prl_fusion.superb.scores.leaderboard import PROFILED_SAMPLES, PUBLISHED_COSTS


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


# HuBERT's sizes beside the defaults of s3prl's class, and whether its attention has dropout.
HUBERTS = {
    "hubert": ({"final_dim": 256, "untie_final_proj": True}, True),
    "hubert_large_ll60k": (
        {
            "encoder_layers": 24,
            "encoder_embed_dim": 1024,
            "encoder_ffn_embed_dim": 4096,
            "encoder_attention_heads": 16,
            "attention_dropout": 0.0,
            "extractor_mode": "layer_norm",
            "layer_norm_first": True,
            "final_dim": 768,
        },
        False,
    ),
}


def hubert(name: str) -> torch.nn.Module:
    """HuBERT Base or Large without weights, which take no memory and no time."""
    from s3prl.upstream.hubert.hubert_model import HubertConfig, HubertModel, HubertPretrainingConfig
    from s3prl.upstream.utils import merge_with_parent

    rate = {"label_rate": 50.0}
    config = merge_with_parent(HubertConfig, {**rate, **HUBERTS[name][0]})
    with torch.device("meta"):
        return HubertModel(config, merge_with_parent(HubertPretrainingConfig, rate), [["a"] * 504]).eval()


def hubert_macs(model: torch.nn.Module, samples: int) -> int:
    with torch.no_grad(), torch.device("meta"):
        padding = torch.zeros(1, samples, dtype=torch.bool)
        return count_macs(lambda: model.extract_features(torch.zeros(1, samples), padding, mask=None))


def products(name: str, samples: int, as_published: bool) -> int:
    """By hand: multiply-accumulates of HuBERT's products, or all that the leaderboard's tool takes for some."""
    config, dropout = HUBERTS[name]
    dim, layers = config.get("encoder_embed_dim", 768), config.get("encoder_layers", 12)
    heads = config.get("encoder_attention_heads", 12)
    macs, frames, channels = 0, samples, 1
    for kernel, stride in [(10, 5)] + [(3, 2)] * 4 + [(2, 2)] * 2:
        frames = (frames - kernel) // stride + 1
        macs += frames * kernel * channels * 512
        channels = 512
    macs += frames * 512 * dim + (frames + 1) * 128 * dim * dim // 16  # projection, convolution over positions
    if not as_published:
        frames += frames % 2
    per_layer = frames * (4 * dim * dim + 2 * dim * 4 * dim) + 2 * frames * frames * dim
    if as_published:
        per_layer += 4 * frames * dim + (4 if dropout else 3) * heads * frames * frames
    return macs + layers * per_layer


@pytest.mark.parametrize("name", HUBERTS)
def test_what_the_leaderboard_counts_beside_products_is_known(name):
    samples = list(chain(*PROFILED_SAMPLES.values()))
    published, _ = PUBLISHED_COSTS[name]
    assert sum(products(name, length, as_published=True) for length in samples) == published
    assert sum(products(name, length, as_published=False) for length in samples) == pytest.approx(published, rel=0.002)


def test_hubert_base_by_hand():
    model = hubert("hubert")
    assert sum(parameter.numel() for parameter in model.parameters()) == PUBLISHED_COSTS["hubert"][1]
    for samples in PROFILED_SAMPLES["short"][:3]:
        assert hubert_macs(model, samples) == products("hubert", samples, as_published=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", HUBERTS)
def test_the_leaderboards_macs(name):
    model = hubert(name)
    macs, parameters = PUBLISHED_COSTS[name]
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    counted = sum(hubert_macs(model, samples) for samples in chain(*PROFILED_SAMPLES.values()))
    assert counted == pytest.approx(macs, rel=0.002)


def allocate() -> Tensor:
    first = torch.empty(1000, 1000)
    second = torch.empty(500, 1000)  # 6 MB: the peak
    del first
    third = torch.empty(750, 1000)  # 2 + 3 MB
    del second
    return third


def test_peak_memory_by_hand():
    assert peak_memory(allocate) == 6_000_000
    assert peak_memory(lambda: None) == 0


def test_memory_from_before_does_not_count():
    states = torch.ones(1000, 1000)
    assert peak_memory(states.neg_) == 0
    assert peak_memory(states.neg) == 4_000_000


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpus_peak_is_the_same():
    states = torch.ones(1000, 1000, device="cuda")
    with torch.device("cuda"):
        assert peak_memory(allocate, "cuda") == pytest.approx(6_000_000, rel=0.1)  # handed out in blocks
    del states


def test_hconv_and_its_members():
    table = profile(*load_pair(resolve("fused_demo_hubert_demo_whisper_hconv")), [1.0, 2.0])
    assert list(table["part"]) == ["demo_hubert", "demo_whisper", "interface"] * 2
    assert (table["MACs"] > 0).all()
    assert (table["real_time_factor"] > 0).all()
    short, long = (group.set_index("part") for _, group in table.groupby("seconds"))
    # 49 and 99 frames; the interface's work and memory are proportional to them.
    for column in ("MACs", "peak_MB"):
        assert long.loc["interface", column] / short.loc["interface", column] == pytest.approx(99 / 49, rel=0.02)
        assert 1.9 < long.loc["demo_hubert", column] / short.loc["demo_hubert", column] < 2.3


def test_groups_are_summed():
    upstream, featurizer = load_pair(resolve("fused_demo_hubert_demo_whisper_hconv"))
    table = profile_groups(upstream, featurizer, {"one": [8000], "two": [8000, 16000]}).set_index("utterances")
    assert list(table.columns) == ["demo_hubert", "demo_whisper", "upstream", "interface"]
    (wavs,) = costs.noise([8000])
    with torch.no_grad():
        assert table.loc["one", "demo_whisper"] == count_macs(lambda: upstream.members[1](wavs))
    assert (table.loc["total"] == table.loc["one"] + table.loc["two"]).all()
    assert (table["upstream"] == table["demo_hubert"] + table["demo_whisper"]).all()
    assert (2.9 * table.loc["one"] < table.loc["two"]).all()


def test_the_command(capsys):
    assert main(["profile", "-u", "fused_demo_weighted_sum", "--seconds", "0.5"]) == 0
    text = capsys.readouterr().out
    assert all(word in text for word in ("MACs", "peak_MB", "demo_hubert", "demo_whisper", "interface"))
    assert "nan" not in text.lower()


def test_a_fused_upstream_of_one_has_an_interface_and_a_stock_one_has_none(capsys):
    for name, parts in (("fused__mfcc__hconv", ["mfcc", "interface"]), ("mfcc", ["mfcc"])):
        assert main(["profile", "-u", name, "--seconds", "0.5"]) == 0
        assert [line.split()[1] for line in capsys.readouterr().out.splitlines()[1:]] == parts


def test_the_leaderboards_groups(capsys):
    assert main(["profile", "-u", "fused__fbank__mfcc", "--superb"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["utterances", "fbank", "mfcc", "upstream", "interface"]
    assert [row.split()[0] for row in rows] == [*PROFILED_SAMPLES, "total"]
    macs = [[int(word.replace(",", "")) for word in row.split()[1:]] for row in rows]
    assert [sum(column) for column in zip(*macs[:-1])] == macs[-1]
    assert macs[-1][0] == PUBLISHED_COSTS["fbank"][0]
    assert all(fbank + mfcc == upstream for fbank, mfcc, upstream, _ in macs)


@pytest.mark.parametrize("text", ["", "five", "0", "1,-2"])
def test_seconds_are_positive_numbers(text):
    with pytest.raises(ValueError, match="--seconds: got .*; give positive numbers"):
        parse_seconds(text)
    assert main(["profile", "-u", "fused_demo", "--seconds", text]) == 2
