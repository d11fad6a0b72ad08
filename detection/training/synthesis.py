"""Fits the synthesis net: two heads on the texture statistics of a frozen ImageNet body, judged on sources left out."""

from __future__ import annotations

import csv
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from detection.engine.branches.synthesis import MOST_OF_A_FACE
from detection.engine.branches.synthesis_net import HEADS, SynthesisNet
from detection.training import picture_baselines, picture_folds, picture_pairs, picture_report, picture_runs
from detection.training.imagenet import MEAN, STD, load_pretrained
from detection.training.picture_features import CODECS, Cache, Extractor, disturbed, mean_of_pieces, whole
from detection.training.picture_head import Floats, Head, Moments, Scale
from detection.training.picture_pairs import Pairs
from detection.training.pictures import Picture, evenly, read_all

log = logging.getLogger(__name__)

Rows = NDArray[np.int64]
AS_STORED = "as stored"


@dataclass(frozen=True, eq=False)
class Material:
    """What the heads learn from: scaled statistics of pictures as they are, of disturbed copies, and of pairs."""

    items: list[Picture]
    scale: Scale
    clean: Floats
    copies: tuple[Floats, ...]
    pairs: Mapping[str, Pairs]

    @property
    def labels(self) -> NDArray[np.bool_]:
        return np.array([item.is_fake for item in self.items])


@dataclass(frozen=True, eq=False)
class View:
    """Pictures that are judged, as they are stored or re-compressed, by the pieces that the branch takes of them."""

    rows: Rows  # (n,) in the list of all
    wholes: Floats  # (n, d): mean over all pieces
    portraits: Floats  # (n, d): mean over the two outer ones, by which the branch judges a face


def train(config: Mapping[str, Any], data: list[Path], out: Path) -> dict[str, Any]:
    """Fit both heads to all sources; write net.pt and oof.csv to out. Returns the run record.

    The shipped heads have learnt from every source, so every figure and the calibration come from heads that know
    neither the source nor the generator that they judge.
    """
    torch.set_num_threads(config.get("threads", 1))
    everything = read_all(data)
    items = evenly(everything, config["most_reals_per_source"])
    log.info("%d pictures, %d of them to learn from", len(everything), len(items))
    cache = Cache(out / "features", Extractor())
    material = _material(config, cache, items)
    known = np.array([row for row, item in enumerate(items) if item.kind != "swap"])
    _save_net({head: _fit(config, material, known, head) for head in HEADS}, material.scale, out / "net.pt")
    views = _views(config, cache, material, everything)
    runs = [_cross_validate(config, material, everything, views, number) for number in range(config["partitions"])]
    _write_oof(everything, runs[0][AS_STORED], out / "oof.csv")
    record = {"config": dict(config), "learnt_from": len(known), "seen": len(everything)}
    record |= {"pairs": {way: len(pairs.sources) for way, pairs in material.pairs.items()}}
    return record | _assess(config, everything, material, runs)


def export(run: Path, weights_dir: Path) -> dict[str, Any]:
    """Write the weights of a finished run in the shapes that serve, and oof.csv. Returns what the registry needs."""
    record = json.loads((run / "run.json").read_text())
    crop_px = int(record["config"]["crop_px"])
    entry = picture_runs.export(SynthesisNet(), run / "net.pt", weights_dir, "synthesis", crop_px, MEAN, STD)
    shutil.copyfile(run / "oof.csv", weights_dir / "synthesis" / "oof.csv")
    return {**entry, "temperature": record["temperature"], "bias": record["bias"], "input_size": crop_px}


def _material(config: Mapping[str, Any], cache: Cache, items: Sequence[Picture]) -> Material:
    size = config["crop_px"]
    clean = cache.rows("stored", items, whole())
    copies = [cache.rows(f"copy{n}", items, disturbed(n, size)) for n in range(1, config["copies"] + 1)]
    scale = Scale.of(np.concatenate([clean, *copies]))
    pairs = {
        way: Pairs(scale(found.statistics), found.sources)
        for way, found in picture_pairs.make(items, cache, config).items()
    }
    return Material(list(items), scale, scale(clean), tuple(scale(copy) for copy in copies), pairs)


def _fit(config: Mapping[str, Any], material: Material, rows: Rows, head: str) -> Head:
    """Fit a head to some rows and the pairs of their sources.

    A copy weighs `copy_weight` times as much as the picture itself; all pairs of one way weigh, against all pictures,
    what the head's table of shares says.
    """
    items = [material.items[row] for row in rows]
    weights = picture_folds.source_weights(items, config["source_power"])
    shares = np.array([1.0] + [config["copy_weight"]] * len(material.copies))
    views = zip((material.clean, *material.copies), shares / shares.sum(), strict=True)
    parts = [(view[rows], material.labels[rows], weights * share) for view, share in views]
    sources = {item.source for item in items if not item.is_fake}
    for way, share in config["pair_shares"][head].items():
        if share and way in material.pairs:
            parts.append(_pair_rows(material.pairs[way], sources, share * len(rows)))
    return Moments(parts).solve(config["strength"])


def _pair_rows(pairs: Pairs, sources: set[str], total: float) -> tuple[Floats, NDArray[np.bool_], NDArray[np.float64]]:
    """Return statistics, labels and weights (which sum to `total`) of the pairs whose real half is of these sources."""
    kept = pairs.statistics[[source in sources for source in pairs.sources]]
    labels = np.tile([False, False, True, True], len(kept))
    flat = kept.reshape(4 * len(kept), kept.shape[-1])
    return flat, labels, np.full(len(flat), total / max(len(flat), 1))


def _save_net(heads: Mapping[str, Head], scale: Scale, path: Path) -> None:
    net = SynthesisNet()
    load_pretrained(net)
    with torch.no_grad():
        net.mean.copy_(torch.from_numpy(scale.mean))
        net.spread.copy_(torch.from_numpy(scale.spread))
        for number, head in enumerate(HEADS):
            net.head.weight[number] = torch.from_numpy(heads[head].weight)
            net.head.bias[number] = heads[head].bias
    torch.save(net.state_dict(), path)


def _views(
    config: Mapping[str, Any], cache: Cache, material: Material, everything: Sequence[Picture]
) -> dict[str, View]:
    """Return what is judged, in the pieces that the branch takes: every picture as it is stored, some re-compressed."""
    place = {item.name: row for row, item in enumerate(everything)}
    few = evenly(material.items, config["codec_pictures_per_source"], fakes_too=True)
    shown = {AS_STORED: everything, **dict.fromkeys(config["test_codecs"], few)}
    views = {}
    for name, items in shown.items():
        steps = CODECS.get(name, lambda image: image)
        rows, counts = cache.pieces(name.replace(" ", "_"), items, steps, config["crop_px"])
        # a head is linear: its logit of the mean is the mean of its logits
        scaled = material.scale(rows)
        ends = np.cumsum(counts)
        outer = (scaled[ends - counts] + scaled[ends - 1]) / 2
        views[name] = View(_places(place, items), mean_of_pieces(scaled, counts), outer)
    return views


def _places(place: Mapping[str, int], items: Sequence[Picture]) -> Rows:
    return np.array([place[item.name] for item in items])


def _cross_validate(
    config: Mapping[str, Any],
    material: Material,
    everything: Sequence[Picture],
    views: Mapping[str, View],
    partition: int,
) -> dict[str, Floats]:
    """Return per view the logits of all of `everything`, nan where the view does not show an item.

    They come from heads that know neither the source nor the generator of what they judge. A face crop is judged as
    the branch judges a portrait.
    """
    fold_of = picture_folds.divide(material.items, config["folds"], partition)
    fold_of_source = {item.source: fold for item, fold in zip(material.items, fold_of, strict=True)}
    folds = np.array([fold_of_source[item.source] for item in everything])
    faces = np.array([0.0 if item.kind == "picture" else MOST_OF_A_FACE for item in everything], np.float32)
    logits = {name: np.full(len(everything), np.nan, np.float32) for name in views}
    for fold in sorted(set(fold_of.tolist())):
        learn, _ = picture_folds.sides(material.items, fold_of, fold)
        heads = {head: _fit(config, material, learn, head) for head in HEADS}
        for name, view in views.items():
            mine = folds[view.rows] == fold
            rows = view.rows[mine]
            by_picture, by_face = heads["picture"](view.wholes[mine]), heads["face"](view.portraits[mine])
            logits[name][rows] = (1 - faces[rows]) * by_picture + faces[rows] * by_face
    return logits


def _assess(
    config: Mapping[str, Any],
    everything: Sequence[Picture],
    material: Material,
    runs: Sequence[Mapping[str, Floats]],
) -> dict[str, Any]:
    logits = runs[0][AS_STORED].astype(np.float64)
    told = np.array([item.kind != "swap" for item in everything])
    temperature, bias = picture_report.calibrate([item for item in everything if item.kind != "swap"], logits[told])
    rivals = picture_baselines.cross_validated(material.items, material.clean, config["folds"], 0)
    place = {item.name: row for row, item in enumerate(everything)}
    on_items = logits[_places(place, material.items)]
    return {
        "temperature": temperature,
        "bias": bias,
        **picture_report.left_out(everything, runs, temperature, bias),
        "place": picture_report.place(material.items, on_items, rivals),
    }


def _write_oof(items: Sequence[Picture], logits: Floats, path: Path) -> None:
    """Write the held-out logit of every row: the shipped heads themselves have learnt from these sources."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["path", "label", "source", "system", "split", "logit"])
        for item, logit in zip(items, logits, strict=True):
            label = "fake" if item.is_fake else "real"
            writer.writerow([item.name, label, item.source, item.generator, item.split, f"{logit:.4f}"])
