"""The layers that hold one second of lips against two seconds of speech, at every lag.

The sound side is the frozen lower half of Whisper tiny's encoder and one convolution that says what lips such a sound
asks for; the lip side is a linear map of how the mouth looks and moves. Both were fitted together in closed form
(regularised canonical correlation). They meet twice: as a correlation along the lags (after Chung & Zisserman 2016,
"Out of time") and through cross-attention, in which each moment of the lips asks the sound around it for what fits
(after Chen et al. 2021, arXiv:2112.04432). Imported only where torch is.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from detection.engine.branches.audio_net import FRAMES, WIDTH, WINDOW_SAMPLES, Encoder
from detection.engine.branches.av_sync import FEATURES, LAGS, LIP_STEPS

BLOCKS = 2  # of the encoder: enough to know sounds, not yet words
BASE = 27  # fifteen distances and twelve main patterns of the mouth picture
SHARED = 12  # canonical directions in which lips and sound are compared
TOKEN = 16
SOUND_STEPS = LIP_STEPS + LAGS - 1


class Hearing(Encoder):
    """(n, 32000) samples at 16 kHz -> (n, 50, 384): the frozen encoder's tokens, one for 40 ms."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = self.blocks[:BLOCKS]

    def forward(self, samples: Tensor) -> Tensor:
        x = nn.functional.gelu(self.conv_1(self.log_mel(samples)))
        x = nn.functional.gelu(self.conv_2(x)).transpose(1, 2) + self.positions
        for block in self.blocks:
            x = block(x)
        return x.reshape(-1, FRAMES // 2, 2, WIDTH).mean(2)


class Matcher(nn.Module):
    """Lips (n, 25, SHARED) and the lips that the sound asks for (n, 49, SHARED) -> (n, LAGS), higher where they fit."""

    def __init__(self) -> None:
        super().__init__()
        self.ask = nn.Linear(SHARED, TOKEN)
        self.offer = nn.Linear(SHARED, TOKEN)
        self.bring = nn.Linear(SHARED, TOKEN)
        self.nearness = nn.Parameter(torch.zeros(2 * LIP_STEPS - 1))  # by how many steps sound leads or follows
        self.compare = nn.Linear(SHARED, TOKEN)
        last = nn.Linear(TOKEN, 1)
        nn.init.zeros_(last.weight)
        self.judge = nn.Sequential(nn.Linear(2 * TOKEN, TOKEN), nn.GELU(), last)
        self.weights = nn.Parameter(torch.tensor([8.0, 1.0]))  # of correlation and of attention
        steps = torch.arange(LIP_STEPS)
        self.register_buffer("apart", steps[None] - steps[:, None] + LIP_STEPS - 1, persistent=False)

    apart: Tensor

    def forward(self, lips: Tensor, sound: Tensor) -> Tensor:
        at_lag = sound.unfold(1, LIP_STEPS, 1).transpose(2, 3)  # (n, LAGS, 25, SHARED)
        return self.weights[0] * correlation(lips[:, None], at_lag) + self.weights[1] * self.attend(lips, at_lag)

    def attend(self, lips: Tensor, at_lag: Tensor) -> Tensor:
        """(n, 25, SHARED) asks (n, LAGS, 25, SHARED) -> (n, LAGS)."""
        fit = self.ask(lips)[:, None] @ self.offer(at_lag).transpose(2, 3) * TOKEN**-0.5
        share = torch.softmax(fit + self.nearness[self.apart], -1)
        found, seen = share @ self.bring(at_lag), self.compare(lips)[:, None]
        pair = torch.cat([found * seen, (found - seen).abs()], -1)
        return self.judge(pair).mean(2)[..., 0]


def correlation(lips: Tensor, at_lag: Tensor) -> Tensor:
    """(n, 1, t, k) and (n, lags, t, k) -> (n, lags): one correlation over all directions and steps."""
    a, b = lips - lips.mean(2, keepdim=True), at_lag - at_lag.mean(2, keepdim=True)
    power = (a * a).sum((2, 3)) * (b * b).sum((2, 3))
    return (a * b).sum((2, 3)) * (power + 1e-6).rsqrt()


class SyncNet(nn.Module):
    """(n, 32000 + 25 * FEATURES) -> `logit` (n, LAGS): a row is two seconds of sound, then one second of lips."""

    def __init__(self) -> None:
        super().__init__()
        self.hearing = Hearing()
        self.expect = nn.Conv1d(WIDTH, SHARED, 3, padding=1)
        self.base = nn.Linear(FEATURES, BASE, bias=False)
        self.see = nn.Linear(2 * BASE, SHARED, bias=False)
        self.matcher = Matcher()

    def forward(self, rows: Tensor) -> dict[str, Tensor]:
        samples, lips = rows[:, :WINDOW_SAMPLES], rows[:, WINDOW_SAMPLES:].reshape(-1, LIP_STEPS, FEATURES)
        return {"logit": self.matcher(self.lip_tokens(lips), self.sound_tokens(self.hearing(samples)))}

    def sound_tokens(self, heard: Tensor) -> Tensor:
        """(n, 50, 384) -> (n, 49, SHARED)"""
        return self.expect(heard.transpose(1, 2)).transpose(1, 2)[:, :SOUND_STEPS]

    def lip_tokens(self, lips: Tensor) -> Tensor:
        """(n, 25, FEATURES) -> (n, 25, SHARED): where the mouth stands and how it moves."""
        stands = self.base(lips)
        padded = torch.cat([stands[:, :1], stands, stands[:, -1:]], 1)
        return self.see(torch.cat([stands, padded[:, 2:] - padded[:, :-2]], 2))
