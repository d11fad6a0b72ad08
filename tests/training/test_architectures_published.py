"""Nets with published weights: same names and shapes as the published files, same numbers as the published code.

The fingerprints are of the published files (AASIST, MiniFASNet) or of the published classes (SBI, DeepfakeBench). The
expected outputs were computed with the published code on the same made-up weights and inputs.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from detection.training import architectures
from detection.training.architectures import aasist, efficientnet_b4
from tests.training.published import fingerprint, made_up, shapes_of


def tones() -> torch.Tensor:
    t = np.arange(aasist.RATE_HZ) / aasist.RATE_HZ
    steady, rising = 0.1 * np.sin(2 * np.pi * 220 * t), 0.05 * np.sin(2 * np.pi * 3000 * t * t)
    return torch.tensor(np.stack([steady, rising]), dtype=torch.float32)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("aasist", [[-1.758619, -1.960419], [-1.859818, -2.025245]]),
        ("aasist-l", [[11.294717, -8.021927], [11.471100, -8.131149]]),
    ],
)
def test_aasist_computes_what_the_published_code_computes(name, expected):
    net = architectures.build(name)
    net.load_state_dict(made_up(shapes_of(net.state_dict())))
    with torch.inference_mode():
        outputs = net.eval()(tones())
    assert outputs["scores"].numpy() == pytest.approx(np.array(expected), abs=2e-4)
    assert outputs["logit"].tolist() == pytest.approx([a - b for a, b in expected], abs=4e-4)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("aasist", "b4abc5ee408ccbdd"),
        ("aasist-l", "49d508d83a788185"),
        ("minifasnet-v2", "045a6551bc50f28f"),
        ("minifasnet-v1se", "8153deb70a0cc505"),
    ],
)
def test_names_and_shapes_are_those_of_the_published_files(name, expected):
    state = architectures.build(name).state_dict()
    if name.startswith("minifasnet"):
        state = {f"module.{key}": value for key, value in state.items()}
    assert fingerprint(state) == expected


def test_a_short_excerpt_is_repeated_and_a_long_one_cut():
    short, long = np.arange(3, dtype=np.float32), np.arange(70_000, dtype=np.float32)
    batch = aasist.windows([short, long])
    assert batch.shape == (2, 64_600)
    assert batch[0, :7].tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert batch[1, -1] == 64_599
    with pytest.raises(ValueError, match="no sound"):
        aasist.fit_length(np.zeros(0, np.float32))


def test_a_living_face_has_low_odds_of_an_attack():
    net = architectures.build("minifasnet-v2").eval()
    with torch.no_grad():
        outputs = net(torch.full((2, 3, 80, 80), 128.0))
    shares = outputs["scores"].softmax(dim=1)
    assert torch.sigmoid(outputs["logit"]).tolist() == pytest.approx((1 - shares[:, 1]).tolist(), abs=1e-5)


def test_efficientnet_b4_pads_as_the_package_that_trained_it():
    net = efficientnet_b4.build().eval()
    back = {v: k for k, v in efficientnet_b4.block_places(net).items()}
    published = {_published_name(key, back): value for key, value in net.state_dict().items()}
    assert fingerprint({f"net.{key}": value for key, value in published.items()}) == "8ac54a939684837b"
    state = made_up({f"net.{key}": tuple(value.shape) for key, value in published.items()}, variance=0.4)
    flat = {key.removeprefix("net."): value for key, value in state.items()}
    net.load_state_dict(efficientnet_b4.from_efficientnet_pytorch(flat, net))
    picture = torch.tensor(np.random.RandomState(1).rand(1, 3, 224, 224), dtype=torch.float32)
    with torch.inference_mode():
        scores = net(picture)["scores"]
    assert scores[0].tolist() == pytest.approx([107.4088, -144.3611], rel=5e-3)


def _published_name(key: str, numbers: dict[tuple[int, int], int]) -> str:
    """The inverse of efficientnet_b4.translate, found by trying all names."""
    inner = key.removeprefix("net.")
    outer = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}
    first, _, rest = inner.partition(".")
    if first in outer:
        return f"{outer[first]}.{rest}"
    stage, place, rest = rest.split(".", 2)
    names = efficientnet_b4._FIRST_STAGE if stage == "0" else efficientnet_b4._LATER_STAGES
    layer = next(theirs for theirs, ours in names.items() if rest.startswith(f"{ours}."))
    return f"_blocks.{numbers[int(stage), int(place)]}.{layer}{rest.removeprefix(names[layer])}"
