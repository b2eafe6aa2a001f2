"""transformers' speech models: their last hidden state as it was up to transformers 4."""

from __future__ import annotations

from functools import wraps
from typing import Any

from ..patches import Patches
from .shim import Shim


def _models() -> list[Any]:
    """Return the two that s3prl uses."""
    from transformers import HubertModel, Wav2Vec2Model

    return [HubertModel, Wav2Vec2Model]


def _records_before_the_norm() -> bool:
    import transformers

    return int(transformers.__version__.partition(".")[0]) >= 5


def _norm_last_states(patches: Patches) -> None:
    for model in _models():
        patches.set(model, "forward", _with_normed_last_state(model.forward))


def _with_normed_last_state(stock: Any) -> Any:
    @wraps(stock)
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        out = stock(self, *args, **kwargs)
        states = getattr(out, "hidden_states", None)
        # Where the last one is the model's output already, the norm is in it.
        if states and self.config.do_stable_layer_norm and states[-1] is not out.last_hidden_state:
            out.hidden_states = (*states[:-1], self.encoder.layer_norm(states[-1]))
        return out

    return forward


SHIMS = (
    Shim(
        "transformers' last hidden state of HuBERT and wav2vec 2.0",
        "transformers 5 records it before the encoder's final layer norm, in models with do_stable_layer_norm, where "
        "transformers 4 did after it; s3prl's hf_hubert_custom and hf_wav2vec2_custom pass it on",
        "https://github.com/huggingface/transformers/issues/43979",
        "output_hidden_states=True",
        _records_before_the_norm,
        _norm_last_states,
    ),
)
