"""wav2vec 2.0 and HuBERT bodies with a small head over all their layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from detection.engine import torch_compat  # noqa: F401  # before torchaudio

SMALL: dict[str, Any] = {  # for a look at whether the code learns; there are no weights of this size
    "extractor_mode": "group_norm",
    "extractor_conv_layer_config": [(32, 10, 5), (32, 8, 4), (32, 4, 4), (32, 4, 4)],
    "extractor_conv_bias": False,
    "encoder_embed_dim": 48,
    "encoder_projection_dropout": 0.0,
    "encoder_pos_conv_kernel": 16,
    "encoder_pos_conv_groups": 4,
    "encoder_num_layers": 2,
    "encoder_num_heads": 4,
    "encoder_attention_dropout": 0.0,
    "encoder_ff_interm_features": 96,
    "encoder_ff_interm_dropout": 0.0,
    "encoder_dropout": 0.0,
    "encoder_layer_norm_first": False,
    "encoder_layer_drop": 0.0,
    "aux_num_out": None,
}


class SpeechTransformer(nn.Module):
    """Speech -> how synthetic it sounds.

    forward: (n, samples) float32, 16 kHz. Returns `logit` (n,) and `embedding` (n, 2 d): mean and spread over time of
    a learnt mixture of the layers; the lower ones hear sound, the upper ones words. The body is frozen up to
    `frozen_layers` (-1: wholly). Sources: arXiv:2006.11477, arXiv:2106.07447, layer mixture arXiv:2105.01051.
    """

    def __init__(self, body: Any, layers: int, width: int, frozen_layers: int = 0, dropout: float = 0.2) -> None:
        super().__init__()
        self.body = body
        self.mixture = nn.Parameter(torch.zeros(layers))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * width, 1)
        self._freeze(layers if frozen_layers < 0 else frozen_layers)

    def forward(self, speech: Tensor) -> dict[str, Tensor]:
        centred = speech - speech.mean(1, keepdim=True)
        level = centred / (centred.square().mean(1, keepdim=True).sqrt() + 1e-5)
        layers, _ = self.body.extract_features(level)
        mixed = torch.einsum("l,lntd->ntd", self.mixture.softmax(dim=0), torch.stack(layers))
        mean = mixed.mean(dim=1)
        spread = (mixed - mean[:, None]).square().mean(dim=1).clamp_min(1e-8).sqrt()
        embedding = torch.cat([mean, spread], dim=1)
        return {"logit": self.head(self.dropout(embedding))[:, 0], "embedding": embedding}

    def _freeze(self, layers: int) -> None:
        if layers <= 0:
            return
        parts = [self.body.feature_extractor, self.body.encoder.feature_projection]
        parts += list(self.body.encoder.transformer.layers)[:layers]
        for part in parts:
            part.requires_grad_(False)


def build(
    kind: str, weights: str = "", pretrained: bool = False, frozen_layers: int = 0, small: bool = False
) -> SpeechTransformer:
    """Return wav2vec2-base or hubert-base with a head.

    kind: "wav2vec2" or "hubert". weights: a file with the state of torchaudio's model (torchaudio.pipelines saves it
    so); pretrained: fetch them, which needs a connection. Raises OSError when they cannot be had.
    """
    import torchaudio

    if small:
        layers, width = int(SMALL["encoder_num_layers"]), int(SMALL["encoder_embed_dim"])
        return SpeechTransformer(torchaudio.models.wav2vec2_model(**SMALL), layers, width, frozen_layers)
    body = getattr(torchaudio.models, f"{kind}_base")()
    if weights:
        from detection.training import importing

        importing.fill(body, importing.read(Path(weights)), f"torchaudio {kind}-base")
    elif pretrained:
        body = _fetched(kind)
    return SpeechTransformer(body, 12, 768, frozen_layers)


def _fetched(kind: str) -> Any:
    import torchaudio

    bundle = {"wav2vec2": "WAV2VEC2_BASE", "hubert": "HUBERT_BASE"}[kind]
    try:
        return getattr(torchaudio.pipelines, bundle).get_model()
    except Exception as error:  # urllib, requests and ssl each have their own
        raise OSError(
            f"The weights of {kind}-base could not be fetched ({error}). "
            "Give their file as `weights` in [settings], or train without pretrained."
        ) from error
