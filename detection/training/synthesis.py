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
from detection.training.picture_features import CODECS, Cache, Extractor, copied, mean_of_pieces, whole
from detection.training.picture_head import Floats, Head, Moments, Scale
from detection.training.picture_pairs import Pairs
from detection.training.pictures import Picture, evenly, read_all

log = logging.getLogger(__name__)

Rows = NDArray[np.int64]
AS_STORED = "as stored"


@dataclass(frozen=True, eq=False)
class Material:
    """What the heads learn from: scaled statistics of pictures seen in several ways, and of pairs."""

    items: list[Picture]
    scale: Scale
    views: Mapping[str, Floats]  # "pieces": mean over those that serve; "whole"; the ways of copies -> (n, d)
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
    pieces: Floats  # (all pieces, d)
    counts: Rows  # (n,) how many pieces each has


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What heads say that know neither the source nor the generator of what they judge."""

    logits: Mapping[str, Floats]  # view -> (n,), nan where the view does not show an item
    of_photo_pieces: Floats  # of every single piece of every genuine picture


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
    material = _material(config, cache, items, everything)
    known = np.array([row for row, item in enumerate(items) if item.kind != "swap"])
    _save_net(_fit(config, material, known), material.scale, out / "net.pt")
    views = _views(config, cache, material, everything)
    runs = [_cross_validate(config, material, everything, views, number) for number in range(config["partitions"])]
    _write_oof(everything, runs[0].logits[AS_STORED], out / "oof.csv")
    record = {"config": dict(config), "learnt_from": len(known), "seen": len(everything)}
    record |= {"pairs": {way: len(pairs.sources) for way, pairs in material.pairs.items()}}
    # synthesis.RARE_PIECE_LOGIT: the finding counts pieces against what genuine pictures show
    record |= {"rare_piece_logit": float(np.quantile(runs[0].of_photo_pieces, 0.9))}
    return record | _assess(config, everything, material, runs)


def export(run: Path, weights_dir: Path) -> dict[str, Any]:
    """Write the weights of a finished run in the shapes that serve, and oof.csv. Returns what the registry needs."""
    record = json.loads((run / "run.json").read_text())
    crop_px = int(record["config"]["crop_px"])
    entry = picture_runs.export(SynthesisNet(), run / "net.pt", weights_dir, "synthesis", crop_px, MEAN, STD)
    shutil.copyfile(run / "oof.csv", weights_dir / "synthesis" / "oof.csv")
    return {**entry, "temperature": record["temperature"], "bias": record["bias"], "input_size": crop_px}


def _material(
    config: Mapping[str, Any], cache: Cache, items: Sequence[Picture], everything: Sequence[Picture]
) -> Material:
    """Return what is learnt from: `items`, some of `everything`, which is judged in the same pieces later on."""
    rows, counts = _served(config, cache, everything)
    names = {item.name for item in items}
    kept = np.array([item.name in names for item in everything])
    pieces = rows[np.repeat(kept, counts)]
    ways = sorted(set().union(*config["view_weights"].values()) - {"pieces", "whole"})
    copies = {way: cache.rows(f"{way}1", items, copied(way, 1, config["crop_px"])) for way in ways}
    scale = Scale.of(np.concatenate([pieces, *copies.values()]))
    found = mean_of_pieces(scale(pieces), counts[kept])
    place = {item.name: row for row, item in enumerate(item for item in everything if item.name in names)}
    views = {
        "pieces": found[_places(place, items)],
        "whole": scale(cache.rows("stored", items, whole())),
        **{way: scale(copy) for way, copy in copies.items()},
    }
    pairs = {
        way: Pairs(scale(pair.statistics), pair.sources)
        for way, pair in picture_pairs.make(items, cache, config).items()
    }
    return Material(list(items), scale, views, pairs)


def _served(config: Mapping[str, Any], cache: Cache, everything: Sequence[Picture]) -> tuple[Floats, Rows]:
    """Return the raw statistics of all pieces of all pictures as they are stored, and how many each has."""
    return cache.pieces(AS_STORED.replace(" ", "_"), everything, lambda image: image, config["crop_px"])


def _fit(config: Mapping[str, Any], material: Material, rows: Rows) -> dict[str, Head]:
    """Fit both heads to some rows and the pairs of their sources.

    A head's tables say in what ways it sees a picture and what each weighs against the others, and what all pairs of
    one way weigh against all pictures.
    """
    items = [material.items[row] for row in rows]
    weights = picture_folds.source_weights(items, config["source_power"])
    labels = material.labels[rows]
    sources = {item.source for item in items if not item.is_fake}
    heads = {}
    for head in HEADS:
        shares = config["view_weights"][head]
        total = sum(shares.values())
        parts = [(material.views[way][rows], labels, weights * share / total) for way, share in shares.items()]
        for way, share in config["pair_shares"][head].items():
            if share and way in material.pairs:
                parts.append(_pair_rows(material.pairs[way], sources, share * len(rows)))
        heads[head] = Moments(parts).solve(config["strength"])
    return heads


def _pair_rows(pairs: Pairs, sources: set[str], total: float) -> tuple[Floats, NDArray[np.bool_], NDArray[np.float64]]:
    """Return statistics, labels and weights (which sum to `total`) of the pairs whose real half is of these sources."""
    kept = pairs.statistics[[source in sources for source in pairs.sources]]
    each = kept.shape[2]
    labels = np.tile(np.repeat([False, True], each), len(kept))
    flat = kept.reshape(2 * each * len(kept), kept.shape[-1])
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
        rows, counts = (
            _served(config, cache, everything)
            if name == AS_STORED
            else cache.pieces(name.replace(" ", "_"), items, CODECS[name], config["crop_px"])
        )
        # a head is linear: its logit of the mean is the mean of its logits
        scaled = material.scale(rows)
        ends = np.cumsum(counts)
        outer = (scaled[ends - counts] + scaled[ends - 1]) / 2
        views[name] = View(_places(place, items), mean_of_pieces(scaled, counts), outer, scaled, counts)
    return views


def _places(place: Mapping[str, int], items: Sequence[Picture]) -> Rows:
    return np.array([place[item.name] for item in items])


def _cross_validate(
    config: Mapping[str, Any],
    material: Material,
    everything: Sequence[Picture],
    views: Mapping[str, View],
    partition: int,
) -> HeldOut:
    """Judge every item in every view by heads that know neither its source nor its generator.

    A face crop is judged as the branch judges a portrait.
    """
    fold_of = picture_folds.divide(material.items, config["folds"], partition)
    fold_of_source = {item.source: fold for item, fold in zip(material.items, fold_of, strict=True)}
    folds = np.array([fold_of_source[item.source] for item in everything])
    faces = np.array([0.0 if item.kind == "picture" else MOST_OF_A_FACE for item in everything], np.float32)
    photos = np.array([item.kind == "picture" and not item.is_fake for item in everything])
    logits = {name: np.full(len(everything), np.nan, np.float32) for name in views}
    of_photo_pieces: list[Floats] = []
    for fold in sorted(set(fold_of.tolist())):
        learn, _ = picture_folds.sides(material.items, fold_of, fold)
        heads = _fit(config, material, learn)
        for name, view in views.items():
            mine = folds[view.rows] == fold
            rows = view.rows[mine]
            by_picture, by_face = heads["picture"](view.wholes[mine]), heads["face"](view.portraits[mine])
            logits[name][rows] = (1 - faces[rows]) * by_picture + faces[rows] * by_face
        stored = views[AS_STORED]
        shown = np.repeat((folds[stored.rows] == fold) & photos[stored.rows], stored.counts)
        of_photo_pieces.append(heads["picture"](stored.pieces[shown]))
    return HeldOut(logits, np.concatenate(of_photo_pieces))


def _assess(
    config: Mapping[str, Any],
    everything: Sequence[Picture],
    material: Material,
    runs: Sequence[HeldOut],
) -> dict[str, Any]:
    logits = runs[0].logits[AS_STORED].astype(np.float64)
    told = np.array([item.kind != "swap" for item in everything])
    temperature, bias = picture_report.calibrate([item for item in everything if item.kind != "swap"], logits[told])
    rivals = picture_baselines.cross_validated(material.items, material.views["pieces"], config["folds"], 0)
    place = {item.name: row for row, item in enumerate(everything)}
    on_items = logits[_places(place, material.items)]
    return {
        "temperature": temperature,
        "bias": bias,
        **picture_report.left_out(everything, [run.logits for run in runs], temperature, bias),
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
