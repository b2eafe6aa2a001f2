"""Tells s3prl_fusion when s3prl is imported: so that s3prl's own scripts know fused upstreams.

A copy of this file in an environment's site-packages is imported when Python starts there: see `s3prl-fusion hook -h`,
which has put it there and takes it away. S3PRL_FUSION_HOOK=0 switches it off.
"""

import os
import sys

WATCHED = ("s3prl.hub", "s3prl.dataio", "s3prl.nn.upstream", "s3prl.downstream.runner")


class Hook:
    """A finder that finds nothing itself, but has a word with the loaders of what others find."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name not in WATCHED:
            return None
        for finder in sys.meta_path:
            if finder is cls or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    _then_attach(spec.loader)
                return spec
        return None


def _then_attach(loader):
    exec_module = loader.exec_module

    def exec_and_attach(module):
        exec_module(module)
        try:
            from s3prl_fusion.host.register import attach

            attach(module)
        except Exception as error:
            # Whatever is wrong with s3prl_fusion, s3prl must go on as if it were not there; one message is enough.
            if Hook in sys.meta_path:
                sys.meta_path.remove(Hook)
                print(
                    f"s3prl_fusion's hook does not work: {error!r}; {module.__name__} knows no fused upstreams. "
                    "`s3prl-fusion hook remove` takes it away, S3PRL_FUSION_HOOK=0 switches it off",
                    file=sys.stderr,
                )

    loader.exec_module = exec_and_attach


if os.environ.get("S3PRL_FUSION_HOOK") != "0":
    sys.meta_path.insert(0, Hook)
