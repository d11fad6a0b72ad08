"""What ships: every registered net agrees with its torch weights, is complete, and has golden outputs of its own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from detection.engine import fusion, pipeline, registry, runtime
from detection.engine.branches import physiology

TESTS = Path(__file__).parent


@pytest.mark.parametrize("name", sorted(registry.BRANCHES))
def test_openvino_and_torch_weights_of_a_branch_say_the_same(name):
    torch = pytest.importorskip("torch")
    ov = pytest.importorskip("openvino")
    spec = registry.BRANCHES[name]
    if "torch" not in spec.files:
        pytest.skip("ships without torch weights")
    paths = {kind: registry.WEIGHTS_DIR / files[0][0] for kind, files in spec.files.items()}
    inputs = ov.Core().read_model(paths["openvino"]).inputs
    module = runtime.build_module(spec)
    runtime.load_state(module, paths["torch"])
    rng = np.random.RandomState(20261121)
    scale = 0.1 if spec.channel == "voice" else 1.0
    batches = [
        (scale * rng.standard_normal((2, *(d.get_length() for d in list(i.partial_shape)[1:])))).astype(np.float32)
        for i in inputs
    ]
    with torch.inference_mode():
        expected = module.eval()(*(torch.from_numpy(batch) for batch in batches))
    found = runtime.load(name)._model(*batches)
    assert {"logit"} <= set(expected)
    for key, value in expected.items():
        reach = max(1.0, float(value.abs().max()))
        assert np.abs(found[key] - value.numpy()).max() < 0.02 * reach, key


@pytest.mark.parametrize("name", sorted(registry.BRANCHES))
def test_every_branch_has_golden_outputs_and_a_card(name):
    assert "def test_shipped_weights_give" in (TESTS / f"test_{name}.py").read_text()
    card = (registry.WEIGHTS_DIR / name / "CARD.md").read_text()
    assert "AUROC" in card
    assert registry.BRANCHES[name].version in card


def test_the_shipped_regression_of_face_measurements_is_what_its_file_says():
    content = json.loads((registry.WEIGHTS_DIR / registry.PHYSIOLOGY[0]).read_text())
    one_up = {name: mean + sd for name, (_, mean, sd) in content["features"].items()}
    expected = content["intercept"] + sum(weight for weight, _, _ in content["features"].values())
    logit, known = physiology.load().logit(one_up)
    assert (logit, known) == (pytest.approx(expected), 1.0)
    logit, known = physiology.load().logit({})
    assert (logit, known) == (pytest.approx(content["intercept"]), 0.0)


def test_the_shipped_fusion_was_fitted_to_the_shipped_weights():
    fitted = fusion.load().fitted_with
    assert fitted
    stale = [name for name, digest in fitted.items() if digest != pipeline.digest_of(registry.BRANCHES[name])]
    assert stale == [], f"run manage.py calibrate again: {', '.join(stale)} changed since the fusion was fitted"
