"""huggingface_hub's HfFolder and Repository, which huggingface_hub 1 dropped and s3prl's runner imports."""

from __future__ import annotations

from typing import Any

from ...errors import HostError
from ..patches import Patches
from .shim import Shim

PULLS = "https://github.com/huggingface/huggingface_hub/pull"


class HfFolder:
    """The user's token, through today's functions."""

    @staticmethod
    def get_token() -> str | None:
        """Return the token of the environment (HF_TOKEN) or of ``hf auth login``."""
        import huggingface_hub

        return huggingface_hub.get_token()

    @staticmethod
    def save_token(token: str) -> None:
        """Log in with a token; the hub is asked whether it is valid."""
        import huggingface_hub

        huggingface_hub.login(token=token)

    @staticmethod
    def delete_token() -> None:
        """Log out."""
        import huggingface_hub

        huggingface_hub.logout()


class Repository:
    """A clone of a repository on the hub, for which there is no replacement: using it raises HostError."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise HostError(
            "s3prl pushes an experiment (--push_to_hf_hub) through huggingface_hub.Repository, which huggingface_hub 1 "
            "dropped. Push the folder yourself: hf upload USER/NAME EXPDIR"
        )


def _shim(kind: type, pull: int) -> Shim:
    name = kind.__name__

    def missing() -> bool:
        import huggingface_hub

        return not hasattr(huggingface_hub, name)

    def apply(patches: Patches) -> None:
        import huggingface_hub

        patches.set(huggingface_hub, name, kind)

    reason = "huggingface_hub 1 dropped it; s3prl's runner imports it"
    return Shim(f"huggingface_hub.{name}", reason, f"{PULLS}/{pull}", name, missing, apply)


SHIMS = (_shim(HfFolder, 3344), _shim(Repository, 3346))
