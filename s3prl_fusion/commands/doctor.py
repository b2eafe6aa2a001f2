"""What is installed, whether it fits together, what was supplied in its place, and whether a fused forward works.

Imports nothing outside Python itself before it says so: it is for installations that do not work.
"""

from __future__ import annotations

import argparse
import platform
import shutil
from importlib import import_module, metadata, util
from typing import Callable, Iterator, NamedTuple

PACKAGES = (
    "torch",
    "torchaudio",
    "transformers",
    "huggingface_hub",
    "s3prl",
    "espnet-s3prl",
    "numpy",
    "soundfile",
    "torchcodec",
)
NEWEST = "2.11.0"  # the last torchaudio; torch goes on without it
PAIR = f"pip install torch=={NEWEST} torchaudio=={NEWEST}"
SECONDS = 2


class Finding(NamedTuple):
    """A line of the report; a `BAD` one makes the exit status 1."""

    mark: str
    what: str
    said: str


GOOD, ABSENT, BAD = "ok", "--", "NO"


class Extra(NamedTuple):
    """Something that only some uses need: how it is recognised, for what, and how to get it."""

    name: str
    use: str
    install: str
    program: bool = False


OPTIONAL = (
    Extra("submitit", "superb --slurm", "pip install 's3prl-fusion[slurm]'"),
    Extra("pyarrow", "--table of the Hugging Face datasets library", "pip install 's3prl-fusion[datasets]'"),
    Extra("espnet", "fused upstreams in ESPnet", "pip install espnet"),
    Extra("fairseq", "fairseq's own checkpoints, unconverted", "pip install fairseq"),
    Extra("sox", "tests that compare with the real SoX", "apt install sox", program=True),
    Extra("ffmpeg", "turning corpora into 16 kHz mono", "apt install ffmpeg", program=True),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--device", help="where to try the forward (default: a GPU if torch finds one)")


def main(args: argparse.Namespace) -> int:
    """Print the report; the exit status is 1 if something that every run needs does not work."""
    print("\n".join(versions()))
    found = []
    for title, check in _checks(args.device):
        print(f"\n{title}")
        for finding in check():
            found.append(finding)
            print(f"  {finding.mark}  {finding.what}: {finding.said}", flush=True)
    bad = [finding for finding in found if finding.mark == BAD]
    print(f"\n{'everything works' if not bad else f'{len(bad)} thing(s) to mend, marked NO'}")
    return 1 if bad else 0


def _checks(device: str | None) -> Iterator[tuple[str, Callable[[], Iterator[Finding]]]]:
    yield "packages", imports
    yield "supplied, because it is missing here", supplied
    yield "optional", optional
    yield f"a fused forward of {SECONDS} s", lambda: forward(device)


def versions() -> list[str]:
    """Write a line for this Python and for each package, from its metadata."""
    return [f"python           {platform.python_version()} ({platform.platform()})"] + [
        f"{name:<16} {version_of(name) or '-'}" for name in PACKAGES
    ]


def version_of(distribution: str) -> str | None:
    """Look up the installed version; None if there is none."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def imports() -> Iterator[Finding]:
    """Tell whether torch, torchaudio and s3prl import, and what to do where they do not."""
    for name, explain in (("torch", _explain_torch), ("torchaudio", explain_pair), ("s3prl", _explain_s3prl)):
        try:
            if name == "s3prl":
                from ..host.hub import host_version, hub

                hub()
                said = host_version()
            else:
                said = import_module(name).__version__
                if name == "torchaudio" and _release("torch", 2) != _release("torchaudio", 2):
                    said += f", made for another torch than {version_of('torch')}, but loads beside it"
        except Exception as error:  # a library that does not load gives OSError, a CUDA that differs RuntimeError
            yield Finding(BAD, name, f"{_first_line(error)}\n      {explain()}")
        else:
            yield Finding(GOOD, name, said)
    if version_of("s3prl") and version_of("espnet-s3prl"):
        yield Finding(GOOD, "s3prl", "s3prl and espnet-s3prl are both installed; Python sees the one named above")


def _explain_torch() -> str:
    return "install it anew, with the torchaudio that fits: " + PAIR


def explain_pair() -> str:
    """Tell what is wrong between torch and torchaudio, and the line that mends it."""
    torch, torchaudio = version_of("torch"), version_of("torchaudio")
    if torch is None:
        return PAIR
    too_new = tuple(map(int, _release("torch", 2).split("."))) > tuple(map(int, NEWEST.split(".")[:2]))
    line = PAIR if too_new else f"pip install torchaudio=={_release('torch')}"
    if torchaudio is None:
        return f"it is not installed: {line}"
    if _release("torch", 2) == _release("torchaudio", 2):
        return (
            f"torch {torch} and torchaudio {torchaudio} are of different builds (CPU, CUDA); take both from one index"
        )
    why = f"torchaudio ends with {NEWEST}, so a plain `pip install torch torchaudio` gives two that refuse each other: "
    return f"torch {torch} and torchaudio {torchaudio} do not fit: {why if too_new else ''}{line}"


def _release(distribution: str, parts: int = 3) -> str:
    return ".".join((version_of(distribution) or "").partition("+")[0].split(".")[:parts])


def _explain_s3prl() -> str:
    return "pip install --upgrade s3prl-fusion installs s3prl and what it needs"


def supplied() -> Iterator[Finding]:
    """List the shims that are in use; see `host.shims`."""
    from ..errors import HostError
    from ..host import shims

    try:
        shims.supply()
    except HostError as error:
        yield Finding(BAD, "unknown", _first_line(error))
        return
    for shim in shims.active():
        yield Finding(GOOD, shim.name, f"{shim.reason} ({shim.source})")
    if not shims.active():
        yield Finding(GOOD, "nothing", "s3prl finds all that it needs")


def optional() -> Iterator[Finding]:
    """Tell what is there, and the line that installs what is not."""
    for wanted in OPTIONAL:
        there = shutil.which(wanted.name) if wanted.program else util.find_spec(wanted.name)
        missing = f"not installed; for {wanted.use}: {wanted.install}"
        yield Finding(GOOD if there else ABSENT, wanted.name, "installed" if there else missing)


def forward(device: str | None = None) -> Iterator[Finding]:
    """Fuse the demo's two tiny members, or two spectral ones where the demo is not shipped, on noise."""
    try:
        import torch

        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        name = torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.processor()
        yield Finding(GOOD, "device", f"{device} {name}".strip())
        upstream, shape = fused_forward(device)
    except Exception as error:  # whatever goes wrong is the answer
        yield Finding(BAD, "forward", f"{type(error).__name__}: {_first_line(error)}")
    else:
        yield Finding(GOOD, upstream, f"features of {shape[0]} frames x {shape[1]}")


def fused_forward(device: str) -> tuple[str, tuple[int, ...]]:
    """Run the members that `forward` names.

    Returns:
        The upstream's name, and the shape (frames, width) of the features.

    Raises:
        Exception: whatever the installation cannot do; ArithmeticError for features that are not finite.
    """
    import torch

    from .. import costs
    from ..assets import demo_dir
    from ..host.hub import quiet_torchaudio
    from ..host.upstream import load_pair
    from ..names import resolve
    from ..waveforms import SAMPLE_RATE

    name = "fused_demo" if (demo_dir() / "upstreams" / "hubert").is_dir() else "fused__fbank__mfcc"
    wavs = next(costs.noise([SECONDS * SAMPLE_RATE], device))
    with quiet_torchaudio(), torch.no_grad():
        upstream, featurizer = load_pair(resolve(name), device)
        assert featurizer is not None, "only a stock upstream has none"
        (features,) = featurizer(wavs, upstream(wavs))
    if not features.isfinite().all():
        raise ArithmeticError(f"{name} gives NaN or infinite features on {device}")
    return name, tuple(features.shape)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
