"""Ways in for code of others: a checkpoint, a YAML or a repository runs nothing that the user has not named."""

from __future__ import annotations

import argparse
import ast
import copy
import io
import os
import pickle
import random
import re
import sys
import tarfile
import warnings
from pathlib import Path

import pytest
import soundfile
import torch
import yaml
from torch import nn

import s3prl_fusion
from s3prl_fusion import FusedUpstream, FusionConfig, imports, load_experiment, permissions
from s3prl_fusion.assets import downstream_configs_dir
from s3prl_fusion.cli import main
from s3prl_fusion.errors import MissingFileError, UsageError
from s3prl_fusion.host import confined, shims
from s3prl_fusion.host.ckpt import read_ckpt
from s3prl_fusion.host.patches import Patches
from s3prl_fusion.host.recipes._names import check_names
from s3prl_fusion.host.runner import complete_arguments
from s3prl_fusion.host.weights import Damaged, is_whole, read_weights

CONFIGS = {"asr": "asr", "ctc": "pr", "voxceleb1": "sid", "emotion": "er", "sv_voxceleb1": "sv"}
INTERFACE = """
from pathlib import Path
from s3prl_fusion.interfaces.weighted_sum import WeightedSum

Path({marker!r}).touch()


class Evil(WeightedSum):
    pass
"""


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """A folder of our own, in which the user is, with nothing allowed and nothing named before."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(permissions.VARIABLE, "")
    yield
    imports._module_at.cache_clear()
    s3prl_fusion.unregister()


@pytest.fixture
def marker(tmp_path):
    """What is there once the code of somebody else has run."""
    return tmp_path / "ran"


@pytest.fixture
def wav(tmp_path):
    soundfile.write(tmp_path / "a.wav", [0.1] * 16000, 16000)
    return tmp_path / "a.wav"


class Payload:
    """Runs when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def states(recipe: str = "emotion", **args: object) -> dict:
    """What a checkpoint holds, as far as it is looked at before anything is built."""
    config = yaml.safe_load((downstream_configs_dir() / f"{CONFIGS[recipe]}.yaml").read_text(encoding="utf-8"))
    settings = {
        "upstream": "fused__fbank__mfcc",
        "downstream": recipe,
        "upstream_ckpt": None,
        "upstream_model_config": None,
        **args,
    }
    head = {"model.bias": torch.zeros(5)}
    return {"Args": argparse.Namespace(**settings), "Config": config, "Featurizer": {}, "Downstream": head}


def save(content: dict, path: Path, **record) -> Path:
    """A checkpoint; its featurizer remembers `record`."""
    state = nn.Module().state_dict()
    state._metadata[""]["s3prl_fusion"] = record
    torch.save({**content, "Featurizer": state} if record else content, path)
    return path


def set_key(config: dict, key: str, value: object) -> None:
    *sections, last = key.split(".")
    for section in sections:
        config = config.setdefault(section, {})
    config[last] = value


# --- texts that s3prl evaluates


NAMES = [
    ("asr", "modelrc.select"),
    ("ctc", "model.select"),
    ("ctc", "metric"),
    ("voxceleb1", "modelrc.select"),
    ("voxceleb1", "modelrc.UtteranceLevel.pooling"),
    ("emotion", "modelrc.UtteranceLevel.post_net.select"),
    ("emotion", "modelrc.DeepModel.model_type"),
    ("sv_voxceleb1", "modelrc.module"),
    ("sv_voxceleb1", "modelrc.agg_module"),
    ("sv_voxceleb1", "modelrc.utter_module"),
    ("sv_voxceleb1", "modelrc.ObjectiveLoss"),
]


@pytest.mark.fault("a checkpoint with Python in place of a class's name", "refused: the key, the known names")
@pytest.mark.parametrize("recipe, key", NAMES)
def test_a_checkpoint_names_classes_and_runs_none_of_its_texts(recipe, key, marker, tmp_path, emotions):
    text = f"__import__('pathlib').Path({str(marker)!r}).touch() or FrameLevel"
    content = states(recipe)
    set_key(content["Config"]["downstream_expert"], key, [text] if key == "metric" else text)
    if recipe == "emotion":
        content["Config"]["downstream_expert"]["datarc"]["meta_data"] = str(emotions["meta"])
    with pytest.raises(UsageError, match=rf"config\.downstream_expert\.{re.escape(key)}: unknown name .*__import__"):
        load_experiment(save(content, tmp_path / "a.ckpt"))
    assert not marker.exists()


@pytest.mark.fault("a checkpoint whose downstream is no recipe of s3prl", "refused: the known ones are listed")
@pytest.mark.parametrize("name", ["emotion.expert", "../evil", "..evil"])
def test_a_checkpoint_names_a_recipe(name, tmp_path):
    with pytest.raises(UsageError, match="unknown downstream"):
        load_experiment(save(states(downstream=name), tmp_path / "a.ckpt"))


@pytest.mark.fault("a recipe YAML with Python in place of a class's name", "refused before any model loads")
@pytest.mark.parametrize("recipe", ["asr", "ctc", "voxceleb1", "emotion"])
def test_a_recipe_yaml_names_classes(recipe, recipe_configs, marker, tmp_path, capsys):
    config = yaml.safe_load(recipe_configs[recipe].read_text(encoding="utf-8"))
    key = "model" if recipe == "ctc" else "modelrc"
    config["downstream_expert"][key]["select"] = f"open({str(marker)!r}, 'w') and FrameLevel"
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    words = ["-m", "train", "-u", "fbank", "-d", recipe, "-c", str(tmp_path / "a.yaml"), "-p", "exp", "--device", "cpu"]
    assert main(["run", *words]) == 2
    assert f"downstream_expert.{key}.select" in capsys.readouterr().err and not marker.exists()


@pytest.mark.fault("Python as the name of an optimizer or a scheduler", "refused: the known names")
@pytest.mark.parametrize("section", ["optimizer", "scheduler"])
def test_optimizers_and_schedulers_are_named(section):
    with pytest.raises(UsageError, match=rf"config\.{section}\.name: unknown {section} .Adam or open"):
        check_names("emotion", {section: {"name": "Adam or open('x')"}})
    check_names("emotion", {"optimizer": {"name": "TorchOptim"}, "scheduler": {"name": "linear_schedule_with_warmup"}})


@pytest.mark.fault("a split or a fold whose name leads out of the experiment's folder", "refused: key and value")
@pytest.mark.parametrize(
    "key", ["runner.eval_dataloaders", "runner.train_dataloader", "downstream_expert.datarc.test_fold"]
)
@pytest.mark.parametrize("name", ["../../dev", "/tmp/dev", "..", "fold1/../../x", ""])
def test_splits_and_folds_are_plain_names(key, name):
    config = states()["Config"]
    set_key(config, key, [name] if key.endswith("s") else name)
    with pytest.raises(UsageError, match=rf"config\.{re.escape(key)}: '{re.escape(name)}' must be of letters"):
        check_names("emotion", config)


@pytest.mark.parametrize("path", sorted(downstream_configs_dir().glob("*.yaml")), ids=lambda path: path.name)
def test_the_shipped_configs_name_what_there_is(path):
    from s3prl_fusion.host.hub import hub
    from s3prl_fusion.host.recipes import table
    from s3prl_fusion.host.recipes.ctc import supply_corpora
    from s3prl_fusion.host.recipes.sv_voxceleb1 import _expert_module

    patches = Patches()
    try:
        hub(), supply_corpora(patches), _expert_module(patches)
        (recipe,) = [recipe for recipe in table() if recipe.config == path.name]
        check_names(recipe.downstream, yaml.safe_load(path.read_text(encoding="utf-8")))
    finally:
        patches.undo()


def evaluate(text: str, **names: object) -> object:
    """What s3prl's modules get from `eval`, in a function whose names these are."""
    space = {"eval": confined._Eval(), "nn": nn, "torch": torch, "os": os, "Path": Path, **names}
    exec(f"def function():\n    return eval({text!r})", space)
    return space["function"]()


LITERALS = ["[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512,2,2)] * 2", "1e-3", "-1", "'a'", "{'a': (1, None)}", " True"]


@pytest.mark.parametrize("text", LITERALS)
def test_values_are_read_as_python_reads_them(text):
    assert evaluate(text) == eval(text.strip())


def test_names_of_s3prls_own_are_read():
    from s3prl.downstream.model import FrameLevel

    layers = nn.ModuleList([nn.Linear(1, 1)])
    assert evaluate("FrameLevel", FrameLevel=FrameLevel) is FrameLevel
    assert evaluate("self.layers[0]", self=argparse.Namespace(layers=layers)) is layers[0]
    assert evaluate("math.inf", math=argparse.Namespace(inf=float("inf"))) == float("inf")


@pytest.mark.fault("a text that s3prl evaluates and that is more than a value or a name of its own", "refused")
@pytest.mark.parametrize(
    "text",
    [
        *("os.system", "torch.os.system", "[os.system]", "torch.hub.load", "Path", "torch.load", "os", "nn"),
        *("open('x')", "lambda: 1", "[x for x in ()]", "nn.Linear.__init__", "f'{os}'", "1 if os else 2"),
        *("os.environ['PATH']", "().__class__", "[0] * 100000000000", "x := 1", "import os", "", None, 5),
    ],
)
def test_nothing_else_is_evaluated(text):
    with pytest.raises(UsageError, match="s3prl would run"):
        evaluate(text)


def test_every_module_of_s3prl_is_confined_while_the_shims_are_there():
    from importlib import import_module

    from s3prl_fusion.host.hub import hub

    hub()
    import_module("s3prl.downstream.runner"), import_module("s3prl.downstream.emotion.expert")
    sys.modules.pop("s3prl.downstream.speech_commands.model", None)
    modules = [module for name, module in sys.modules.items() if name.startswith("s3prl.") and module.__file__]
    evaluates, loads = [], []
    for module in modules:
        called = [
            node.func for node in ast.walk(ast.parse(Path(module.__file__).read_text())) if isinstance(node, ast.Call)
        ]
        evaluates += [module] if any(isinstance(f, ast.Name) and f.id == "eval" for f in called) else []
        loads += [module] if "torch.load" in map(ast.unparse, called) else []
    assert len(evaluates) > 15 and all(isinstance(vars(module).get("eval"), confined._Eval) for module in evaluates)
    assert len(loads) > 15 and all(module.torch.load is confined.load for module in loads)
    shims.withdraw()
    try:
        assert not any("eval" in vars(module) for module in evaluates)
        assert all(module.torch is torch for module in loads)
    finally:
        shims.supply()


def test_what_is_imported_later_is_confined_too(monkeypatch):
    monkeypatch.delitem(sys.modules, "s3prl.optimizers", raising=False)
    from s3prl.optimizers import get_optimizer

    with pytest.raises(UsageError, match=r"would run 'get_Adam\(\) or Adam'"):
        get_optimizer([], 1, {"name": "Adam() or Adam"})


@pytest.mark.fault("a member's checkpoint with Python where its layers should stand", "refused")
def test_a_members_checkpoint_is_not_evaluated(hubert_ckpt, marker, tmp_path):
    content = torch.load(hubert_ckpt, weights_only=True)
    key = next(key for key in content if "model_cfg" in key)
    content[key]["conv_feature_layers"] = f"[open({str(marker)!r}, 'w')]"
    torch.save(content, tmp_path / "a.pt")
    fusion = FusionConfig.from_dict({"members": [{"name": "hubert_local", "ckpt": str(tmp_path / "a.pt")}]})
    with pytest.raises(UsageError, match="s3prl would run"):
        FusedUpstream(fusion)
    assert not marker.exists()


# --- objects in checkpoints


def zipped(content: object, path: Path) -> None:
    torch.save(content, path)


def pickled(content: object, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def tarred(content: object, path: Path) -> None:
    members = {"storages": pickle.dumps(0), "tensors": pickle.dumps(0), "pickle": pickle.dumps(content)}
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def scripted(content: object, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(nn.Linear(1, 1)), str(path))


@pytest.fixture(params=["", "1"])
def switch(request, monkeypatch):
    """torch's own switch, which lets every torch.load run what it reads."""
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", request.param)


@pytest.mark.fault("a checkpoint with an object whose code runs when it is read", "refused, and how to allow it")
@pytest.mark.parametrize("write", [zipped, pickled, tarred, scripted])
def test_objects_in_a_checkpoint_are_not_built(write, switch, marker, tmp_path):
    path = tmp_path / "a.ckpt"
    write({**states(), "Optimizer": Payload(marker)}, path)
    for read in (read_weights, read_ckpt, load_experiment, lambda path: confined.load(str(path), weights_only=False)):
        with pytest.raises(UsageError, match=rf"{path} is not read: .* --allow-code {path}"):
            read(path)
    assert not marker.exists()


@pytest.mark.fault("a member's checkpoint with such an object, where s3prl reads whatever there is", "refused")
@pytest.mark.parametrize("entry", ["tera_local", "distiller_local", "hubert_local", "wavlm_local", "apc_local"])
@pytest.mark.parametrize("write", [zipped, pickled])
def test_objects_in_a_members_checkpoint_are_not_built(entry, write, switch, marker, tmp_path, capsys):
    write({"Config": Payload(marker)}, tmp_path / "a.pt")
    (tmp_path / "a.yaml").write_text(f"members: [{{name: {entry}, ckpt: a.pt}}]", encoding="utf-8")
    assert main(["profile", "-u", str(tmp_path / "a.yaml"), "--seconds", "1"]) == 2
    assert f"{tmp_path}/a.pt is not read: it holds" in capsys.readouterr().err and not marker.exists()


def test_a_checkpoint_that_the_user_allows_is_read(marker, tmp_path, monkeypatch):
    zipped({"a": Payload(marker)}, tmp_path / "a.ckpt")
    zipped({"a": Payload(marker)}, tmp_path / "b.ckpt")
    monkeypatch.setenv(permissions.VARIABLE, os.pathsep.join([str(tmp_path), str(tmp_path / "b.ckpt")]))
    with pytest.raises(UsageError, match="is not read"):
        read_weights(tmp_path / "a.ckpt")
    assert not marker.exists()
    read_weights(tmp_path / "b.ckpt")
    assert marker.exists()


# --- code in files


@pytest.fixture
def evil(tmp_path, marker):
    """A folder with a.yaml, whose interface is in a file outside it, and with a file that lies where the user is."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    code = INTERFACE.format(marker=str(marker))
    for path in (tmp_path / "evil.py", tmp_path / "here" / "evil.py", tmp_path / "here" / "evil_module.py"):
        path.write_text(code, encoding="utf-8")
    return folder


OUTSIDE = ["../evil.py:Evil", "evil.py:Evil", "evil_module:Evil", "{name: ../evil.py:Evil, output_dim: 4}"]


@pytest.mark.fault(
    "somebody's fusion YAML whose interface is a file outside the YAML's folder", "refused, and how to allow it"
)
@pytest.mark.parametrize("interface", [*OUTSIDE, "{top}/evil.py:Evil", "{link}:Evil"])
@pytest.mark.parametrize(
    "command", ["profile -u YAML", "superb -u YAML -t sid -o exp --dry-run", "extract -u YAML WAV -o x"]
)
def test_a_yaml_brings_no_code_from_outside_its_folder(
    interface, command, evil, marker, tmp_path, wav, capsys, monkeypatch
):
    monkeypatch.setattr(sys, "path", [str(tmp_path / "here"), *sys.path])  # as python -m does
    (evil / "link.py").symlink_to(tmp_path / "evil.py")
    interface = interface.replace("{top}", str(tmp_path)).replace("{link}", "link.py")
    (evil / "a.yaml").write_text(f"members: [fbank]\ninterface: {interface}\n", encoding="utf-8")
    words = command.replace("YAML", str(evil / "a.yaml")).replace("WAV", str(wav)).split()
    assert main(words) == 2
    assert re.search(r"outside the YAML's own folder .*theirs, .*--allow-code", capsys.readouterr().err)
    assert not marker.exists()


def test_what_lies_beside_a_yaml_that_the_user_names_is_named_with_it_and_said(evil, marker, tmp_path, capsys):
    (tmp_path / "evil.py").rename(evil / "own.py")
    (evil / "a.yaml").write_text("members: [fbank]\ninterface: own:Evil\n", encoding="utf-8")
    FusionConfig.from_yaml(evil / "a.yaml")
    assert marker.exists() and capsys.readouterr().err == f"[s3prl_fusion] runs the code of {evil / 'own.py'}\n"


def test_code_that_the_user_allows_runs_and_is_said(evil, marker, tmp_path, capsys, monkeypatch):
    (evil / "a.yaml").write_text("members: [fbank]\ninterface: ../evil.py:Evil\n", encoding="utf-8")
    monkeypatch.setenv(permissions.VARIABLE, "")
    words = ["profile", "-u", str(evil / "a.yaml"), "--seconds", "1", "--allow-code", "../evil.py:Evil"]
    assert main(words) == 0
    assert marker.exists() and f"runs the code of {tmp_path / 'evil.py'}" in capsys.readouterr().err


@pytest.mark.fault(
    "code that the user has named once, and another module, or another import beside it, of the same name",
    "refused until it is named",
)
def test_code_is_known_by_all_of_its_content(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for folder, text in (("mine", "A = 1"), ("copy", "A = 1"), ("theirs", "A = 2")):
        (tmp_path / folder / "pack").mkdir(parents=True)
        (tmp_path / folder / "pack" / "__init__.py").write_text("")
        (tmp_path / folder / "pack" / "inner.py").write_text(text)
        (tmp_path / folder / "flat.py").write_text("import helper")
        (tmp_path / folder / "helper.py").write_text(text)

    def known(folder: str) -> list[bool]:
        found = []
        with monkeypatch.context() as patch:
            patch.setattr(sys, "path", [str(tmp_path / folder), *sys.path])
            for name in ("flat", "pack.inner", str(tmp_path / folder / "flat.py")):
                try:
                    permissions.check_code("interface", f"{name}:X", None)
                    found.append(True)
                except UsageError:
                    found.append(False)
        return found

    assert known("mine") == [False] * 3
    with monkeypatch.context() as patch:
        patch.setattr(sys, "path", [str(tmp_path / "mine"), *sys.path])
        for name in ("flat", "pack.inner", str(tmp_path / "mine" / "flat.py")):
            permissions.remember(name)
    assert (known("mine"), known("copy"), known("theirs")) == ([True] * 3, [True] * 3, [False] * 3)


RECORDED = ["evil.py:Evil", "../evil.py:Evil", "evil_module:Evil", "antigravity:Evil"]


@pytest.mark.fault(
    "a checkpoint whose interface is a file where the user is, or a module", "refused, and how to allow it"
)
@pytest.mark.parametrize("interface", RECORDED)
@pytest.mark.parametrize(
    "command", ["load", "extract -e CKPT WAV -o x", "weights CKPT -o x.png", "weights CKPT -o x.png --wavs WAV"]
)
def test_a_checkpoint_brings_no_code(interface, command, evil, marker, tmp_path, wav, emotions, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(tmp_path / "here"), *sys.path])
    content = states(upstream=str(tmp_path / "gone.yaml"))
    content["Config"]["downstream_expert"]["datarc"]["meta_data"] = str(emotions["meta"])
    fusion = {"members": [{"name": "fbank"}], "interface": {"name": interface}}
    ckpt = save(content, evil / "a.ckpt", version="0.1.0", fusion=fusion, layers=[1], dims=[4])
    refused = f"{re.escape(interface)}.* stands in a checkpoint, .*--allow-code"
    if command == "load":
        with pytest.raises(UsageError, match=refused):
            load_experiment(ckpt)
    else:
        assert_refused(command.replace("CKPT", str(ckpt)).replace("WAV", str(wav)).split(), refused)
    assert not marker.exists() and "antigravity" not in sys.modules


def assert_refused(words: list[str], message: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", io.StringIO())
        assert main(words) == 2
        assert re.search(message, sys.stderr.getvalue()), sys.stderr.getvalue()


@pytest.mark.fault(
    "a checkpoint whose upstream is a fusion YAML with code beside it", "refused until the user names the YAML"
)
@pytest.mark.parametrize("upstream", ["a.yaml", "{folder}/a.yaml", "{folder}/b.yaml__own.py:Evil"])
def test_a_checkpoints_yaml_is_not_the_users(upstream, evil, marker, tmp_path, emotions, monkeypatch, capsys):
    monkeypatch.chdir(evil)
    (tmp_path / "evil.py").rename(evil / "own.py")
    (evil / "a.yaml").write_text("members: [fbank]\ninterface: own.py:Evil\n", encoding="utf-8")
    (evil / "b.yaml").write_text("members: [fbank]\n", encoding="utf-8")
    content = states(upstream=upstream.replace("{folder}", str(evil)))
    content["Config"]["downstream_expert"]["datarc"]["meta_data"] = str(emotions["meta"])
    ckpt = save(content, evil / "a.ckpt")
    with pytest.raises(UsageError, match="stands in a checkpoint"):
        load_experiment(ckpt)
    assert not marker.exists()
    FusionConfig.from_yaml(evil / "a.yaml")  # the user's own word
    assert marker.exists() and "runs the code of" in capsys.readouterr().err
    with pytest.raises(Exception) as refused:  # another matter: there are no weights in it
        load_experiment(ckpt)
    assert "stands in a checkpoint" not in str(refused.value)


@pytest.mark.fault("a checkpoint that was trained on a repository of the hub", "refused until it is allowed by name")
@pytest.mark.parametrize("more", [{"hub": "huggingface"}, {"from_hf_hub": True}])
def test_a_checkpoint_fetches_no_repository(more, monkeypatch):
    from s3prl_fusion.host.checks import check_run
    from s3prl_fusion.host.past import check_repository

    args = states(upstream="them/theirs", past_exp="a.ckpt", **more)["Args"]
    with pytest.raises(UsageError, match="repository of the hub whose code would run .*--allow-code them/theirs"):
        check_run(args, {}, Patches())
    monkeypatch.setenv(permissions.VARIABLE, "them/theirs")
    check_repository(args)
    monkeypatch.setenv(permissions.VARIABLE, "")
    args.past_exp = None  # the user's own word: --hub huggingface -u them/theirs
    check_repository(args)


def test_the_option_is_for_every_command_and_for_what_it_starts(tmp_path, monkeypatch):
    monkeypatch.delenv(permissions.VARIABLE)
    (tmp_path / "a.py").touch()
    words = ["superb", "--allow-code", f"{tmp_path}/a.py:Own", "-u", "x", "--allow-code=my.package"]
    assert permissions.take_option(words) == ["superb", "-u", "x"]
    assert os.environ[permissions.VARIABLE].split(os.pathsep) == [f"{tmp_path}/a.py", "my.package"]
    for name in (tmp_path / "a.py", "my.package", "my.package.module"):
        assert permissions.is_allowed(name)
    for name in (tmp_path, tmp_path / "b.py", "my", "my.packages"):
        assert not permissions.is_allowed(name)
    with pytest.raises(UsageError, match="--allow-code needs a value"):
        permissions.take_option(["run", "--allow-code"])
    with pytest.raises(MissingFileError, match=r"--allow-code gone\.py does not exist"):
        permissions.take_option(["run", "--allow-code", "gone.py"])
    monkeypatch.delenv(permissions.VARIABLE)


@pytest.mark.fault("run -e with a checkpoint of one of these kinds", "the same refusals, before any model loads")
@pytest.mark.parametrize("mode", ["train", "evaluate", "inference"])
@pytest.mark.parametrize("kind", ["name", "object", "interface", "yaml", "recipe"])
def test_a_run_from_a_checkpoint(mode, kind, evil, marker, tmp_path, wav, recipe_configs, capsys):
    content, record = states(), {}
    content["Config"] = yaml.safe_load(recipe_configs["emotion"].read_text(encoding="utf-8"))
    if kind == "name":
        message = "modelrc.select: unknown name"
        content["Config"]["downstream_expert"]["modelrc"]["select"] = f"open({str(marker)!r}, 'w') and FrameLevel"
    elif kind == "object":
        content["Optimizer"], message = Payload(marker), "a.ckpt is not read: it holds"
    elif kind == "recipe":
        content["Args"].downstream, message = "emotion.expert", "unknown downstream"
    else:
        message = "stands in a checkpoint"
        content["Args"].upstream = str(evil / "a.yaml")
        fusion = {"members": [{"name": "fbank"}], "interface": {"name": "evil.py:Evil"}}
        record = {"version": "0.1.0", "fusion": fusion} if kind == "interface" else {}
        if kind == "yaml":
            (tmp_path / "evil.py").rename(evil / "evil.py")
            (evil / "a.yaml").write_text("members: [fbank]\ninterface: evil.py:Evil\n", encoding="utf-8")
    content["Args"].local_rank = None
    ckpt = save(content, evil / "a.ckpt", **record)
    split = str(wav) if mode == "inference" else "test"
    assert main(["run", "-m", mode, "-t", split, "-e", str(ckpt), "-p", str(tmp_path / "exp"), "--device", "cpu"]) == 2
    assert message in capsys.readouterr().err and not marker.exists()


# --- where a run writes


@pytest.mark.fault(
    "run -e with a checkpoint that says where to write",
    "writes where the user says, or in the experiment's folder, or where the user is",
)
def test_a_checkpoint_does_not_say_where_a_run_writes(tmp_path, wav):
    from s3prl_fusion.host import past

    victim, theirs = tmp_path / "victim", tmp_path / "theirs"
    theirs.mkdir()
    places = {
        "expdir": str(victim),
        "expname": "x",
        "cache_dir": str(victim),
        "push_to_hf_hub": True,
        "hf_hub_org": "x",
    }
    ckpt = save(states(**places), theirs / "a.ckpt")
    assert not set(vars(past.restore(ckpt)["Args"])) & set(places)

    def written(*more: str) -> str:
        words = complete_arguments(["-m", "inference", "-t", str(wav), "-e", str(ckpt), *more])
        return words[words.index("-p") + 1]

    assert written() == "."
    assert written("-p", "mine") == "mine"
    assert written("-o", f"args.expdir='{tmp_path}/mine'") == str(theirs)  # where nothing is written before -o counts
    (theirs / "args_2026.yaml").touch()
    assert written() == str(theirs)
    (theirs / "args_2026.yaml").unlink()
    with pytest.raises(UsageError, match="lies in no experiment's folder .* say with -p"):
        complete_arguments(["-m", "train", "-e", str(ckpt)])


# --- damage


@pytest.fixture(scope="module")
def intact(tmp_path_factory):
    path = tmp_path_factory.mktemp("intact") / "a.ckpt"
    weights = {f"layer{i}": torch.randn(3, 4) for i in range(20)}
    torch.save({**states(), "Downstream": weights, "Optimizer": {"state": torch.randn(500)}}, path)
    return path


def equal(one: object, other: object) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if torch.is_tensor(one) and torch.is_tensor(other):
        return one.dtype == other.dtype and torch.equal(one, other)
    return type(one) is type(other) and one == other


@pytest.mark.fault("one bit of a checkpoint is another", "refused as damaged, or what is read is the same")
def test_no_flipped_bit_changes_what_is_read(intact, tmp_path):
    data, before, generator = intact.read_bytes(), read_ckpt(intact), random.Random(0)
    noticed = 0
    for number in range(200):
        flipped, bit = bytearray(data), generator.randrange(8 * len(data))
        flipped[bit // 8] ^= 1 << bit % 8
        path = tmp_path / f"{number}.ckpt"
        path.write_bytes(flipped)
        try:
            assert equal(read_ckpt(path), before), bit
        except UsageError:
            noticed += 1
        path.unlink()
    assert noticed > 100


@pytest.mark.fault("a checkpoint that is cut off or damaged", "refused: the file, and what to do")
@pytest.mark.parametrize("damage", ["half", "flip"])
def test_a_damaged_checkpoint_is_named(damage, intact, tmp_path, capsys):
    data = bytearray(intact.read_bytes())
    data[1000] ^= 1
    path = tmp_path / "a.ckpt"
    path.write_bytes(data[: len(data) // 2] if damage == "half" else data)
    assert is_whole(intact) and not is_whole(path)
    with pytest.raises(Damaged, match=rf"{path} is damaged: .*remove it"):
        load_experiment(path)
    for words in (["extract", "-e", path, path, "-o", tmp_path / "x"], ["weights", path, "-o", "x.png"]):
        if words[0] == "weights":
            assert main([str(word) for word in words]) == 2
            assert f"{path} is damaged" in capsys.readouterr().err


def test_a_checkpoint_without_checksums_is_read(intact, tmp_path):
    if not hasattr(torch.serialization, "set_crc32_options"):
        pytest.skip("torch 2.5 always writes them")
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(copy.deepcopy(read_ckpt(intact)), tmp_path / "a.ckpt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert equal(read_ckpt(tmp_path / "a.ckpt"), read_ckpt(intact))


@pytest.mark.fault(
    "an interface whose file is no longer there, named by a checkpoint", "said to be gone; nothing to allow"
)
def test_code_that_is_gone(tmp_path):
    with pytest.raises(
        UsageError, match=r"there is no file .*gone\.py; name what it was trained with, where it is now"
    ) as told:
        permissions.check_code("interface", f"{tmp_path}/gone.py:Gone", None)
    assert "--allow-code" not in str(told.value)


@pytest.mark.fault("--allow-code for a path with spaces", "the line to copy is quoted")
def test_the_line_to_copy_is_quoted(tmp_path):
    (tmp_path / "own code.py").touch()
    with pytest.raises(UsageError, match=f"give --allow-code '{tmp_path}/own code.py'"):
        permissions.check_code("interface", f"{tmp_path}/own code.py:Own", None)
