"""Everything in the README runs, or at least parses as what it claims to be."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
import yaml

from s3prl_fusion import FusionConfig
from s3prl_fusion.cli import build_parser
from s3prl_fusion.names import is_fused_name, parse

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


def commands() -> list[list[str]]:
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


def of(program: str) -> list[list[str]]:
    found = [words for words in commands() if words[: len(program.split())] == program.split()]
    assert found, f"the README has no {program} command"
    return [words[len(program.split()) :] for words in found]


def test_every_command_is_of_a_known_kind():
    known = {"./run_superb.sh", "make", "pip", "s3prl-fusion", "python"}
    assert {words[0] for words in commands()} <= known


@pytest.mark.parametrize("argv", of("./run_superb.sh"), ids=" ".join)
def test_superb_commands_parse(argv):
    args = build_parser().parse_args(["superb", *argv])
    assert args.demo or (args.upstreams and args.exp)


@pytest.mark.parametrize("argv", of("make"), ids=" ".join)
def test_make_targets_exist(argv):
    assert re.search(rf"^{argv[0]}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize("argv", of("s3prl-fusion run") + of("python -m s3prl_fusion.run_downstream"), ids=" ".join)
def test_run_commands_parse_as_run_downstream_does(argv, monkeypatch, tmp_path):
    from s3prl.run_downstream import get_downstream_args

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["run_downstream.py", *argv])
    # Arguments that it does not know end in SystemExit; known ones get as far as the files, which are not there.
    with pytest.raises(FileNotFoundError):
        get_downstream_args()


@pytest.mark.parametrize("name", sorted({name for name in re.findall(r"`(fused\w*)`", README) if name != "fused"}))
def test_names_are_of_the_grammar(name):
    assert is_fused_name(name) and parse(name).members


@pytest.mark.parametrize("text", blocks("yaml"))
def test_yaml_is_a_fusion_config(text):
    config = FusionConfig.from_dict(yaml.safe_load(text))
    assert FusionConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize("code", blocks("python"))
def test_python_runs(code):
    scope: dict = {}
    exec(compile(code, "README.md", "exec"), scope)
    frames = scope["hidden_states"]["hidden_states"][0].size(1)
    lengths = [min(frames, round(len(wav) / scope["featurizer"].downsample_rate)) for wav in scope["wavs"]]
    assert [tuple(f.shape) for f in scope["features"]] == [(n, scope["featurizer"].output_dim) for n in lengths]


@pytest.mark.parametrize("target", re.findall(r"\]\((?!https?://|#)([^)]+)\)", README))
def test_links_lead_somewhere(target):
    assert (ROOT / target).exists()


def test_the_demo_table_is_there():
    table = re.search(r"<!-- demo table: begin -->\n(.*)<!-- demo table: end -->", README, flags=re.DOTALL).group(1)
    rows = [line for line in table.splitlines() if line.startswith("| fused_demo")]
    assert len(rows) == 3 and all(re.search(r"\d+\.\d\d", row) for row in rows)
