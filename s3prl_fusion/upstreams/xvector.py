"""A trained network that knows voices, as an s3prl upstream, from its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ..errors import MissingFileError, UsageError
from ..files import read_json
from ..schema import WIDTH, Section, several, whole
from . import pretrained
from .entries import XVECTOR
from .xvector_model import CONFIG, WEIGHTS, XVector, XVectorConfig, XVectorEncoder

_SECTION = Section(
    needed={"dim": WIDTH, "inner": WIDTH, "mels": WIDTH, "dilations": several(whole(1), least=1)}, others=True
)


class XVectorUpstream(XVectorEncoder):
    """A trained `XVector`: a hidden state of its first convolution and of every block, a frame in 320 samples.

    Args:
        ckpt: a folder with ``config.json`` and ``model.safetensors``, as ``XVector.save_pretrained`` writes them; of
            any precision, computed in float32.

    Raises:
        MissingFileError: there is no such folder, or a file is not in it; the message names it.
        UsageError: it is a folder of something else, or damaged.
    """

    def __init__(self, ckpt: str) -> None:
        pretrained.check_ckpt(XVECTOR, ckpt)
        folder = Path(ckpt)
        if not folder.is_dir():
            raise MissingFileError(f"ckpt {ckpt!r} of {XVECTOR!r} is no folder; correct the path")
        sizes = read_json(folder / CONFIG, _SECTION, "fetch it again")
        config = XVectorConfig(sizes["dim"], sizes["inner"], sizes["mels"], tuple(sizes["dilations"]))
        super().__init__(XVector(config))
        self.model.load_state_dict(_weights(folder / WEIGHTS, self.model.state_dict()))


def _weights(path: Path, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Read the weights, and compare their names and shapes with those ``wanted``."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found = load_file(path)
    except FileNotFoundError as error:
        raise MissingFileError(f"{path.parent} has no {path.name}; fetch or save it again") from error
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{path} is damaged: {error}; fetch it again") from error
    other = sorted(
        key
        for key in {*found, *wanted}
        if key not in found or key not in wanted or found[key].shape != wanted[key].shape
    )
    if other:
        more = f" and {len(other) - 3} more" if len(other) > 3 else ""
        raise UsageError(
            f"{path} does not have the weights that {CONFIG} beside it tells of: {', '.join(other[:3])}{more} are "
            "missing, too many or of another size; fetch both again"
        )
    return {key: value.float() for key, value in found.items()}
