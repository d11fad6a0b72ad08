"""More training fakes: copies of genuine speech and packaged synthesizers, written as a manifest for `train`.

python -m detection.training.speech_material copies --data MANIFEST --out FOLDER
python -m detection.training.speech_material voices --count 150 --out FOLDER
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import soundfile

from detection.training import audio_features, speech_fakes, speech_synthesizers
from detection.training.audio_features import Clip, Floats

RATE_HZ = 16_000
COLUMNS = ("path", "label", "system", "kind", "language", "source_repo", "licence")
ENGLISH = """
    The birch canoe slid on the smooth planks.|Glue the sheet to the dark blue background.
    It is easy to tell the depth of a well.|These days a chicken leg is a rare dish.
    Rice is often served in round bowls.|The juice of lemons makes fine punch.
    The box was thrown beside the parked truck.|Four hours of steady work faced us.
    A large size in stockings is hard to sell.|The boy was there when the sun rose.
    A rod is used to catch pink salmon.|The source of the huge river is the clear spring.
    Kick the ball straight and follow through.|Help the woman get back to her feet.
    A pot of tea helps to pass the evening.|Smoky fires lack flame and heat.
    The soft cushion broke the man's fall.|The salt breeze came across from the sea.
    The girl at the booth sold fifty bonds.|Please confirm the transfer before noon today.
""".replace("\n", "|").split("|")
SPANISH = """
    Buenos días, le llamo por su cuenta del banco.|La mañana estaba fría y el camino mojado.
    Necesito que confirme el pago antes de las doce.|El perro corre detrás de la pelota roja.
    Mi hermana vive cerca de la plaza mayor.|No olvides cerrar la puerta cuando salgas.
""".replace("\n", "|").split("|")
SENTENCES = {"en": [s.strip() for s in ENGLISH if s.strip()], "es": [s.strip() for s in SPANISH if s.strip()]}

Row = tuple[Floats, dict[str, str]]


def copies(clips: Iterable[Clip], rng: np.random.Generator) -> Iterator[Row]:
    """Yield one copy of every genuine clip, by makers drawn at random; source and language stay the clip's own."""
    names = [*speech_fakes.COPY_SYNTHESIS]
    for clip in clips:
        if not clip.is_fake:
            name = names[int(rng.integers(len(names)))]
            made = speech_fakes.COPY_SYNTHESIS[name](audio_features.load(clip.path), rng)
            yield made, {"system": name, "kind": "copy", "language": clip.language, "source_repo": clip.source}


def voices(count: int, rng: np.random.Generator) -> Iterator[Row]:
    """Yield `count` sentences: half Kokoro with mixed voices (one in five Spanish), a quarter each hibari and Piper."""
    for _ in range(count):
        system = str(rng.choice(["kokoro", "kokoro", "hibari", "piper"]))
        language = "es" if system == "kokoro" and rng.random() < 0.2 else "en"
        text = str(rng.choice(SENTENCES[language]))
        speech = speech_synthesizers.say(system, text, language, rng)
        yield speech.samples, {"system": system, "kind": "made", "language": language, "source_repo": f"made/{system}"}


def write(rows: Iterable[Row], folder: Path) -> int:
    """Write 16 kHz FLAC files and manifest.csv; return how many."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for samples, facts in rows:
            name = f"{count:05d}.flac"
            soundfile.write(folder / name, samples * min(1.0, 0.99 / (np.abs(samples).max() + 1e-9)), RATE_HZ)
            writer.writerow({"path": name, "label": "fake", "licence": "made here", **facts})
            count += 1
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description="Make training fakes of speech.")
    parser.add_argument("what", choices=["copies", "voices"])
    parser.add_argument("--data", type=Path, action="append", default=[], help="manifests with genuine speech")
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    rows = (
        copies(audio_features.read_manifests(given.data), rng) if given.what == "copies" else voices(given.count, rng)
    )
    print(f"{write(rows, given.out)} fakes in {given.out}")


if __name__ == "__main__":
    main()
