"""The paper's numbers as data, and the fusion YAMLs of its rows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from s3prl_fusion import FusionConfig, list_interfaces
from s3prl_fusion.assets import downstream_configs_dir
from s3prl_fusion.checkpoint import in_full
from s3prl_fusion.grammar import presets
from s3prl_fusion.names import resolve
from s3prl_fusion.superb.scores.published import paper, paper_score

FUSION = downstream_configs_dir() / "fusion"
UPSTREAMS = sorted({*paper()["librispeech_upstream"], *paper()["upstream"]})


def test_both_tables_are_whole():
    table = paper()
    assert len(table[table["table"] == "I"]) == 4 * 2 + 3 * 4 + 4 + 3 + 3 and len(table[table["table"] == "II"]) == 6
    assert not table.duplicated(["table", "models", "interface"]).any()
    assert set(table["interface"]) == {"weighted_sum", "gumbel", "hconv", "chconv"} <= set(list_interfaces())
    assert table.drop(columns="multi_1h_cer").notna().all(axis=None)
    assert table.loc[table["table"] == "I", "multi_1h_cer"].notna().all()


@pytest.mark.parametrize("name", UPSTREAMS)
def test_every_row_has_a_preset_and_a_yaml_of_the_same_fusion(name):
    assert name in presets()
    (path,) = FUSION.glob(f"{name[len('fused_') :]}.yaml")
    assert FusionConfig.from_yaml(path) == replace(resolve(f"{name}_hconv"), normalize=False)


def test_every_yaml_is_of_a_row_or_says_which_task_is_on_another():
    extra = {f"fused_{path.stem}" for path in FUSION.glob("*.yaml")} - set(UPSTREAMS)
    # The best SSL model beside Whisper for SV, which the rows do not name.
    assert extra == {"fused_whisper_data2vec"}


@pytest.mark.parametrize(
    "upstream, task, score",
    [
        ("fused_hubert_wavlm_chconv", "asr", 4.82),
        ("fused_wavlm_hubert_chconv", "asr", 4.82),
        ("fused__wavlm_base_plus__hubert_base__gumbel", "er", 61.83),
        ("hubert_base", "asr", 6.32),
        ("fused_hubert_weighted_sum", "er", 65.71),
        ("fused_whisper_en_data2vec_hconv", "asr", 4.93),
        ("fused_whisper_en_data2vec_hconv", "er", None),
        ("fused_whisper_wavlm_hconv", "er", 71.29),
        ("fused_whisper_wavlm_hconv", "asr", None),
        ("fused_wavlm_large_weighted_sum", "er", 68.67),
        ("fused_whisper_en_large_hconv", "asr", 5.25),
        ("fused_hubert_wavlm_hconv", "sv", None),
        ("fused_hubert_wavlm_hconv", "pr", None),
        ("fused_demo_hconv", "asr", None),
        ("fbank", "asr", None),
        ("fused_hubert_wavlm_chconv", "asr", 4.82),
    ],
)
def test_scores_are_the_papers_where_members_interface_and_task_are(upstream, task, score):
    papers, own = (replace(resolve(upstream), normalize=normalize) for normalize in (False, True))
    assert paper_score(in_full(papers), task) == score and paper_score(in_full(own), task) is None
