"""huggingface_hub's HfFolder and Repository, which huggingface_hub 1 dropped and s3prl's runner imports; and what
``--hub huggingface`` calls as it was years ago."""

from __future__ import annotations

from functools import wraps
from typing import Any, Callable

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
        """Log in with a token, which the hub is asked about; not with none, or with the one that is there."""
        import huggingface_hub

        if token and token != huggingface_hub.get_token():
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


def _login(self: Any, username: str | None = None, password: str | None = None) -> str:
    """Return the user's token: the hub takes no passwords any more; empty where there is none, as public repositories
    need none."""
    return HfFolder.get_token() or ""


def _has_no_login() -> bool:
    import huggingface_hub

    return not hasattr(huggingface_hub.HfApi, "login")


def _supply_login(patches: Patches) -> None:
    import huggingface_hub

    patches.set(huggingface_hub.HfApi, "login", _login)


def as_before(snapshot_download: Callable[..., str]) -> Callable[..., str]:
    """Let it take what s3prl's runner gives it (s3prl/downstream/runner.py:126): the revision by its place, and
    ``use_auth_token``; today's takes the user's token by itself."""

    @wraps(snapshot_download)
    def download(repo_id: str, revision: str | None = None, use_auth_token: Any = None, **options: Any) -> str:
        return snapshot_download(repo_id, revision=revision, **options)

    return download


_LOGIN = Shim(
    "huggingface_hub.HfApi.login",
    "huggingface_hub 0.8 dropped it, with passwords; run_downstream --hub huggingface calls it",
    f"{PULLS}/910",
    "HfApi().login",
    _has_no_login,
    _supply_login,
)
SHIMS = (_LOGIN, _shim(HfFolder, 3344), _shim(Repository, 3346))
