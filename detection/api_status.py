"""What runs here: the deployed models, and whether the house is well."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from deepfake import storage
from deepfake.errors import DomainError
from detection import api_shapes as shapes
from detection import cards, model_metrics
from detection.api import ApiView
from detection.engine import fusion, pipeline, registry, runtime, sandbox
from detection.engine.errors import EngineError, WeightsInvalid
from detection.engine.types import to_json
from detection.models import Job
from detection.querysets import STALE_AFTER

logger = logging.getLogger(__name__)

# A due job that nobody has claimed for this long, while nobody runs anything, says that no worker listens.
UNHEARD_FOR = timedelta(seconds=60)


class ModelsView(ApiView):
    @extend_schema(
        operation_id="list_models",
        summary="List the deployed models, their digests and measured quality",
        description="Each check with its version, the digests of its files, licence, and the figures of its card.",
        responses={
            200: shapes.answer(shapes.ModelsShape, "All models.", shapes.MODELS_EXAMPLE),
            **shapes.problems(400, 503),
        },
    )
    def get(self, request: Request) -> Response:
        try:
            version, thresholds = pipeline.model_version(), fusion.load().thresholds
        except WeightsInvalid as error:
            raise DomainError(error.message, error.code, 503) from error
        body = {
            "model_version": version,
            "thresholds": to_json(thresholds),
            "models": [_model(spec) for spec in registry.BRANCHES.values()],
        }
        return Response(body)


def _model(spec: registry.BranchSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "channel": spec.channel,
        "version": spec.version,
        "sha256": {path: sha256 for files in spec.files.values() for path, sha256 in files},
        "licence": spec.licence,
        "source": spec.source,
        "fused": spec.fused,
        "fused_in": [kind for kind in spec.fused_in if spec.fused],
        "metrics": {"figures": cards.figures(spec.name), "measured": model_metrics.figures(spec.name)},
    }


class LiveView(APIView):
    authentication_classes = ()
    permission_classes = (AllowAny,)
    public_because = "probes and monitors ask it without a key; it names no customer and no file"

    @extend_schema(
        operation_id="health_live",
        summary="Whether the process answers",
        description="Looks at nothing else: for whatever starts processes anew that hang.",
        auth=[],
        responses={200: shapes.answer(shapes.HealthShape, "It does.", {"status": "ok"})},
    )
    def get(self, request: Request) -> Response:
        return Response({"status": "ok"})


class ReadyView(APIView):
    authentication_classes = ()
    permission_classes = (AllowAny,)
    public_because = "probes and monitors ask it without a key; it names no customer and no file"

    def checks(self) -> dict[str, Callable[[], str]]:
        return CHECKS

    @extend_schema(
        operation_id="health_ready",
        summary="Whether it can take work: database, storage, weights, workers",
        description="For a load balancer: 503 says that requests should go elsewhere for now.",
        auth=[],
        responses={
            200: shapes.answer(shapes.HealthShape, "It can.", shapes.HEALTH_EXAMPLE),
            503: shapes.answer(shapes.HealthShape, "It cannot.", {**shapes.HEALTH_EXAMPLE, "status": "unavailable"}),
        },
    )
    def get(self, request: Request) -> Response:
        checks = {name: _checked(name, check) for name, check in self.checks().items()}
        well = all(check["ok"] for check in checks.values())
        return Response({"status": "ok" if well else "unavailable", "checks": checks}, status=200 if well else 503)


class HealthView(ReadyView):
    def checks(self) -> dict[str, Callable[[], str]]:
        return {**CHECKS, "decoder": _decoder}

    @extend_schema(
        operation_id="health",
        summary="Liveness and readiness in one",
        description="As `/v1/health/ready`, and what protects this machine from the files that it opens (`decoder`).",
        auth=[],
        responses={
            200: shapes.answer(shapes.HealthShape, "All is well.", shapes.HEALTH_EXAMPLE),
            503: shapes.answer(
                shapes.HealthShape, "Something is not.", {**shapes.HEALTH_EXAMPLE, "status": "unavailable"}
            ),
        },
    )
    def get(self, request: Request) -> Response:
        return super().get(request)


class Unwell(Exception):
    """A check failed; the sentence is for the operator."""


def _checked(name: str, check: Callable[[], str]) -> dict[str, Any]:
    try:
        return {"ok": True, "detail": check()}
    except Unwell as error:
        return {"ok": False, "detail": str(error)}
    except (DatabaseError, OSError, DomainError) as error:
        # Anyone may ask for health: what exactly went wrong is for the log.
        logger.warning("The check of the %s failed: %s", name, error)
        return {"ok": False, "detail": "does not answer"}


def _database() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return "answers"


def _storage() -> str:
    storage.ensure_master_key()
    probe = settings.SPOOL_DIR / "health"
    probe.write_bytes(b"ok")
    return "can be written to"


@lru_cache(maxsize=1)
def _weights_are_whole() -> bool:
    """Digests of all weight files, once per process: reading them takes longer than a probe may."""
    for spec in registry.BRANCHES.values():
        for path, sha256 in spec.files.get("openvino", ()):
            runtime.check_file(registry.WEIGHTS_DIR / path, sha256)
    fusion.load()
    return True


def _weights() -> str:
    try:
        _weights_are_whole()
    except WeightsInvalid as error:
        raise Unwell("A weight file is missing or altered.") from error
    return "all present and unaltered"


def _workers() -> str:
    now = timezone.now()
    if Job.objects.filter(status="running", heartbeat_at__gte=now - STALE_AFTER).exists():
        return "at work"
    if Job.objects.queued_and_due().filter(next_attempt_at__lt=now - UNHEARD_FOR).exists():
        raise Unwell("Jobs wait and no worker takes them.")
    return "nothing waits"


def _decoder() -> str:
    """What untrusted files are opened behind. Little protection is no failure: the operator chose the machine."""
    try:
        return str(sandbox.protections())
    except EngineError as error:
        raise Unwell("The decoder does not start.") from error


CHECKS: dict[str, Callable[[], str]] = {
    "database": _database,
    "storage": _storage,
    "weights": _weights,
    "workers": _workers,
}
