"""`s3prl-fusion extract` and `weights`."""

from __future__ import annotations

import re
from pathlib import Path
from shutil import copytree

import numpy as np
import pandas
import pytest
import soundfile
import torch
from safetensors.numpy import load_file
from tiny_models import wavs

import s3prl_fusion
from s3prl_fusion import FusedUpstream, FusionConfig, load_experiment
from s3prl_fusion.audio import find_files, load
from s3prl_fusion.cli import main
from s3prl_fusion.commands import weights
from s3prl_fusion.errors import CorpusError
from s3prl_fusion.host.ckpt import find_ckpt

PAIR = "fused__fbank__mfcc"


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """A folder of three sound files, two of one name."""
    folder = tmp_path_factory.mktemp("speech")
    for name, wav in zip(("a/1.wav", "b/1.flac", "b/2.wav"), wavs(16000, 9000, 20000)):
        (folder / name).parent.mkdir(exist_ok=True)
        soundfile.write(folder / name, wav.numpy(), 16000)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory, recipe_configs):
    """Expdirs of two steps of ASR, by upstream; trained when first asked for."""
    folder, expdirs = tmp_path_factory.mktemp("trained"), {}

    def get(upstream: str) -> Path:
        if upstream not in expdirs:
            expdirs[upstream] = folder / upstream
            args = ["-u", upstream, "-d", "asr", "-c", str(recipe_configs["asr"]), "-p", str(folder / upstream)]
            try:
                assert main(["run", "-m", "train", *args, "--device", "cpu"]) == 0
            finally:
                s3prl_fusion.unregister()
        return expdirs[upstream]

    return get


def files(folder: Path) -> set[str]:
    """Those that are not hidden."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("[!.]*") if path.is_file()}


@torch.no_grad()
def hidden_states(path: Path) -> list[np.ndarray]:
    upstream = FusedUpstream(FusionConfig.from_name(PAIR)).eval()
    return [torch.cat(states).numpy() for states in upstream.member_states([load(path)])]


class TestExtract:
    def test_writes_each_members_hidden_states_where_the_sound_was(self, speech, tmp_path):
        assert main(["extract", "-u", PAIR, str(speech), "-o", str(tmp_path)]) == 0
        names = ("a/1", "b/1", "b/2")
        assert files(tmp_path) == {f"{name}.{member}.npy" for name in names for member in ("fbank", "mfcc")}
        fbank, mfcc = hidden_states(speech / "b/2.wav")
        np.testing.assert_array_equal(np.load(tmp_path / "b/2.fbank.npy"), fbank)
        np.testing.assert_array_equal(np.load(tmp_path / "b/2.mfcc.npy"), mfcc)
        assert fbank.ndim == 3 and fbank.shape[:2] == mfcc.shape[:2] and fbank.dtype == np.float32

    def test_one_safetensors_file_holds_all_members(self, speech, tmp_path):
        wav = speech / "a/1.wav"
        assert main(["extract", "-u", PAIR, str(wav), "-o", str(tmp_path), "--format", "safetensors"]) == 0
        assert files(tmp_path) == {"1.safetensors"}
        written = load_file(tmp_path / "1.safetensors")
        for name, expected in zip(("fbank", "mfcc"), hidden_states(wav)):
            np.testing.assert_array_equal(written[name], expected)

    def test_a_trained_experiment_gives_its_fused_features(self, speech, trained, tmp_path):
        assert main(["extract", "-e", str(trained(PAIR)), str(speech), "-o", str(tmp_path)]) == 0
        assert files(tmp_path) == {"a/1.npy", "b/1.npy", "b/2.npy"}
        (expected,) = load_experiment(trained(PAIR)).features([load(speech / "b/1.flac")])
        np.testing.assert_array_equal(np.load(tmp_path / "b/1.npy"), expected.numpy())

    def test_stock_upstreams_and_yaml_files_too(self, speech, tmp_path):
        (tmp_path / "two.yaml").write_text("members: [{name: fbank, layers: [0]}, {name: fbank, layers: [-1]}]\n")
        wav = str(speech / "a/1.wav")
        assert main(["extract", "-u", "fbank", wav, "-o", str(tmp_path / "stock")]) == 0
        assert main(["extract", "-u", "fused", "-g", str(tmp_path / "two.yaml"), wav, "-o", str(tmp_path / "two")]) == 0
        assert files(tmp_path / "stock") == {"1.fbank.npy"}
        assert files(tmp_path / "two") == {"1.fbank.0.npy", "1.fbank.1.npy"}
        np.testing.assert_array_equal(np.load(tmp_path / "two/1.fbank.1.npy"), np.load(tmp_path / "stock/1.fbank.npy"))

    def test_goes_on_where_it_stopped(self, speech, tmp_path, capsys):
        command = ["extract", "-u", "fbank", str(speech), "-o", str(tmp_path)]
        assert main(command) == 0
        (tmp_path / "b/2.fbank.npy").unlink()
        (tmp_path / "a/1.fbank.npy").write_bytes(b"mine")
        capsys.readouterr()
        assert main(command) == 0
        assert "2 of 3 are there already" in capsys.readouterr().out
        assert (tmp_path / "b/2.fbank.npy").exists() and (tmp_path / "a/1.fbank.npy").read_bytes() == b"mine"
        assert main([*command, "--overwrite"]) == 0
        np.testing.assert_array_equal(np.load(tmp_path / "a/1.fbank.npy"), hidden_states(speech / "a/1.wav")[0])

    @pytest.mark.fault(
        "extract into a folder with features of another upstream, checkpoint, window, or of a wav that has changed",
        "refused, with what differs; those of the wav are made anew",
    )
    def test_features_that_no_longer_follow(self, speech, trained, tmp_path, capsys):
        folder, out, ckpt = copytree(speech, tmp_path / "speech"), tmp_path / "out", tmp_path / "x.ckpt"
        ckpt.write_bytes(find_ckpt(trained(PAIR)).read_bytes())
        command = ["extract", "-e", str(ckpt), str(folder), "-o", str(out)]
        assert main(command) == 0 and main(command) == 0
        soundfile.write(folder / "a/1.wav", wavs(9000)[0].numpy(), 16000)
        assert main(command) == 0
        assert "2 of 3 are there already" in capsys.readouterr().out
        np.testing.assert_array_equal(
            np.load(out / "a/1.npy"), load_experiment(ckpt).features([folder / "a/1.wav"])[0].numpy()
        )
        assert main([*command, "--window", "2"]) == 2
        assert "window was None, is 2.0. Choose another -o, or give --overwrite" in capsys.readouterr().err
        states = torch.load(ckpt, weights_only=False)
        torch.save({**states, "Step": 0}, ckpt)
        assert main(command) == 2
        assert "has features already: the content of experiment has changed" in capsys.readouterr().err
        (out / ".features.npy.json").unlink()
        assert main(command) == 2
        assert "nothing says what they are made of" in capsys.readouterr().err
        assert main([*command, "--overwrite"]) == 0 and main(command) == 0
        assert main(["extract", "-u", "fbank", str(folder), "-o", str(out)]) == 0  # other names, beside them
        (folder / "a/1.wav").unlink()
        assert main(["extract", "-u", PAIR, str(folder), "-o", str(out)]) == 2
        assert "members was fbank, is fbank + mfcc" in capsys.readouterr().err

    @pytest.mark.fault("bad files among many in `extract`", "named and counted, the others written, exit status 1")
    def test_a_bad_file_does_not_end_the_others_work(self, speech, tmp_path, capsys):
        folder = copytree(speech, tmp_path / "speech")
        soundfile.write(folder / "stereo.wav", np.zeros((8000, 2)), 16000)
        soundfile.write(folder / "nan.wav", np.full(8000, np.nan), 16000, subtype="FLOAT")
        soundfile.write(folder / "more.aiff", wavs(8000)[0].numpy(), 16000)
        (folder / "phone.m4a").write_bytes(b"ftypM4A")
        (folder / "._1.wav").write_bytes(b"Mac OS X")
        command = ["extract", "-u", "fbank", str(folder), "-o", str(tmp_path / "out")]
        for _ in range(2):  # the second time there is nothing else to do
            assert main(command) == 1
            assert files(tmp_path / "out") == {f"{name}.fbank.npy" for name in ("a/1", "b/1", "b/2", "more")}
        out, err = capsys.readouterr()
        assert "4 written below" in out and "4 of 7 are there already" in out
        for part in ("stereo.wav: 2 channel(s)", "nan.wav: NaN or infinite", "phone.m4a: not readable", "3 of 7 sound"):
            assert part in err

    @pytest.mark.fault("a file too long for the memory in `extract`", "named, with --window; the others written")
    @pytest.mark.parametrize(
        "error, told",
        [
            (
                RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
                "needs more memory than there is",
            ),
            (
                torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 88 GB"),
                "needs more memory than there",
            ),
            (
                IndexError("index out of range in self\nmore"),
                "the upstream fails on it: IndexError: index out of range",
            ),
        ],
    )
    def test_a_file_that_the_upstream_fails_on_is_named(self, error, told, speech, tmp_path, capsys, monkeypatch):
        run = FusedUpstream.member_states

        def fails(self, given, cached=True):
            if len(given[0]) == 9000:
                raise error
            return run(self, given, cached)

        monkeypatch.setattr(FusedUpstream, "member_states", fails)
        assert main(["extract", "-u", "fbank", str(speech), "-o", str(tmp_path)]) == 1
        assert files(tmp_path) == {"a/1.fbank.npy", "b/2.fbank.npy"}
        err = capsys.readouterr().err
        assert f"left out: {speech}/b/1.flac: {told}" in err and "; give --window SECONDS" in err

    def test_in_windows_a_long_file_has_as_many_frames(self, tmp_path):
        soundfile.write(tmp_path / "long.wav", wavs(101234)[0].numpy(), 16000)
        for out, more in (("whole", []), ("windows", ["--window", "2"])):
            command = ["extract", "-u", "fused__fbank_no_cmvn__mel", str(tmp_path / "long.wav"), *more]
            assert main([*command, "-o", str(tmp_path / out)]) == 0
        whole, windows = (np.load(tmp_path / out / "long.fbank_no_cmvn.npy") for out in ("whole", "windows"))
        assert whole.shape == windows.shape and np.isfinite(windows).all()
        # Far from where windows meet, a frame's features are its own samples' affair.
        inside = [frame for frame in range(whole.shape[1]) if 8 <= frame % 200 < 192]
        np.testing.assert_allclose(windows[:, inside], whole[:, inside], atol=1e-4)

    def test_an_experiment_takes_windows_and_files_too(self, trained, tmp_path):
        soundfile.write(tmp_path / "long.wav", wavs(70000)[0].numpy(), 16000)
        for upstream in (PAIR, "demo_hubert"):
            experiment = load_experiment(trained(upstream))
            (whole,) = experiment.features([tmp_path / "long.wav"])
            (windows,) = experiment.features([str(tmp_path / "long.wav")], window=1.5)
            assert whole.shape == windows.shape and not torch.equal(whole, windows)
            assert torch.equal(experiment.features([load(tmp_path / "long.wav")], window=5)[0], whole)

    @pytest.mark.fault("an 8 kHz or stereo file in `-m inference`, `predict` or `weights`", "refused as in `extract`")
    def test_every_way_in_says_the_same(self, trained, tmp_path, capsys):
        expdir = trained(PAIR)
        for name, wav, rate in (("slow", np.zeros(8000), 8000), ("two", np.zeros((8000, 2)), 16000)):
            path = tmp_path / f"{name}.wav"
            soundfile.write(path, wav, rate)
            told = f"{path}: {wav.ndim} channel(s), {rate} Hz; needed is mono at 16000 Hz: ffmpeg -i FILE"
            with pytest.raises(CorpusError, match=re.escape(told)):
                load_experiment(expdir).predict([path])
            for command in (
                ["extract", "-e", str(expdir), "-o", str(tmp_path / "out"), str(path)],
                ["weights", str(expdir), "-o", str(tmp_path / "w.png"), "--wavs", str(path)],
                ["run", "-m", "inference", "-e", str(expdir), "-t", str(path)],
            ):
                try:
                    assert main(command) == 2 and told in capsys.readouterr().err
                finally:
                    s3prl_fusion.unregister()

    @pytest.mark.parametrize(
        "argv, message",
        [
            (["-u", "fbank", "--window", "0.5"], "--window 0.5 must be 1 second or more"),
            (["-u", "fbank", "--window", "nan"], "--window nan must be 1 second or more"),
            (["-u", "fused_wavlm_hubrt"], "unknown alias 'hubrt'"),
            (["-u", "fban"], "unknown upstream 'fban'"),
            (["-u", "models/hubert"], "models/hubert does not exist; give a folder in s3prl's layout"),
            (["-u", PAIR, "-k", "x.pt"], "takes no checkpoint of its own"),
            (["-e", "nowhere"], "nowhere does not exist"),
            (["-u", "fbank", "--device", "gpu"], "device 'gpu' is none"),
            (["-e", "nowhere", "--device", "gpu"], "device 'gpu' is none"),
            (["-e", "nowhere", "-g", "x.yaml"], "-g and -k go with -u"),
        ],
    )
    def test_mistakes_end_with_2(self, argv, message, speech, tmp_path, capsys):
        assert main(["extract", *argv, str(speech), "-o", str(tmp_path / "out")]) == 2
        assert message in capsys.readouterr().err and not (tmp_path / "out").exists()

    def test_a_gpu_that_is_not_there_is_refused(self, speech, tmp_path, capsys, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert main(["extract", "-u", "fbank", "--device", "cuda:1", str(speech), "-o", str(tmp_path / "out")]) == 2
        assert "device 'cuda:1': torch finds no GPU here; say cpu" in capsys.readouterr().err


class TestWeights:
    @pytest.mark.parametrize("upstream", [f"{PAIR}__weighted_sum", "demo_hubert"])
    def test_of_a_weighted_sum_are_its_softmax(self, upstream, trained, tmp_path, capsys):
        assert main(["weights", str(trained(upstream)), "-o", str(tmp_path / "w.png")]) == 0
        assert (tmp_path / "w.png").read_bytes().startswith(b"\x89PNG")
        assert "value: softmax weight" in capsys.readouterr().out
        featurizer = load_experiment(trained(upstream)).featurizer
        expected = (
            featurizer.weights.softmax(0).detach()
            if upstream == "demo_hubert"
            else torch.cat(featurizer.interface.shares())
        )
        measure, table = weights.shares(str(trained(upstream)))
        np.testing.assert_allclose(table["value"], expected, rtol=1e-6)

    def test_a_single_hidden_state_has_nothing_to_weigh(self, trained, tmp_path, capsys):
        assert main(["weights", str(trained("fbank")), "-o", str(tmp_path / "w.png")]) == 2
        assert "'fbank' has a single hidden state: there is nothing to weigh" in capsys.readouterr().err

    def test_of_gumbel_are_the_shares_of_dimensions(self, trained, tmp_path):
        measure, table = weights.shares(str(trained(f"{PAIR}__gumbel")))
        assert "dimensions" in measure and table["value"].tolist() == [1.0, 1.0]
        assert table["upstream"].tolist() == ["fbank", "mfcc"]

    def test_of_convolutions_are_measured_on_speech(self, trained, speech, tmp_path, capsys):
        expdir = trained(f"{PAIR}__hconv")
        assert main(["weights", str(expdir), "-o", str(tmp_path / "w.png")]) == 2
        assert "the interface hconv gives layers no weights; measure on speech" in capsys.readouterr().err
        assert main(["weights", str(expdir), "-o", str(tmp_path / "w.svg"), "--wavs", str(speech)]) == 0
        assert b"<svg" in (tmp_path / "w.svg").read_bytes()
        experiment = load_experiment(expdir)
        expected = []
        with torch.no_grad():
            for file in find_files([speech]):
                states = experiment.upstream([load(file)])["hidden_states"]
                whole = experiment.featurizer.fuse(states)
                without = experiment.featurizer.fuse([states[0], states[1].mean(1, keepdim=True).expand_as(states[1])])
                expected.append(float((without - whole).norm() / whole.norm()))
        _, table = weights.occlusion(str(expdir), [str(speech)], "cpu")
        assert table["value"].iloc[1] == pytest.approx(np.mean(expected), rel=1e-4)

    def test_layers_keep_the_numbers_that_the_config_gives_them(self, tmp_path):
        table = weights._table(["a", "b"], [(4, 8), None], [torch.tensor([0.1, 0.2]), torch.tensor([0.3])])
        expected = pandas.DataFrame({"member": [0, 0, 1], "upstream": ["a", "a", "b"], "layer": [4, 8, 0]})
        pandas.testing.assert_frame_equal(table.drop(columns="value"), expected)
        weights.draw(table, "measure", tmp_path / "w.pdf", "pdf")
        assert (tmp_path / "w.pdf").read_bytes().startswith(b"%PDF")

    @pytest.mark.parametrize("output", ["w.txt", "w"])
    def test_other_pictures_are_refused(self, output, tmp_path, capsys):
        assert main(["weights", str(tmp_path), "-o", output]) == 2
        assert f"-o {output} must end in .png, .pdf, .svg" in capsys.readouterr().err
