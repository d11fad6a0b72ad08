"""Metadata in groups: what an analyst asks first."""

from __future__ import annotations

import pytest

from detection.metadata import metadata_of


@pytest.mark.parametrize(
    ("name", "value", "group", "shown"),
    [
        ("Make", "ExampleCam", "device", "Make"),
        ("LensModel", "50 mm", "device", "Lens model"),
        ("Software", "Studio 3", "program", "Software"),
        ("encoder", "Lavf62.12.102", "program", "Encoder"),
        ("video encoder", "x264", "program", "Video encoder"),
        ("video handler_name", "VideoHandler", "rest", "Video handler name"),
        ("DateTimeOriginal", "2026:11:01 10:00:00", "dates", "Date time original"),
        ("creation_time", "2026-11-01T10:00:00Z", "dates", "Creation time"),
        ("ExposureTime", "0.01", "rest", "Exposure time"),
        ("OffsetTimeOriginal", "+01:00", "rest", "Offset time original"),
        ("GPSLatitude", "52.5", "place", "GPS latitude"),
        ("com.apple.quicktime.location.ISO6709", "+52.5+013.4/", "place", "com.apple.quicktime.location.ISO6709"),
    ],
)
def test_each_tag_has_its_group(name, value, group, shown):
    found = metadata_of({name: value})
    value = "1 Nov 2026, 10:00:00" if value == "2026:11:01 10:00:00" else value  # as people write it
    assert getattr(found, group) == ((shown, value),), found
    assert found.count == 1


def test_nothing_is_lost():
    tags = {f"tag {number}": "x" for number in range(40)} | {"Make": "A", "GPSAltitude": "3"}
    assert metadata_of(tags).count == 42
    assert [title for title, _ in metadata_of(tags).groups] == ["Device"]
