"""`manage.py make_fakes`: make labelled fakes out of the real pictures of a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from detection.training.forgeries import chains, making


class Command(BaseCommand):
    help = (
        "Make fakes by classical means from the real pictures of a manifest. Each fake comes with the real picture it "
        "was made of, worn and saved alike, a mask of what was changed, and a row in OUT/manifest.csv. A fake "
        "belongs to the subject groups of both of its parents."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--method", choices=sorted(making.METHODS), required=True)
        parser.add_argument("--manifest", type=Path, required=True, help="CSV with at least path,label (real|fake)")
        parser.add_argument("--root", type=Path, help="folder that the paths count from (default: the manifest's)")
        parser.add_argument("--out", type=Path, required=True, help="folder for real/, fake/, mask/ and manifest.csv")
        parser.add_argument("--count", type=int, default=100, help="pairs to make")
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument(
            "--chain",
            action="append",
            choices=sorted(chains.CHAINS),
            help="how the pictures travel; may be given several times (default: any)",
        )
        parser.add_argument("--format", choices=["jpg", "png"], default="jpg", help="of the files, real and fake alike")

    def handle(self, *args: Any, **options: Any) -> None:
        manifest: Path = options["manifest"]
        out: Path = options["out"]
        if options["count"] < 1:
            raise CommandError("--count must be at least 1.")
        if (out / "manifest.csv").exists():
            raise CommandError(f"{out / 'manifest.csv'} exists already; choose another --out.")
        try:
            sources = making.read_sources(manifest, options["root"] or manifest.parent)
        except (OSError, ValueError) as error:
            raise CommandError(f"The manifest cannot be used: {error}") from error
        rows, refusals = self._make(sources, options)
        if not rows:
            raise CommandError(f"No picture could be forged by {options['method']}. The first says: {refusals[0]}")
        making.write_manifest(out / "manifest.csv", rows)
        made = len(rows) // 2
        self.stdout.write(f"{made} pairs in {out} ({len(refusals)} pictures did not suit {options['method']}).")
        if made < options["count"]:
            self.stderr.write(f"Only {made} of {options['count']} could be made from {len(sources)} real pictures.")

    def _make(self, sources: list[making.Source], options: dict[str, Any]) -> tuple[list[dict[str, str]], list[str]]:
        rows: list[dict[str, str]] = []
        refusals: list[str] = []
        names = tuple(options["chain"]) if options["chain"] else None
        for pair in making.make_pairs(options["method"], sources, options["count"], options["seed"], names):
            if isinstance(pair, str):
                refusals.append(pair)
                self.stderr.write(pair)
            else:
                rows += making.write_pair(pair, options["method"], len(rows) // 2, options["out"], options["format"])
        return rows, refusals
