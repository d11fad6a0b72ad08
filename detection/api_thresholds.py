"""The integrator API: threshold profiles, to read. They are changed on pages, by two people."""

from __future__ import annotations

from typing import Any

from django.http import Http404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from detection import api_shapes as shapes
from detection import profile_matching as matching
from detection.api import ApiView, Choice, StrictSerializer, find_media
from detection.models import MediaKind, ThresholdProfile

PROFILE_ID = OpenApiParameter(
    "profile", str, OpenApiParameter.PATH, description="`thr_…`, or the name of the profile that holds."
)


class ThresholdsView(ApiView):
    class Query(StrictSerializer):
        kind = Choice(choices=MediaKind.choices, required=False)

    @extend_schema(
        operation_id="list_thresholds",
        summary="List the threshold profiles that hold",
        description="Your own, and the shipped ones that none of yours replaces, by name. All in one page.",
        parameters=[Query],
        responses={
            200: shapes.page(shapes.ProfileListShape, shapes.PROFILE_EXAMPLE),
            **shapes.problems(400),
        },
    )
    def get(self, request: Request) -> Response:
        asked = self.asked(self.Query)
        profiles = matching.profiles_for(self.organization)
        if "kind" in asked:
            fits = ("", asked["kind"])
            profiles = [row for row in profiles if row.kind in fits and _default_kind(row) in fits]
        return Response({"next": None, "previous": None, "results": [payload(row) for row in profiles]})


class ThresholdView(ApiView):
    @extend_schema(
        operation_id="get_threshold",
        summary="Read one threshold profile",
        description="By its id, or by the name that `threshold_profile` of an analysis takes.",
        parameters=[PROFILE_ID],
        responses={
            200: shapes.answer(shapes.ProfileShape, "The profile.", shapes.PROFILE_EXAMPLE),
            **shapes.problems(404),
        },
    )
    def get(self, request: Request, profile: str) -> Response:
        for row in matching.profiles_for(self.organization):
            if profile in (row.name, f"thr_{row.pk.hex}", str(row.pk)):
                return Response(payload(row))
        raise Http404


class ThresholdMatchView(ApiView):
    class Query(StrictSerializer):
        media_id = serializers.CharField(required=False, max_length=60, help_text="Of an item that is here.")
        kind = Choice(choices=MediaKind.choices, required=False)
        host = serializers.CharField(required=False, max_length=253, help_text="Where it was fetched from.")
        codec = serializers.CharField(required=False, max_length=30, help_text="Codec or container.")

        def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
            if "media_id" in attrs and len(attrs) > 1:
                raise serializers.ValidationError("Give media_id alone, or kind, host and codec without it.")
            if "media_id" not in attrs and "kind" not in attrs:
                raise serializers.ValidationError({"kind": ["Give the kind of media, or media_id."]})
            return attrs

    @extend_schema(
        operation_id="match_thresholds",
        summary="Which threshold profile an item would get",
        description="When it does not ask for one by name: of an item that is here (`media_id` alone), or of one "
        "that is described by `kind`, `host` and `codec`. The most exact rule wins, your own before a shipped one.",
        parameters=[Query],
        responses={
            200: shapes.answer(
                shapes.ProfileMatchShape,
                "The profile, and all others that fit.",
                {"chosen": shapes.PROFILE_EXAMPLE, "fitting": [shapes.PROFILE_EXAMPLE]},
            ),
            **shapes.problems(400, 404),
        },
    )
    def get(self, request: Request) -> Response:
        asked = self.asked(self.Query)
        if "media_id" in asked:
            item = matching.item_of(find_media(self, asked["media_id"]))
        else:
            codecs = frozenset({asked["codec"].lower()} if "codec" in asked else ())
            item = matching.Item(asked["kind"], asked.get("host", "").lower(), codecs)
        profiles = {row.name: row for row in matching.profiles_for(self.organization)}
        rules = [rule for rule in map(matching.rule_of, profiles.values()) if rule.fits(item)]
        rules.sort(key=lambda rule: rule.name)
        rules.sort(key=lambda rule: rule.exactness, reverse=True)
        chosen = matching.choose(rules, item)
        body = {
            "chosen": payload(profiles[chosen.name]) if chosen else None,
            "fitting": [payload(profiles[rule.name]) for rule in rules],
        }
        return Response(body)


def _default_kind(profile: ThresholdProfile) -> str:
    kind = profile.name.removeprefix("default_")
    return kind if kind in MediaKind.values else ""


def payload(profile: ThresholdProfile) -> dict[str, Any]:
    return {
        "profile_id": f"thr_{profile.pk.hex}",
        "name": profile.name,
        "shipped": profile.organization_id is None,
        "domain": profile.domain or None,
        "kind": profile.kind or None,
        "platform": profile.platform or None,
        "host": profile.host or None,
        "codec": profile.codec or None,
        "fake": profile.fake_at,
        "real": profile.real_below,
        "version": profile.version,
    }
