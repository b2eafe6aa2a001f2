"""Everything in the README, in docs/ and in CONTRIBUTING.md runs, or at least parses as what it claims to be."""

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
from s3prl_fusion.superb.runs.options import DEMO_UPSTREAMS
from s3prl_fusion.superb.tasks import TASKS
from s3prl_fusion.upstreams import entries

ROOT = Path(__file__).resolve().parent.parent
DOCS = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").rglob("*.md"))]
NAMES = ["README.md", *DOCS, "CONTRIBUTING.md"]
PAGES = {name: (ROOT / name).read_text(encoding="utf-8") for name in NAMES}


def blocks(language: str) -> list[tuple[str, str]]:
    """Every page's blocks of a language, each behind the page's name."""
    block = re.compile(rf"^```{language}\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
    return [(page, text) for page, whole in PAGES.items() for text in block.findall(whole)]


def commands() -> list[tuple[str, list[str]]]:
    lines = [(page, line) for page, text in blocks("bash") for line in text.replace("\\\n", " ").splitlines()]
    split = [(page, shlex.split(line, comments=True)) for page, line in lines]
    return [(page, words) for page, words in split if words]


def of(*programs: str, but: tuple[str, ...] = ()) -> list:
    """The arguments of every command of some programs, but some subcommands, as test parameters."""
    found = []
    for program in map(str.split, programs):
        given = [(page, words[len(program) :]) for page, words in commands() if words[: len(program)] == program]
        assert given, f"no page has a command {' '.join(program)}"
        found += [pytest.param(argv, id=f"{page}: {' '.join(argv)}") for page, argv in given if argv[0] not in but]
    return found


def test_every_command_is_of_a_known_kind():
    known = {"./run_superb.sh", "make", "pip", "s3prl-fusion", "python", "s3prl-main", "torchrun", "srun", "pre-commit"}
    assert {words[0] for _, words in commands()} <= known


def test_the_readme_is_short_and_its_first_screen_says_it_all():
    lines = PAGES["README.md"].splitlines()
    assert len(lines) <= 200
    screen = "\n".join(lines[:28])
    assert "](docs/dataflow.png)" in screen and "demo table: end" in screen
    assert [words[0] for page, words in commands() if page == "README.md"][:2] == ["./run_superb.sh", "make"]


@pytest.mark.parametrize("argv", of("./run_superb.sh"))
def test_superb_commands_parse(argv, files):
    args = build_parser(["superb", *argv]).parse_args(["superb", *argv])
    assert args.demo or (args.upstreams and args.exp)


@pytest.mark.parametrize("argv", of("make"))
def test_make_targets_exist(argv):
    assert re.search(rf"^{argv[0]}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


RUNS = ("s3prl-fusion run", "python -m s3prl_fusion.run_downstream", "python -m s3prl.run_downstream")


@pytest.mark.parametrize("argv", of(*RUNS))
def test_run_commands_parse_as_run_downstream_does(argv, monkeypatch, tmp_path):
    from s3prl.run_downstream import get_downstream_args

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["run_downstream.py", *argv])
    # Arguments that it does not know end in SystemExit; known ones get as far as the files, which are not there.
    with pytest.raises(FileNotFoundError):
        get_downstream_args()


@pytest.mark.parametrize("argv", of("torchrun", "srun torchrun"))
def test_torchrun_commands_start_a_training(argv, monkeypatch, tmp_path):
    from torch.distributed.run import get_args_parser

    args = get_args_parser().parse_args(argv)
    assert args.module and args.training_script == "s3prl_fusion.run_downstream" and args.nproc_per_node == "4"
    assert args.standalone or (args.nnodes == "2" and args.rdzv_backend == "c10d" and args.rdzv_id)
    test_run_commands_parse_as_run_downstream_does(args.training_script_args, monkeypatch, tmp_path)


@pytest.mark.parametrize("argv", of("s3prl-fusion", but=("run",)))
def test_the_other_commands_parse(argv, files):
    if "--help" in argv:
        with pytest.raises(SystemExit, match="0"):
            build_parser(argv).parse_args(argv)
    else:
        assert build_parser(argv).parse_args(argv).command


@pytest.mark.parametrize("argv", of("s3prl-main"))
def test_s3prl_mains_options_are_the_problems(argv, registered):
    from s3prl import problem

    config = getattr(problem, argv[0])().default_config()
    for option, value in zip(argv[1::2], argv[2::2]):
        *sections, key = option.lstrip("-").split(".")
        assert key in functools.reduce(dict.__getitem__, sections, config)
        assert key != "name" or resolve(value)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(fused\w*)`", "".join(PAGES.values()))) - {"fused"}))
def test_names_are_of_the_grammar(name):
    fused = name.removesuffix("__auto")  # the row of what is chosen for one
    assert is_fused_name(fused) and resolve(fused).members


FUSIONS = [text for _, text in blocks("yaml") if "members:" in text]
# What the pages tell to write into a file, or into one of the package: its name is in the first line.
FIRST = {code: code.splitlines()[0] for _, code in [*blocks("python"), *blocks("yaml")]}
FILES = {line[2:]: code for code, line in FIRST.items() if re.fullmatch(r"# \S+\.(py|yaml)", line)}
ROWS = {code: line[5:] for code, line in FIRST.items() if line.startswith("# in ")}


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".py")])
def test_files_of_the_pages_are_python(name):
    """Those too that need packages which are not here."""
    compile(FILES[name], name, "exec")


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A current folder with the files that the pages tell the user to write; the user's tasks are forgotten again."""
    monkeypatch.chdir(tmp_path)
    tasks = dict(TASKS)
    for name, code in FILES.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(code)
    yield tmp_path
    TASKS.clear()
    TASKS.update(tasks)


@pytest.mark.parametrize("text", FUSIONS)
def test_yaml_is_a_fusion_config(text, files):
    (files / "fusion.yaml").write_text(text)
    config = FusionConfig.from_yaml(files / "fusion.yaml")
    assert FusionConfig.from_dict(config.to_dict()) == config


def upstreams() -> list[tuple[str, str | None]]:
    """Every upstream after a command's -u, with what follows its -g."""
    found = set()
    for _, words in commands():
        after = dict(zip(words, words[1:]))
        found |= {(name, after.get("-g")) for name in after.get("-u", "").split(",") if name}
    return sorted(found, key=str)


@pytest.mark.parametrize("name, model_config", [*upstreams(), ("fusion.yaml__chconv", None)])
def test_upstreams_of_commands_are_fusions_or_stock(name, model_config, files, monkeypatch):
    add_rows(monkeypatch)
    for path in ("a.yaml", "b.yaml", "fusion.yaml"):
        Path(path).write_text("members: [fbank, mfcc]")
    fusion = resolve(name, model_config)
    assert fusion.members and fusion.stock is not is_fused_name(name)
    assert not name.endswith("__chconv") or fusion.interface.name == "chconv"


def test_the_users_own_interface_trains(files):
    (text,) = [text for text in FUSIONS if "gated" in text]
    (files / "fusion.yaml").write_text(text)
    interface = FusionConfig.from_yaml(files / "fusion.yaml").interface
    module = build_interface(interface.name, [2, 3], [8, 6], 5, **interface.options)
    fused = module([[torch.ones(1, 4, 8)] * 2, [torch.ones(1, 4, 6)] * 3])
    fused.sum().backward()
    assert fused.shape == (1, 4, 5) and interface.options == {"bias": False} and interface.output_dim == 768


def test_the_users_own_upstream_runs(files):
    (text,) = [text for text in FUSIONS if "my_model.py" in text]
    (files / "fusion.yaml").write_text(text)
    own = FusionConfig.from_yaml(files / "fusion.yaml").members[0]
    upstream = s3prl_fusion.FusedUpstream(FusionConfig((own,)))
    assert [state.shape for state in upstream([torch.zeros(16000)])["hidden_states"]] == [(1, 49, 128)] * 2


def test_the_contributors_interface_is_one_file(files, monkeypatch):
    import s3prl_fusion.interfaces as package

    (path,) = [Path(name) for name in FILES if name.startswith("s3prl_fusion/interfaces/")]
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(path.parent.resolve())])
    try:
        assert path.stem in list_interfaces()
        module = build_interface(path.stem, [2, 3], [8, 6], 5, bias=False)
        fused = module([[torch.ones(1, 4, 8)] * 2, [torch.ones(1, 4, 6)] * 3])
        fused.sum().backward()
        assert fused.shape == (1, 4, 5) and all(p.grad is not None for p in module.parameters())
        assert resolve(f"fused_wavlm_hubert_{path.stem}").interface.name == path.stem
    finally:
        sys.modules.pop(f"{package.__name__}.{path.stem}", None)


def add_rows(monkeypatch) -> list[entries.Entry]:
    """Add the contributor's rows to the upstreams; return them."""
    rows = [eval(code, vars(entries)) for code, name in ROWS.items() if name.endswith("entries.py")]
    for row in rows:
        monkeypatch.setitem(entries.ENTRIES, row.name, row)
    return rows


def test_the_contributors_upstreams_are_rows(monkeypatch, files, tiny_whisper, capsys):
    import s3prl_fusion.upstreams as package
    from s3prl_fusion.host.members import added_entries

    monkeypatch.setattr(package, "__path__", [*package.__path__, str(files / "s3prl_fusion" / "upstreams")])
    rows = add_rows(monkeypatch)
    assert main(["list", "-v", *(f"fused_{row.alias}_fbank" for row in rows)]) == 0
    assert "frame_energy 1 x 2 @ 320 + fbank" in capsys.readouterr().out
    whisper, energy = (added_entries()[row.name] for row in rows)
    assert whisper(tiny_whisper, {"pad_to_30s": False}).pad_to_30s is False
    assert energy(model_config={"frame": 160}).get_downsample_rates() == 160
    sys.modules.pop(f"{package.__name__}.energy")


def test_the_contributors_task_is_a_row_and_a_file(files, monkeypatch, capsys):
    from s3prl_fusion.superb import superb_tasks

    (task,) = [eval(code, vars(superb_tasks)) for code, name in ROWS.items() if name.endswith("tasks.py")]
    TASKS[task.name] = task
    settings = (ROOT / "downstream_configs" / "er.yaml").read_text().replace("test_fold: fold1", "test_fold: fold5")
    Path("configs").mkdir()
    Path("configs", task.config).write_text(settings)
    Path("IEMOCAP").mkdir()
    words = ["-u", "fbank", "-t", task.name, "-o", "exp", "--configs", "configs", "--iemocap", "IEMOCAP", "--dry-run"]
    assert main(["superb", *words]) == 0
    assert "prepare er_session5 --corpus" in capsys.readouterr().out


def test_the_contributors_recipe_is_one_file(files, monkeypatch):
    from s3prl_fusion.host import recipes

    (path,) = [Path(name) for name in FILES if name.startswith("s3prl_fusion/host/recipes/")]
    monkeypatch.setattr(recipes, "__path__", [*recipes.__path__, str(path.parent.resolve())])
    try:
        recipe = recipes.find(path.stem)
        assert recipe.downstream == path.stem
        with pytest.raises(FileNotFoundError, match="datarc.data_dir is '/nowhere'"):
            recipe.mend({"downstream_expert": {"datarc": {"data_dir": "/nowhere"}}}, None)
    finally:
        sys.modules.pop(f"{recipes.__name__}.{path.stem}", None)


def test_espnets_yaml_builds_a_frontend(registered):
    from test_espnet import Restated, freeze

    (text,) = [text for _, text in blocks("yaml") if "frontend:" in text]
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


@pytest.mark.parametrize(
    "page, code", [(page, code) for page, code in blocks("python") if not {code} & {*FILES.values(), *ROWS}]
)
def test_python_runs(page, code, experiment):
    scope: dict = {}
    try:
        exec(compile(code, page, "exec"), scope)
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

    section = PAGES["docs/own-model.md"].split("## What can be a member")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    assert set(re.findall(r"`(\w+)`", "".join(rows))) == set(ENTRIES)


LINKS = [(page, link) for page, whole in PAGES.items() for link in re.findall(r"\]\((?!https?://)([^)]+)\)", whole)]


@pytest.mark.parametrize("page, link", LINKS)
def test_links_lead_somewhere(page, link):
    target, _, anchor = link.partition("#")
    path = (ROOT / page).parent / target if target else ROOT / page
    assert path.exists()
    if anchor:
        headings = re.findall(r"^#+ (.*)", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert anchor in [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]


def test_every_page_is_linked_from_the_readme():
    linked = {link.partition("#")[0] for page, link in LINKS if page == "README.md"}
    assert set(NAMES) - linked == {"README.md"}


def table(name: str, page: str) -> list[str]:
    between = rf"<!-- {name} table: begin -->\n(.*)<!-- {name} table: end -->"
    text = re.search(between, PAGES[page], flags=re.DOTALL).group(1)
    return [line for line in text.splitlines() if line.startswith("| fused_demo")]


def test_the_demos_table_is_there():
    demo = table("demo", "README.md")
    assert all(re.search(r"\d+\.\d\d", row) for row in demo)
    assert [row.split("|")[1].strip() for row in demo] == DEMO_UPSTREAMS.split(",")


def test_put_table_finds_the_page_that_has_the_markers(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    import put_table

    pages = [tmp_path / "one.md", tmp_path / "two.md"]
    for name, page in zip(("demo", "interfaces"), pages):
        page.write_text(f"A\n<!-- {name} table: begin -->\n| old |\n<!-- {name} table: end -->\nB\n")
    monkeypatch.setattr(put_table, "PAGES", pages)
    for under in ("", "\n- better\n- worse\n"):
        (tmp_path / "results.md").write_text(f"# Scores\n\n| x |\n| --- |\n| 1 |\n{under}\nnote\n\n| y |\n")
        put_table.main("interfaces", str(tmp_path / "results.md"))
        assert "| old |" in pages[0].read_text()
        assert pages[1].read_text() == (
            f"A\n<!-- interfaces table: begin -->\n| x |\n| --- |\n| 1 |\n{under}<!-- interfaces table: end -->\nB\n"
        )
