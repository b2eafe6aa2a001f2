"""Everything in the README runs, or at least parses as what it claims to be."""

from __future__ import annotations

import functools
import re
import shlex
import sys
from pathlib import Path

import pytest
import soundfile
import torch
import yaml

import s3prl_fusion
from s3prl_fusion import FusionConfig, build_interface, list_interfaces
from s3prl_fusion.cli import build_parser, main
from s3prl_fusion.names import is_fused_name, resolve

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


def commands() -> list[list[str]]:
    lines = [line for block in blocks("bash") for line in block.replace("\\\n", " ").splitlines()]
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


def of(program: str) -> list[list[str]]:
    found = [words for words in commands() if words[: len(program.split())] == program.split()]
    assert found, f"the README has no {program} command"
    return [words[len(program.split()) :] for words in found]


def test_every_command_is_of_a_known_kind():
    known = {"./run_superb.sh", "make", "pip", "s3prl-fusion", "python", "s3prl-main", "torchrun", "srun"}
    assert {words[0] for words in commands()} <= known


@pytest.mark.parametrize("argv", of("./run_superb.sh"), ids=" ".join)
def test_superb_commands_parse(argv):
    args = build_parser(["superb"]).parse_args(["superb", *argv])
    assert args.demo or (args.upstreams and args.exp)


@pytest.mark.parametrize("argv", of("make"), ids=" ".join)
def test_make_targets_exist(argv):
    assert re.search(rf"^{argv[0]}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


RUNS = [of("s3prl-fusion run"), of("python -m s3prl_fusion.run_downstream"), of("python -m s3prl.run_downstream")]


@pytest.mark.parametrize("argv", sum(RUNS, []), ids=" ".join)
def test_run_commands_parse_as_run_downstream_does(argv, monkeypatch, tmp_path):
    from s3prl.run_downstream import get_downstream_args

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["run_downstream.py", *argv])
    # Arguments that it does not know end in SystemExit; known ones get as far as the files, which are not there.
    with pytest.raises(FileNotFoundError):
        get_downstream_args()


@pytest.mark.parametrize("argv", [*of("torchrun"), *of("srun torchrun")], ids=" ".join)
def test_torchrun_commands_start_a_training(argv, monkeypatch, tmp_path):
    from torch.distributed.run import get_args_parser

    args = get_args_parser().parse_args(argv)
    assert args.module and args.training_script == "s3prl_fusion.run_downstream" and args.nproc_per_node == "4"
    assert args.standalone or (args.nnodes == "2" and args.rdzv_backend == "c10d" and args.rdzv_id)
    test_run_commands_parse_as_run_downstream_does(args.training_script_args, monkeypatch, tmp_path)


@pytest.mark.parametrize("argv", [argv for argv in of("s3prl-fusion") if argv[0] != "run"], ids=" ".join)
def test_the_other_commands_parse(argv):
    assert build_parser(argv).parse_args(argv).command


@pytest.mark.parametrize("argv", of("s3prl-main"), ids=" ".join)
def test_s3prl_mains_options_are_the_problems(argv, registered):
    from s3prl import problem

    config = getattr(problem, argv[0])().default_config()
    for option, value in zip(argv[1::2], argv[2::2]):
        *sections, key = option.lstrip("-").split(".")
        assert key in functools.reduce(dict.__getitem__, sections, config)
        assert key != "name" or resolve(value)


@pytest.mark.parametrize("name", sorted({name for name in re.findall(r"`(fused\w*)`", README) if name != "fused"}))
def test_names_are_of_the_grammar(name):
    assert is_fused_name(name) and resolve(name).members


FUSIONS = [text for text in blocks("yaml") if "members:" in text]
FILES = {code.splitlines()[0].lstrip("# "): code for code in blocks("python") if code.startswith("# ")}


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A current folder with the files that the README tells the user to write."""
    monkeypatch.chdir(tmp_path)
    for name, code in FILES.items():
        Path(name).write_text(code)
    return tmp_path


@pytest.mark.parametrize("text", FUSIONS)
def test_yaml_is_a_fusion_config(text, files):
    (files / "fusion.yaml").write_text(text)
    config = FusionConfig.from_yaml(files / "fusion.yaml")
    assert FusionConfig.from_dict(config.to_dict()) == config


def test_the_users_own_interface_trains(files):
    (text,) = [text for text in FUSIONS if "gated" in text]
    (files / "fusion.yaml").write_text(text)
    interface = FusionConfig.from_yaml(files / "fusion.yaml").interface
    module = build_interface(interface.name, [2, 3], [8, 6], 5, **interface.options)
    fused = module([[torch.ones(1, 4, 8)] * 2, [torch.ones(1, 4, 6)] * 3])
    fused.sum().backward()
    assert fused.shape == (1, 4, 5) and interface.options == {"bias": False} and interface.output_dim == 768


def test_espnets_yaml_builds_a_frontend(registered):
    from test_espnet import Restated, freeze

    (text,) = [text for text in blocks("yaml") if text not in FUSIONS]
    settings = yaml.safe_load(text)
    options = settings["frontend_conf"]
    assert settings["frontend"] == "s3prl" and resolve(options["frontend_conf"]["upstream"])
    options["frontend_conf"]["upstream"] = "fused_demo"  # the real one is not at hand
    model = torch.nn.ModuleDict({"frontend": Restated(**options)})
    freeze(model, settings["freeze_param"])
    assert {name.split(".")[1] for name, p in model.named_parameters() if p.requires_grad} == {"featurizer"}


@pytest.fixture
def experiment(files, recipe_configs):
    """exp/asr and speech.wav."""
    soundfile.write("speech.wav", torch.randn(16000, generator=torch.Generator().manual_seed(0)) / 10, 16000)
    args = ["-u", "fused__fbank__mfcc", "-d", "asr", "-c", str(recipe_configs["asr"]), "-p", "exp/asr"]
    assert main(["run", "-m", "train", *args, "--device", "cpu"]) == 0
    s3prl_fusion.unregister()


@pytest.mark.parametrize("code", [code for code in blocks("python") if code not in FILES.values()])
def test_python_runs(code, experiment):
    scope: dict = {}
    try:
        exec(compile(code, "README.md", "exec"), scope)
    finally:
        s3prl_fusion.unregister()
    if "transcript" in scope:
        assert isinstance(scope["transcript"], str) and scope["features"].dim() == 2
    elif "all_states" in scope:
        assert scope["states"].shape == (2, 150, scope["featurizer"].output_size)
        assert scope["lengths"].tolist() == [100, 150]
    else:
        frames = scope["hidden_states"]["hidden_states"][0].size(1)
        lengths = [min(frames, round(len(wav) / scope["featurizer"].downsample_rate)) for wav in scope["wavs"]]
        assert [tuple(f.shape) for f in scope["features"]] == [(n, scope["featurizer"].output_dim) for n in lengths]


def test_the_proven_members_are_those_of_the_test():
    from hub_families import ENTRIES

    section = README.split("## What can be a member")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    assert set(re.findall(r"`(\w+)`", "".join(rows))) == set(ENTRIES)


@pytest.mark.parametrize("target", re.findall(r"\]\((?!https?://|#)([^)]+)\)", README))
def test_links_lead_somewhere(target):
    assert (ROOT / target).exists()


def table(name: str) -> list[str]:
    text = re.search(rf"<!-- {name} table: begin -->\n(.*)<!-- {name} table: end -->", README, flags=re.DOTALL).group(1)
    return [line for line in text.splitlines() if line.startswith("| fused_demo")]


def test_the_demos_tables_are_there():
    assert all(re.search(r"\d+\.\d\d", row) for row in table("demo") + table("interfaces"))
    assert len(table("demo")) == 3
    assert sorted(row.split("|")[2].strip() for row in table("interfaces")) == list_interfaces()
