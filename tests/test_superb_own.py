"""Upstreams of the user's own are looked at before anything is prepared or trained; known ones are not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import official_layouts
import pytest
import tiny_models
import torch
from test_superb_pipeline import upstream_of

from s3prl_fusion import FusionConfig, MemberConfig
from s3prl_fusion.cli import main
from s3prl_fusion.config import InterfaceConfig
from s3prl_fusion.corpora.base import Prepared
from s3prl_fusion.errors import UsageError
from s3prl_fusion.superb.runs import plan
from s3prl_fusion.superb.runs.experiment import Settings, Upstream
from s3prl_fusion.superb.runs.own import check_own
from s3prl_fusion.superb.tasks import TASKS

WARNING = {"what": "silence", "mark": "warning", "said": "1 s of zeros gives NaN"}


class FakeChildren:
    """Writes the report that `check` would, without loading anything.

    Args:
        broken: why an upstream cannot be used, by its name; None for one that `check` itself refuses.
    """

    def __init__(self, **broken: Sequence[str] | None) -> None:
        self.broken, self.commands, self.stopped = broken, [], False

    def run(self, command, log, progress, append=False, fusion=None) -> int:
        self.commands.append(command[3:])
        reasons = self.broken.get(command[4], [])
        if reasons is None:
            log.write_text("Traceback\nKilled\n")
            return 137
        report = {"broken": reasons, "parts": [{"name": command[4], "findings": [WARNING]}]}
        Path(command[command.index("--json") + 1]).write_text(json.dumps(report))
        return 1 if reasons else 0

    def stop(self) -> None:
        self.stopped = True


def own(name: str, *members: str, **given) -> Upstream:
    fusion = FusionConfig(tuple(MemberConfig(member, ckpt="folder") for member in members or (name,)))
    return Upstream(name, fusion, {}, **given)


def settings(tmp_path: Path, **options) -> Settings:
    return Settings(tmp_path / "exp", tmp_path, options=options)


def test_each_own_member_is_looked_at_once(tmp_path, capsys):
    children = FakeChildren()
    fused = [own("a.yaml", "hf_hubert_custom"), own("b.yaml", "hf_hubert_custom"), own("c.yaml", "wavlm_local")]
    check_own([upstream_of("fbank"), *fused], settings(tmp_path), children, "cpu")
    assert [command[1] for command in children.commands] == ["a.yaml", "c.yaml"] and children.stopped
    assert children.commands[0][2:6] == ["--device", "cpu", "--quick", "--own"]
    err = capsys.readouterr().err
    assert "a: its own members are looked at first: s3prl-fusion check a.yaml --device cpu\n" in err
    assert "a.yaml: warning: silence: 1 s of zeros gives NaN" in err


def test_files_of_an_upstream_are_passed_on(tmp_path):
    children = FakeChildren()
    upstream = own("hubert_local", model_config="model.yaml")
    check_own([upstream], settings(tmp_path, upstream_ckpt="model.pt"), children, None)
    assert children.commands[0][1:6] == ["hubert_local", "-g", "model.yaml", "-k", "model.pt"]


def test_everything_that_is_wrong_is_told_at_once(tmp_path):
    children = FakeChildren(one_local=["one_local: rate: 320 are measured"], two_local=None)
    match = (
        "(?s)-u one_local breaks run_downstream's contract: one_local: rate: 320 are measured. "
        "`s3prl-fusion check one_local` tells more.*-u two_local cannot be looked at: Killed"
    )
    with pytest.raises(UsageError, match=match):
        check_own([own("one_local"), own("two_local")], settings(tmp_path), children, None)
    assert children.stopped


def test_what_has_been_trained_is_not_looked_at_again(tmp_path):
    made = plan.Plan([TASKS["sid"]], [own("one_local"), own("two_local")], settings(tmp_path), Prepared(tmp_path))
    assert [upstream.name for upstream in made.untried([])] == ["one_local", "two_local"]
    begun = next(e for e in made.experiments() if e.upstream.name == "one_local")
    begun.folder.path.mkdir(parents=True)
    (begun.folder.path / "states-1.ckpt").touch()
    assert [upstream.name for upstream in made.untried([])] == ["two_local"]
    assert [upstream.name for upstream in made.untried([begun.label])] == ["one_local", "two_local"]


@pytest.mark.slow
@pytest.mark.fault(
    "superb with an upstream of your own that breaks run_downstream's contract",
    "refused in seconds, with the reason, before the first corpus is prepared",
)
def test_a_broken_upstream_is_refused_before_anything_is_prepared(tmp_path, capsys):
    from transformers import HubertModel

    folder = tmp_path / "broken"
    tiny_models.save_hf_wav2vec(folder, "hubert")
    model = HubertModel.from_pretrained(folder)
    with torch.no_grad():
        model.encoder.layer_norm.bias[0] = float("nan")
    model.save_pretrained(folder)
    fusion = FusionConfig((MemberConfig("hf_hubert_custom", str(folder)),), InterfaceConfig("weighted_sum"))
    (tmp_path / "mine.yaml").write_text(fusion.to_yaml())
    words = ["-u", str(tmp_path / "mine.yaml"), "-t", "sid", "-o", str(tmp_path / "exp"), "--device", "cpu"]
    assert main(["superb", *words, "--voxceleb1", str(official_layouts.official_voxceleb1(tmp_path / "Vox"))]) == 2
    err = capsys.readouterr().err
    assert "-u mine breaks run_downstream's contract: hf_hubert_custom: finite: NaN or infinity in hidden states" in err
    assert "so are weights, model.encoder.layer_norm.bias first" in err
    assert not (tmp_path / "exp" / "data").exists()
