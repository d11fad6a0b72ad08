"""AASIST and AASIST-L: raw speech to a graph of spectral and temporal nodes to a verdict (Jung et al. 2022).

The layer names are those of the published checkpoints (clovaai/aasist, MIT), so that these load key for key. One
oddity of the published code is kept, because the published weights were trained with it: a residual block normalises
its input and then convolves the input that was not normalised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

RATE_HZ = 16_000
SAMPLES = 64_600
SINC_TAPS = 129
FILTERS = 70


@dataclass(frozen=True)
class Shape:
    """What tells the two published nets apart."""

    stages: tuple[tuple[int, int], ...]
    graph: tuple[int, int]
    pools: tuple[float, float, float]  # share of nodes kept: spectral, temporal, joined


AASIST = Shape(((1, 32), (32, 32), (32, 64), (64, 64), (64, 64), (64, 64)), (64, 32), (0.5, 0.7, 0.5))
AASIST_L = Shape(((1, 32), (32, 32), (32, 24), (24, 24), (24, 24), (24, 24)), (24, 32), (0.4, 0.5, 0.7))
TEMPERATURES = (2.0, 2.0, 100.0)  # spectral, temporal and joined graphs


class Aasist(nn.Module):
    """Speech -> how synthetic it sounds.

    forward: (n, samples) float32, 16 kHz in [-1, 1], 64,600 samples in the publication. Returns `logit` (n,), the
    log-odds of spoofed speech, and `scores` (n, 2); scores[:, 1] is the published bona fide score.
    Source: arXiv:2110.01200.
    """

    def __init__(self, shape: Shape = AASIST) -> None:
        super().__init__()
        width, joined = shape.graph
        channels = shape.stages[-1][1]
        self.register_buffer("bands", torch.from_numpy(sinc_bands()), persistent=False)
        self.first_bn = nn.BatchNorm2d(1)
        blocks = [nn.Sequential(_Residual(*pair, is_first=i == 0)) for i, pair in enumerate(shape.stages)]
        self.encoder = nn.Sequential(*blocks)
        self.pos_S = nn.Parameter(torch.randn(1, FILTERS // 3, channels))
        self.master1 = nn.Parameter(torch.randn(1, 1, width))
        self.master2 = nn.Parameter(torch.randn(1, 1, width))
        self.GAT_layer_S = _Attention(channels, width, TEMPERATURES[0])
        self.GAT_layer_T = _Attention(channels, width, TEMPERATURES[1])
        self.HtrgGAT_layer_ST11 = _JoinedAttention(width, joined, TEMPERATURES[2])
        self.HtrgGAT_layer_ST12 = _JoinedAttention(joined, joined, TEMPERATURES[2])
        self.HtrgGAT_layer_ST21 = _JoinedAttention(width, joined, TEMPERATURES[2])
        self.HtrgGAT_layer_ST22 = _JoinedAttention(joined, joined, TEMPERATURES[2])
        self.pool_S = _Pool(shape.pools[0], width)
        self.pool_T = _Pool(shape.pools[1], width)
        self.pool_hS1 = _Pool(shape.pools[2], joined)
        self.pool_hT1 = _Pool(shape.pools[2], joined)
        self.pool_hS2 = _Pool(shape.pools[2], joined)
        self.pool_hT2 = _Pool(shape.pools[2], joined)
        self.drop_way = nn.Dropout(0.2)
        self.drop = nn.Dropout(0.5)
        self.out_layer = nn.Linear(5 * joined, 2)

    def forward(self, speech: Tensor) -> dict[str, Tensor]:
        embedding = self.embed(speech)
        scores = self.out_layer(self.drop(embedding))
        return {"logit": scores[:, 0] - scores[:, 1], "scores": scores, "embedding": embedding}

    def embed(self, speech: Tensor) -> Tensor:
        """Return (n, 160): the strongest and the mean temporal and spectral node, and the node that saw them all."""
        bands = functional.conv1d(speech[:, None], self.bands)  # type: ignore[arg-type]  # a buffer is a Tensor
        picture = functional.selu(self.first_bn(functional.max_pool2d(bands.abs()[:, None], (3, 3))))
        maps = self.encoder(picture).abs()  # (n, channels, bands, time)
        spectral = self.pool_S(self.GAT_layer_S(maps.amax(dim=3).transpose(1, 2) + self.pos_S))
        temporal = self.pool_T(self.GAT_layer_T(maps.amax(dim=2).transpose(1, 2)))
        first = self._branch(temporal, spectral, self.master1, "1")
        second = self._branch(temporal, spectral, self.master2, "2")
        temporal, spectral, master = (torch.maximum(a, b) for a, b in zip(first, second, strict=True))
        parts = [temporal.abs().amax(dim=1), temporal.mean(dim=1), spectral.abs().amax(dim=1), spectral.mean(dim=1)]
        return torch.cat([*parts, master[:, 0]], dim=1)

    def _branch(self, temporal: Tensor, spectral: Tensor, master: Tensor, name: str) -> list[Tensor]:
        temporal, spectral, master = getattr(self, f"HtrgGAT_layer_ST{name}1")(temporal, spectral, master)
        spectral = getattr(self, f"pool_hS{name}")(spectral)
        temporal = getattr(self, f"pool_hT{name}")(temporal)
        more = getattr(self, f"HtrgGAT_layer_ST{name}2")(temporal, spectral, master)
        return [self.drop_way(a + b) for a, b in zip((temporal, spectral, master), more, strict=True)]


def build_aasist() -> Aasist:
    return Aasist(AASIST)


def build_aasist_l() -> Aasist:
    return Aasist(AASIST_L)


def sinc_bands(count: int = FILTERS, taps: int = SINC_TAPS, rate_hz: int = RATE_HZ) -> NDArray[np.float32]:
    """Return (count, 1, taps) fixed band-pass filters, windowed sincs between neighbours on a mel scale."""
    top = 2595 * np.log10(1 + rate_hz / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, count + 1) / 2595) - 1)
    t = np.arange(taps) - (taps - 1) / 2
    low_pass = 2 * edges[:, None] / rate_hz * np.sinc(2 * edges[:, None] * t / rate_hz)
    return (np.hamming(taps) * np.diff(low_pass, axis=0)).astype(np.float32)[:, None]


class _Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, *, is_first: bool) -> None:
        super().__init__()
        if not is_first:
            self.bn1 = nn.BatchNorm2d(inputs)  # in the checkpoint, without effect: see the module's docstring
        self.conv1 = nn.Conv2d(inputs, outputs, (2, 3), padding=(1, 1))
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, (2, 3), padding=(0, 1))
        self.conv_downsample = nn.Conv2d(inputs, outputs, (1, 3), padding=(0, 1)) if inputs != outputs else None

    def forward(self, maps: Tensor) -> Tensor:
        straight = maps if self.conv_downsample is None else self.conv_downsample(maps)
        changed = self.conv2(functional.selu(self.bn2(self.conv1(maps))))
        return functional.max_pool2d(changed + straight, (1, 3))


class _Nodes(nn.Module):
    """What both graph attentions share: projection of nodes, one normalisation over all of them."""

    def __init__(self, inputs: int, outputs: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.att_proj = nn.Linear(inputs, outputs)
        self.proj_with_att = nn.Linear(inputs, outputs)
        self.proj_without_att = nn.Linear(inputs, outputs)
        self.bn = nn.BatchNorm1d(outputs)
        self.input_drop = nn.Dropout(0.2)

    def pairs(self, nodes: Tensor) -> Tensor:
        """(n, nodes, d) -> (n, nodes, nodes, d'): what two nodes have in common."""
        return torch.tanh(self.att_proj(nodes[:, :, None] * nodes[:, None]))

    def gather(self, nodes: Tensor, attention: Tensor) -> Tensor:
        mixed = self.proj_with_att(attention @ nodes) + self.proj_without_att(nodes)
        return functional.selu(self.bn(mixed.transpose(1, 2)).transpose(1, 2))


class _Attention(_Nodes):
    """Nodes of one kind look at each other."""

    def __init__(self, inputs: int, outputs: int, temperature: float) -> None:
        super().__init__(inputs, outputs, temperature)
        self.att_weight = _vector(outputs)

    def forward(self, nodes: Tensor) -> Tensor:
        nodes = self.input_drop(nodes)
        attention = (self.pairs(nodes) @ self.att_weight)[..., 0] / self.temperature
        return self.gather(nodes, attention.softmax(dim=2))


class _JoinedAttention(_Nodes):
    """Temporal and spectral nodes look at each other, and one master node at all of them."""

    def __init__(self, inputs: int, outputs: int, temperature: float) -> None:
        super().__init__(inputs, outputs, temperature)
        self.proj_type1, self.proj_type2 = nn.Linear(inputs, inputs), nn.Linear(inputs, inputs)
        self.att_projM = nn.Linear(inputs, outputs)
        self.proj_with_attM = nn.Linear(inputs, outputs)
        self.proj_without_attM = nn.Linear(inputs, outputs)
        self.att_weight11, self.att_weight22 = _vector(outputs), _vector(outputs)
        self.att_weight12, self.att_weightM = _vector(outputs), _vector(outputs)

    def forward(self, temporal: Tensor, spectral: Tensor, master: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        count = temporal.shape[1]
        nodes = torch.cat([self.proj_type1(temporal), self.proj_type2(spectral)], dim=1)
        nodes = self.input_drop(nodes)
        attention = self._attention(self.pairs(nodes), count)
        looks = torch.tanh(self.att_projM(nodes * master)) @ self.att_weightM / self.temperature
        seen = (looks.softmax(dim=1) * nodes).sum(dim=1, keepdim=True)
        master = self.proj_with_attM(seen) + self.proj_without_attM(master)
        nodes = self.gather(nodes, attention)
        return nodes[:, :count], nodes[:, count:], master

    def _attention(self, pairs: Tensor, count: int) -> Tensor:
        own = torch.cat([pairs[:, :count, :count] @ self.att_weight11, pairs[:, :count, count:] @ self.att_weight12], 2)
        other = torch.cat(
            [pairs[:, count:, :count] @ self.att_weight12, pairs[:, count:, count:] @ self.att_weight22], 2
        )
        return (torch.cat([own, other], dim=1)[..., 0] / self.temperature).softmax(dim=2)


class _Pool(nn.Module):
    """Keep the share of nodes that score best, each weighed by its score."""

    def __init__(self, share: float, width: int) -> None:
        super().__init__()
        self.share = share
        self.proj = nn.Linear(width, 1)
        self.drop = nn.Dropout(0.3)

    def forward(self, nodes: Tensor) -> Tensor:
        scores = torch.sigmoid(self.proj(self.drop(nodes)))
        kept = max(int(nodes.shape[1] * self.share), 1)
        chosen = scores.topk(kept, dim=1).indices.expand(-1, -1, nodes.shape[2])
        return (nodes * scores).gather(1, chosen)


def _vector(size: int) -> nn.Parameter:
    return nn.Parameter(nn.init.xavier_normal_(torch.empty(size, 1)))


def fit_length(speech: NDArray[np.float32], samples: int = SAMPLES) -> NDArray[np.float32]:
    """Return exactly `samples` samples as the publication does: cut at the end, or repeated from the start."""
    if len(speech) == 0:
        raise ValueError("there is no sound in this excerpt")
    return np.resize(speech, samples).astype(np.float32) if len(speech) < samples else speech[:samples]


def windows(clips: Sequence[NDArray[np.float32]]) -> Tensor:
    """Return (n, 64600) for a list of excerpts at 16 kHz."""
    return torch.from_numpy(np.stack([fit_length(clip) for clip in clips]))
