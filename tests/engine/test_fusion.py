"""Fusion: what the branches say becomes one verdict, by rules that can be checked by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from detection.engine import fusion
from detection.engine.fusion import Stack, Thresholds, fuse, logit, sigmoid
from detection.engine.types import CurvePoint, Evidence, Stability

SHARE = fusion.CHANNEL_SHARE
STACK = Stack.from_json(
    {
        "version": "test",
        "thresholds": {kind: {"fake": 0.6, "real": 0.4} for kind in ("image", "video", "audio")},
        "domains": {
            "image_face": {
                "channel": "picture",
                "weights": {"spatial": 0.8, "synthesis": 0.5, "frequency": 0.0},
                "centres": {"spatial": 0.5, "synthesis": -0.2, "frequency": 0.0},
                "intercept": 0.1,
                "members": [[0.1, 0.8, 0.5, 0.0], [0.2, 0.7, 0.6, 0.0], [0.0, 0.9, 0.4, 0.0]],
            },
            "image_scene": {
                "channel": "picture",
                "weights": {"synthesis": 1.0},
                "centres": {"synthesis": 0.0},
                "intercept": 0.0,
                "members": [],
            },
            "voice": {
                "channel": "voice",
                "weights": {"audio": 1.0},
                "centres": {"audio": 0.0},
                "intercept": 0.0,
                "members": [[0.0, 1.0], [0.3, 1.1], [-0.3, 0.9]],
            },
        },
    }
)


def said(branch: str, score: float | None, channel: str = "picture", **more: object) -> Evidence:
    state = "skipped" if score is None else "scored"
    return Evidence(branch, channel, state, f"{branch} says {score}.", score=score, **more)  # type: ignore[arg-type]


def test_one_channel_is_the_stacked_regression() -> None:
    verdict = fuse("image", [said("spatial", 0.9), said("synthesis", 0.3)], stack=STACK)
    expected = 0.1 + 0.8 * (logit(0.9) - 0.5) + 0.5 * (logit(0.3) + 0.2)
    assert verdict.score == pytest.approx(sigmoid(expected))
    assert verdict.contributions["spatial"] == pytest.approx(0.8 * (logit(0.9) - 0.5))
    assert sum(verdict.weights.values()) == pytest.approx(1)


def test_a_branch_that_did_not_run_leaves_no_trace() -> None:
    with_gap = fuse("image", [said("spatial", 0.9), said("synthesis", None)], stack=STACK)
    alone = fuse("image", [said("spatial", 0.9)], stack=STACK)
    neutral = fuse("image", [said("spatial", 0.9), said("synthesis", 0.5)], stack=STACK)
    assert with_gap.score == alone.score != neutral.score
    assert "synthesis" not in with_gap.contributions


def test_a_branch_without_weight_is_shown_and_does_not_count() -> None:
    calm = fuse("image", [said("spatial", 0.5), said("frequency", 0.01)], stack=STACK)
    loud = fuse("image", [said("spatial", 0.5), said("frequency", 0.99)], stack=STACK)
    assert calm.score == loud.score
    assert loud.weights.get("frequency", 0) == 0


def test_more_suspicion_never_lowers_the_score() -> None:
    scores = [fuse("image", [said("spatial", p), said("synthesis", 0.4)], stack=STACK).score for p in (0.1, 0.5, 0.9)]
    assert scores == sorted(scores)


def test_cloned_voice_over_genuine_picture_is_fake_and_names_the_voice() -> None:
    evidence = [said("spatial", 0.03), said("audio", 0.98, "voice")]
    verdict = fuse("video", evidence, stack=STACK)
    assert verdict.label == "fake"
    assert {c.channel: c.label for c in verdict.channels} == {"picture": "real", "voice": "fake"}
    assert "the voice gives it away" in verdict.rationale
    assert "nothing wrong with the picture" in verdict.rationale
    assert verdict.contributions["audio"] > 0


def test_a_voice_has_the_same_label_in_a_clip_as_by_itself() -> None:
    strict = replace(STACK, thresholds={**STACK.thresholds, "audio": Thresholds(fake=0.9, real=0.1)})
    voice = said("audio", 0.8, "voice")
    alone = fuse("audio", [voice], stack=strict)
    clip = fuse("video", [said("spatial", 0.5), voice], stack=strict)
    assert alone.label == "inconclusive"
    assert {c.channel: c.label for c in clip.channels}["voice"] == "inconclusive"


def test_a_clip_is_called_fake_only_by_a_channel_that_can_tell_and_says_so() -> None:
    strict = replace(STACK, thresholds={**STACK.thresholds, "audio": Thresholds(fake=0.97, real=0.1)})
    blind = replace(
        strict, stackers={**STACK.stackers, "image_face": replace(STACK.stackers["image_face"], auroc_low=0.4)}
    )
    limits = Thresholds(fake=0.6, real=0.4)
    heard = [said("spatial", 0.85), said("audio", 0.8, "voice")]
    assert fuse("video", heard, stack=strict, thresholds=limits).label == "fake"
    verdict = fuse("video", heard, stack=blind, thresholds=limits)
    assert verdict.score is not None
    assert verdict.score > limits.fake
    assert (verdict.label, verdict.abstain_reason) == ("inconclusive", "uncertain_band")
    sure = fuse("video", [heard[0], said("audio", 0.99, "voice")], stack=blind, thresholds=limits)
    assert sure.label == "fake"
    assert "the voice gives it away" in sure.rationale


def test_a_genuine_voice_does_not_make_a_doubtful_picture_genuine() -> None:
    verdict = fuse("video", [said("spatial", 0.64), said("audio", 0.01, "voice")], stack=STACK)
    alone = fuse("video", [said("spatial", 0.64)], stack=STACK)
    assert verdict.score == pytest.approx(alone.score, abs=0.01)
    assert (verdict.label, verdict.abstain_reason) == ("inconclusive", "uncertain_band")
    assert "mostly from the picture" in verdict.rationale


def test_a_doubt_comes_from_the_channel_whose_checks_raised_the_score() -> None:
    """Not from the one whose own score is highest: one that found nothing stands near an even chance."""
    wide = Thresholds(fake=0.99, real=0.01)

    def doubt(*evidence: Evidence) -> str:
        verdict = fuse("video", evidence, stack=one_sided(), thresholds=wide)
        assert verdict.abstain_reason == "uncertain_band"
        return verdict.rationale

    pasted = doubt(said("spatial", 0.75), said("audio", 0.7, "voice"))
    assert "mostly from the picture" in pasted
    verdict = fuse("video", [said("spatial", 0.75), said("audio", 0.7, "voice")], stack=one_sided(), thresholds=wide)
    own = {c.channel: c.score for c in verdict.channels}
    assert own["voice"] > own["picture"]  # by their own scores it would have been the voice
    assert verdict.weights["spatial"] > verdict.weights["audio"]
    assert "mostly" not in doubt(said("spatial", 0.5), said("audio", 0.49, "voice"))  # neither raised it
    assert "mostly" not in doubt(said("spatial", 0.5), said("audio", 0.55, "voice"))  # the picture is likelier, unfound
    assert "mostly from the voice" in doubt(said("spatial", 0.5), said("audio", 0.97, "voice"))
    assert "mostly" not in doubt(said("spatial", 0.75))  # one channel alone needs no naming


def test_a_verdict_that_copies_lose_says_so_itself() -> None:
    evidence = [said("spatial", 0.9), said("synthesis", 0.3)]
    plain = fuse("image", evidence, stack=STACK)
    assert plain.label == "fake"

    def after(*scores: float, label: str = "fake") -> str:
        variants = tuple((f"variant_{i}", score) for i, score in enumerate(scores))
        found = Stability((min(scores), max(scores)), False, variants)
        verdict = fuse("image", evidence if label == "fake" else calm, stack=STACK, stability=found)
        assert verdict.label == label
        return verdict.rationale

    calm = [said("spatial", 0.3), said("synthesis", 0.1)]
    assert "after saving it again or sending it on, the chance falls to 45 %" in after(0.83, 0.45)
    assert "rises to 52 %, where we would give no verdict" in after(0.1, 0.52, label="real")
    assert "depends on the copy" not in after(0.83, 0.61)
    assert "depends on the copy" not in after(0.1, 0.39, label="real")
    assert "depends on the copy" not in plain.rationale


def test_a_clip_whose_picture_could_not_be_checked_is_not_called_real() -> None:
    alone = fuse("video", [said("spatial", None), said("audio", 0.01, "voice")], stack=STACK)
    assert (alone.label, alone.abstain_reason) == ("inconclusive", "too_little_evidence")
    assert fuse("video", [said("spatial", None), said("audio", 0.99, "voice")], stack=STACK).label == "fake"


def test_a_face_that_no_counting_check_saw_is_not_called_real() -> None:
    only_synthesis = {k: v for k, v in STACK.stackers.items() if k != "image_face"}
    only_synthesis["image_face"] = STACK.stackers["image_scene"]
    without_swap_check = replace(STACK, stackers=only_synthesis)
    verdict = fuse("image", [said("spatial", 0.99), said("synthesis", 0.05)], stack=without_swap_check)
    assert (verdict.label, verdict.abstain_reason) == ("inconclusive", "face_not_checked")
    assert "does not clear the face" in verdict.rationale
    assert fuse("image", [said("synthesis", 0.05)], stack=without_swap_check).label == "real"
    assert fuse("image", [said("spatial", 0.05), said("synthesis", 0.05)], stack=STACK).label == "real"


def one_sided() -> Stack:
    face = replace(STACK.stackers["image_face"], domain="video_face", is_one_sided=True)
    return replace(STACK, stackers={**STACK.stackers, "video_face": face})


def test_in_a_one_sided_domain_a_check_that_finds_nothing_does_not_outvote_one_that_does() -> None:
    generated = [said("spatial", 0.02), said("synthesis", 0.9)]
    alone = fuse("video", generated[1:], stack=one_sided())
    both = fuse("video", generated, stack=one_sided())
    assert both.score == pytest.approx(fuse("video", [said("spatial", 0.5), generated[1]], stack=one_sided()).score)
    assert both.label == "fake"
    assert fuse("image", generated, stack=STACK).label == "real"  # elsewhere what finds nothing speaks against it
    assert both.contributions["spatial"] == 0
    assert alone.score is not None
    assert fuse("video", [said("spatial", 0.95), said("synthesis", 0.02)], stack=one_sided()).label == "fake"


def test_a_one_sided_channel_finds_fakes_and_never_vouches() -> None:
    calm = replace(one_sided(), thresholds={**STACK.thresholds, "video": Thresholds(fake=0.8, real=0.55)})
    verdict = fuse("video", [said("spatial", 0.05), said("synthesis", 0.05)], stack=calm)
    assert verdict.score is not None
    assert verdict.score < 0.55
    assert (verdict.label, verdict.abstain_reason) == ("inconclusive", "cannot_vouch")
    assert "miss too many fakes" in verdict.rationale
    assert [c.label for c in verdict.channels] == ["inconclusive"]
    assert set(verdict.contributions) == {"spatial", "synthesis"}


def test_along_a_clip_a_one_sided_domain_is_one_sided_too() -> None:
    stacker = one_sided().stackers["video_face"]
    curve = (CurvePoint(0, 1, 0.01, 0), CurvePoint(1, 2, 0.99, 0))
    scored = {"spatial": said("spatial", 0.5, curve=curve)}
    times, scores = fusion.local_scores(stacker, scored, 0)
    assert scores[times < 1] == pytest.approx(sigmoid(stacker.intercept))
    assert scores[times > 1].min() > 0.9


def test_a_genuine_voice_does_not_speak_for_a_picture_that_nothing_is_known_about() -> None:
    faces = replace(STACK.stackers["image_face"], auroc_low=0.4)
    stack = replace(STACK, stackers={**STACK.stackers, "image_face": faces})
    silent = fuse("video", [said("spatial", 0.5)], stack=stack)
    calm = fuse("video", [said("spatial", 0.5), said("audio", 0.01, "voice")], stack=stack)
    assert calm.score == pytest.approx(silent.score, abs=0.01)
    assert (silent.label, silent.abstain_reason) == ("inconclusive", "cannot_tell")
    eager = Thresholds(fake=0.9, real=0.6)
    quiet = fuse("video", [said("spatial", 0.5), said("audio", 0.01, "voice")], stack=stack, thresholds=eager)
    assert (quiet.label, quiet.abstain_reason) == ("inconclusive", "too_little_evidence")
    assert fuse("video", [said("spatial", 0.5), said("audio", 0.99, "voice")], stack=stack).label == "fake"


def test_sound_is_no_evidence_by_itself() -> None:
    def overall(**channels: float) -> float:
        return fusion.overall(
            [fusion.ChannelOpinion(c, logit(p), 0.0, {}, 1.0, share=SHARE[c]) for c, p in channels.items()]
        )[0]

    for picture in (0.2, 0.5, 0.8):
        assert overall(picture=picture) == pytest.approx(picture)
        assert overall(picture=picture, voice=0.05) == pytest.approx(picture, abs=0.01)
        assert picture < overall(picture=picture, voice=0.5) < picture + 0.17


def test_a_doubtful_voice_does_not_drown_the_picture_and_a_confident_one_counts() -> None:
    def overall(picture: float, voice: float) -> float:
        pair = (("picture", picture), ("voice", voice))
        return fusion.overall([fusion.ChannelOpinion(c, logit(p), 0.0, {}, 1.0, share=SHARE[c]) for c, p in pair])[0]

    assert overall(0.2, 0.65) < 0.45
    assert overall(0.65, 0.2) > 0.65
    assert overall(0.2, 0.99) > 0.9


def test_contributions_are_the_slope_of_the_overall_score() -> None:
    step = 1e-4
    low, high = logit(0.8), logit(0.8) + step

    def overall_logit(x: float) -> float:
        return logit(fuse("video", [said("spatial", 0.7), said("audio", sigmoid(x), "voice")], stack=STACK).score)

    verdict = fuse("video", [said("spatial", 0.7), said("audio", 0.8, "voice")], stack=STACK)
    slope = (overall_logit(high) - overall_logit(low)) / step
    assert verdict.contributions["audio"] == pytest.approx(slope * logit(0.8), rel=1e-2)


def test_interval_holds_the_score_and_widens_with_poor_input() -> None:
    good = fuse("image", [said("spatial", 0.8, quality=1.0)], stack=STACK)
    poor = fuse("image", [said("spatial", 0.8, quality=0.3)], stack=STACK)
    assert good.interval[0] <= good.score <= good.interval[1]
    assert poor.score == good.score
    assert poor.interval[1] - poor.interval[0] > 2 * (good.interval[1] - good.interval[0])


def test_interval_widens_when_the_curve_disagrees_with_itself() -> None:
    steady = tuple(CurvePoint(i, i + 1.0, 0.8) for i in range(4))
    torn = tuple(CurvePoint(i, i + 1.0, p) for i, p in enumerate((0.99, 0.2, 0.99, 0.3)))
    widths = []
    for curve in (steady, torn):
        low, high = fuse("audio", [said("audio", 0.8, "voice", curve=curve)], stack=STACK).interval
        widths.append(high - low)
    assert widths[1] > widths[0] + 0.1


def test_no_scored_branch_is_too_little_evidence() -> None:
    verdict = fuse("audio", [said("audio", None, "voice", reason="no_speech")], stack=STACK)
    assert (verdict.label, verdict.score, verdict.interval) == ("inconclusive", None, None)
    assert verdict.abstain_reason == "too_little_evidence"
    assert "one second of clear speech" in verdict.rationale


@pytest.mark.parametrize(
    ("score", "label", "reason"),
    [(0.9, "fake", None), (0.05, "real", None), (0.5, "inconclusive", "uncertain_band")],
)
def test_labels_follow_the_thresholds(score: float, label: str, reason: str | None) -> None:
    verdict = fuse("audio", [said("audio", score, "voice")], stack=STACK, thresholds=Thresholds(fake=0.6, real=0.4))
    assert (verdict.label, verdict.abstain_reason) == (label, reason)


def test_unusable_input_is_too_little_evidence() -> None:
    verdict = fuse("audio", [said("audio", 0.95, "voice", quality=0.05)], stack=STACK)
    assert (verdict.label, verdict.abstain_reason) == ("inconclusive", "too_little_evidence")


def test_a_flip_under_re_encoding_is_unstable() -> None:
    flipped = Stability((0.2, 0.9), True, (("jpeg_50", 0.2),))
    verdict = fuse("audio", [said("audio", 0.9, "voice")], stack=STACK, stability=flipped)
    assert (verdict.label, verdict.abstain_reason) == ("inconclusive", "unstable")
    assert verdict.score == pytest.approx(0.9)


def test_input_unlike_the_training_material_is_out_of_distribution() -> None:
    strange = said("audio", 0.95, "voice", data={"ood": {"distance": 9.0, "limit": 4.0}})
    known = said("audio", 0.95, "voice", data={"ood": {"distance": 3.0, "limit": 4.0}})
    assert fuse("audio", [strange], stack=STACK).abstain_reason == "out_of_distribution"
    assert fuse("audio", [known], stack=STACK).label == "fake"


def test_branches_that_contradict_each_other_as_never_before_are_out_of_distribution() -> None:
    stacker = fusion.Stacker(
        "image_face", "picture", ("a", "b"), np.ones(2), np.zeros(2), 0.0, np.zeros((0, 3)),
        ood_mean=np.zeros(2), ood_precision=np.linalg.inv([[1.0, 0.95], [0.95, 1.0]]), ood_limit=12.0,
    )  # fmt: skip
    assert not stacker.is_unlike_anything_fitted({"a": 2.0, "b": 2.0})
    assert stacker.is_unlike_anything_fitted({"a": 2.0, "b": -2.0})
    assert not stacker.is_unlike_anything_fitted({"a": 2.0})


def test_altered_credentials_raise_the_score_a_little_and_absent_ones_do_nothing() -> None:
    plain = [said("spatial", 0.3)]
    base = fuse("image", plain, stack=STACK).score
    absent = said("provenance", None, "provenance")
    altered = said("provenance", 0.25, "provenance")
    assert fuse("image", [*plain, absent], stack=STACK).score == base
    assert fuse("image", [*plain, altered], stack=STACK).score == pytest.approx(1 - (1 - base) * 0.75)


def test_declared_generation_decides_alone() -> None:
    verdict = fuse("image", [said("provenance", 0.99, "provenance")], stack=STACK)
    assert verdict.label == "fake"
    assert verdict.score == pytest.approx(0.99)


def test_altered_credentials_alone_are_no_verdict() -> None:
    verdict = fuse("image", [said("provenance", 0.25, "provenance")], stack=STACK)
    assert (verdict.label, verdict.score) == ("inconclusive", None)


def test_fake_intervals_tell_who_and_when() -> None:
    curve = tuple(
        CurvePoint(s, s + 1.0, p, track=t) for t, ps in {0: (0.1, 0.1, 0.1), 1: (0.1, 0.99, 0.99)}.items()
        for s, p in enumerate(ps)
    )  # fmt: skip
    verdict = fuse("video", [said("spatial", 0.9, curve=curve)], stack=STACK)
    assert [(i.track, i.channel) for i in verdict.fake_intervals] == [(1, "picture")]
    assert verdict.fake_intervals[0].start_s == pytest.approx(1.0, abs=0.3)
    assert verdict.fake_intervals[0].end_s == pytest.approx(3.0, abs=0.3)
    assert "0:01–0:03" in verdict.rationale


def test_a_clip_without_a_domain_of_its_own_borrows_the_nearest() -> None:
    assert STACK.stacker("picture", "video", ["spatial"]).domain == "image_face"
    assert STACK.stacker("picture", "video", ["synthesis"]).domain == "image_scene"
    assert STACK.stacker("voice", "video", ["audio"]).domain == "voice"
    assert STACK.stacker("synchrony", "video", ["av_sync"]) is None


@pytest.mark.parametrize(("rule", "expected"), [("max", 0.9), ("median", 0.5), ("mean", 0.5), ("topk", 0.9)])
def test_aggregation_rules(rule: str, expected: float) -> None:
    assert fusion.aggregate([0.1, 0.5, 0.9], rule) == pytest.approx(expected)


def test_unknown_aggregation_is_refused() -> None:
    with pytest.raises(ValueError, match="choose mean, max, median or topk"):
        fusion.aggregate([0.1], "sum")


def test_thresholds_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValueError, match="real <= fake"):
        Thresholds(fake=0.3, real=0.6)


def test_logit_is_bounded() -> None:
    assert logit(1.0) == pytest.approx(fusion.MAX_ABS_LOGIT)
    assert math.isfinite(logit(0.0))


def test_a_label_respects_its_own_interval() -> None:
    poor = [said("audio", 0.75, "voice", quality=0.3)]
    verdict = fuse("audio", poor, stack=STACK)
    assert verdict.label == "fake"
    assert verdict.interval[0] < 0.5
    strict = fuse("audio", poor, stack=replace(STACK, clear_margin=0.1))
    assert (strict.label, strict.abstain_reason) == ("inconclusive", "uncertain_band")
    assert fuse("audio", [said("audio", 0.95, "voice")], stack=replace(STACK, clear_margin=0.1)).label == "fake"
    calm = [said("audio", 0.3, "voice", quality=0.3)]
    assert fuse("audio", calm, stack=replace(STACK, clear_margin=0.1)).label == "inconclusive"
    assert fuse("audio", calm, stack=STACK).label == "real"


def test_the_shares_of_the_channels_come_with_the_weights() -> None:
    heard = [said("spatial", 0.3), said("audio", 0.7, "voice")]
    trusting = fuse("video", heard, stack=replace(STACK, channel_share={"picture": 0.5, "voice": 0.5}))
    wary = fuse("video", heard, stack=replace(STACK, channel_share={"picture": 0.95, "voice": 0.05}))
    assert wary.score < trusting.score
    alone = fuse("audio", heard[1:], stack=replace(STACK, channel_share={"picture": 0.95, "voice": 0.05}))
    assert alone.score == pytest.approx(0.7)
