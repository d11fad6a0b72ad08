"""Measuring the list: every case answers, and other sections of the file stay."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from detection.management.commands import bench


def test_it_measures_every_case_and_keeps_the_other_sections(db, tmp_path: Path, settings) -> None:
    settings.STATIC_ROOT = tmp_path / "static"
    call_command("seed_analyses", rows=120, verbosity=0)
    out = tmp_path / "benchmarks.md"
    out.write_text(
        "# Benchmarks\n\nFirst.\n\n## The list of analyses\n\nThe figures of before.\n\n## Another\n\nkept\n"
    )
    call_command("bench_list", runs=2, out=out)
    text = out.read_text()
    assert "The figures of before." not in text
    assert text.startswith("# Benchmarks\n\nFirst.\n\n## The list of analyses\n")
    assert text.endswith("## Another\n\nkept\n")
    assert "on 120 analyses" in text
    lines = [line for line in text.splitlines() if line.startswith(("| order", "| filter"))]
    assert len(lines) == 34
    assert bench._other_sections(out).startswith("\n## The list of analyses")


def test_it_needs_a_seeded_organisation(db) -> None:
    with pytest.raises(CommandError, match="seed_analyses"):
        call_command("bench_list", runs=1)
