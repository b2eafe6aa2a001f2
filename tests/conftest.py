"""Fixtures: tiny upstreams on disk, miniature corpora, and s3prl as it was before a test."""

from __future__ import annotations

import pytest
import tiny_corpora
import tiny_models
import torch


def pytest_configure(config):
    # Tests import s3prl's modules themselves.
    from s3prl_fusion.host import shims

    shims.supply()
    # The suite's machines are small, and the models tiny: more threads only wait for each other.
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_hubert(tmp_path_factory):
    """A folder for s3prl's ``hf_hubert_custom``: 4 hidden states x 32."""
    return tiny_models.save_hf_wav2vec(tmp_path_factory.mktemp("hubert"), "hubert")


@pytest.fixture(scope="session")
def tiny_wav2vec2(tmp_path_factory):
    """A folder for s3prl's ``hf_wav2vec2_custom``: 3 hidden states x 24."""
    return tiny_models.save_hf_wav2vec(tmp_path_factory.mktemp("wav2vec2"), "wav2vec2", dim=24, layers=2)


@pytest.fixture(scope="session")
def tiny_whisper(tmp_path_factory):
    """A folder for ``hf_whisper_custom``: 3 hidden states x 32."""
    return tiny_models.save_hf_whisper(tmp_path_factory.mktemp("whisper"))


@pytest.fixture(scope="session")
def wavlm_ckpt(tmp_path_factory):
    """A checkpoint for ``wavlm_local``: 3 hidden states x 32."""
    return tiny_models.save_wavlm(tmp_path_factory.mktemp("wavlm") / "wavlm.pt")


@pytest.fixture(scope="session")
def hubert_ckpt(tmp_path_factory):
    """A checkpoint for ``hubert_local``: 4 hidden states x 24."""
    return tiny_models.save_hubert(tmp_path_factory.mktemp("hubert_local") / "hubert.pt")


@pytest.fixture(scope="session")
def libri(tmp_path_factory):
    return tiny_corpora.librispeech(tmp_path_factory.mktemp("libri"))


@pytest.fixture(scope="session")
def voxceleb(tmp_path_factory):
    return tiny_corpora.voxceleb1(tmp_path_factory.mktemp("voxceleb"))


@pytest.fixture(scope="session")
def emotions(tmp_path_factory):
    return tiny_corpora.iemocap(tmp_path_factory.mktemp("emotions"))


@pytest.fixture(scope="session")
def recipe_configs(tmp_path_factory, libri, voxceleb, emotions):
    """The tiny config of every recipe, by the recipe's name."""
    from s3prl_fusion.assets import downstream_configs_dir

    folder = tmp_path_factory.mktemp("configs") / "tiny"
    return tiny_corpora.write_configs(folder, downstream_configs_dir(), libri, voxceleb, emotions)


@pytest.fixture
def registered():
    """s3prl with the fused names, for one test."""
    import s3prl_fusion

    s3prl_fusion.register()
    yield
    s3prl_fusion.unregister()
