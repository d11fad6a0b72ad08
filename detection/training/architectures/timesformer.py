"""TimeSformer: attention along time at one place, then over the places of one frame (Bertasius et al. 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class TimeSformer(nn.Module):
    """Clip -> how fake it looks.

    forward: (n, frames, 3, size, size) float32, normalised. Returns `logit` (n,) and `embedding` (n, width).
    The published net is width 768, depth 12, heads 12, patch 16, 8 frames of 224 px. Source: arXiv:2102.05095.
    """

    def __init__(
        self,
        size: int = 112,
        frames: int = 8,
        patch: int = 16,
        width: int = 192,
        depth: int = 6,
        heads: int = 3,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if size % patch:
            raise ValueError(f"patches of {patch} pixels do not fill a picture of {size}")
        places = (size // patch) ** 2
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.whole = nn.Parameter(torch.zeros(1, 1, width))
        self.place = nn.Parameter(torch.zeros(1, 1 + places, width))
        self.time = nn.Parameter(torch.zeros(1, frames, 1, width))
        nn.init.trunc_normal_(self.place, std=0.02)
        nn.init.trunc_normal_(self.time, std=0.02)
        self.layers = nn.ModuleList(_Layer(width, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, 1)

    def forward(self, clips: Tensor) -> dict[str, Tensor]:
        count, frames = clips.shape[:2]
        patches = self.patches(clips.flatten(0, 1)).flatten(2).transpose(1, 2) + self.place[:, 1:]
        tokens = patches.unflatten(0, (count, frames)) + self.time
        whole = (self.whole + self.place[:, :1]).expand(count, -1, -1)
        for layer in self.layers:
            whole, tokens = layer(whole, tokens)
        embedding = self.norm(whole[:, 0])
        return {"logit": self.head(self.dropout(embedding))[:, 0], "embedding": embedding}


class _Layer(nn.Module):
    """whole: (n, 1, d), one token for the clip; tokens: (n, frames, places, d)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.before_time, self.before_space = nn.LayerNorm(width), nn.LayerNorm(width)
        self.before_mlp = nn.LayerNorm(width)
        self.along_time, self.over_space = _Attention(width, heads), _Attention(width, heads)
        self.after_time = nn.Linear(width, width)
        nn.init.zeros_(self.after_time.weight)  # as published: a new layer starts as one that sees single frames
        nn.init.zeros_(self.after_time.bias)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, whole: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        count, frames, places, _ = tokens.shape
        courses = self.before_time(tokens).transpose(1, 2).flatten(0, 1)  # (n * places, frames, d)
        courses = self.after_time(self.along_time(courses)).unflatten(0, (count, places)).transpose(1, 2)
        tokens = tokens + self.dropout(courses)
        each = whole.repeat_interleave(frames, dim=0)
        pictures = torch.cat([each, tokens.flatten(0, 1)], dim=1)  # (n * frames, 1 + places, d)
        seen = self.dropout(self.over_space(self.before_space(pictures)))
        whole = whole + seen[:, :1].unflatten(0, (count, frames)).mean(dim=1)
        tokens = tokens + seen[:, 1:].unflatten(0, (count, frames))
        both = torch.cat([whole, tokens.flatten(1, 2)], dim=1)
        both = both + self.dropout(self.narrow(functional.gelu(self.wide(self.before_mlp(both)))))
        return both[:, :1], both[:, 1:].unflatten(1, (frames, places))


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.parts, self.join = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        parts = self.parts(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(parts[0], parts[1], parts[2])
        joined: Tensor = self.join(mixed.transpose(1, 2).flatten(2))
        return joined


def build(size: int = 112, frames: int = 8, **settings: int) -> TimeSformer:
    return TimeSformer(size, frames, **settings)
