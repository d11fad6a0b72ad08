"""The torch layers of the temporal branch: a small transformer over what the spatial net saw in 16 frames."""

from __future__ import annotations

import torch
from torch import nn

FRAMES = 16


class WindowNet(nn.Module):
    """Sixteen embeddings of one face -> how fake their course looks.

    forward: (n, 16, d) float32 as the spatial net gives them. Returns `logit` (n,) and `attention` (n, 16), the share
    of each frame in the decision.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self, inputs: int = 1280, width: int = 32, layers: int = 2, heads: int = 4, dropout: float = 0.3
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("std", torch.ones(inputs))
        self.looks = nn.Linear(inputs, width)
        self.changes = nn.Linear(inputs, width)
        self.place = nn.Parameter(torch.zeros(FRAMES, width))
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(_Layer(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.attend = nn.Linear(width, 1)
        self.head = nn.Linear(width, 1)

    def forward(self, windows: torch.Tensor) -> dict[str, torch.Tensor]:
        x = ((windows - self.mean) / self.std).clamp(-6, 6)
        change = torch.cat([torch.zeros_like(x[:, :1]), x[:, 1:] - x[:, :-1]], dim=1)
        tokens = self.looks(self.dropout(x)) + self.changes(self.dropout(change)) + self.place
        for layer in self.layers:
            tokens = layer(tokens)
        tokens = self.norm(tokens)
        attention = self.attend(tokens)[:, :, 0].softmax(dim=1)
        pooled = torch.einsum("nt,ntd->nd", attention, tokens)
        return {"logit": self.head(self.dropout(pooled))[:, 0], "attention": attention}


class _Layer(nn.Module):
    """A pre-norm transformer layer, written out so that every exporter understands it."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.parts = nn.Linear(width, 3 * width)
        self.join = nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        count, frames, width = tokens.shape
        parts = self.parts(self.before(tokens)).reshape(count, frames, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        weights = (query @ key.transpose(2, 3) * (width // self.heads) ** -0.5).softmax(dim=-1)
        mixed = (weights @ value).transpose(1, 2).reshape(count, frames, width)
        tokens = tokens + self.dropout(self.join(mixed))
        return tokens + self.dropout(self.narrow(nn.functional.gelu(self.wide(self.between(tokens)))))
