"""The figures that Prometheus reads: one registry per process, filled where things happen.

Every process (web, worker, all) counts for itself and is scraped for itself; Prometheus adds them up. What is read from
the database (metrics_database.py) is the same everywhere: take its maximum, not its sum.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, which nobody asks for
REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)  # process_resident_memory_bytes, process_cpu_seconds_total, open files
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

FAST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SLOW = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0)
STAGE = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)

http_seconds = Histogram(
    "deepfake_http_request_seconds",
    "Time until the answer to a request begins, by the pattern of its address",
    ["method", "route", "status"],
    buckets=FAST,
    registry=REGISTRY,
)
http_in_progress = Gauge("deepfake_http_requests_in_progress", "Requests being answered", registry=REGISTRY)
jobs_finished = Counter(
    "deepfake_jobs_finished", "Analyses that came to an end here", ["kind", "status"], registry=REGISTRY
)
job_seconds = Histogram(
    "deepfake_job_seconds", "From the first claim of an analysis to its end", ["kind"], buckets=SLOW, registry=REGISTRY
)
job_wait_seconds = Histogram(
    "deepfake_job_wait_seconds", "From asking for an analysis to its claim", ["kind"], buckets=SLOW, registry=REGISTRY
)
stage_seconds = Histogram(
    "deepfake_stage_seconds",
    "Time of each stage and branch of completed analyses",
    ["stage", "kind"],
    buckets=STAGE,
    registry=REGISTRY,
)
verdicts = Counter("deepfake_verdicts", "Verdicts reached here", ["kind", "label"], registry=REGISTRY)
failures = Counter("deepfake_job_failures", "Analyses that failed here, by code", ["code"], registry=REGISTRY)
workers = Gauge("deepfake_workers", "Worker threads of this process", ["state"], registry=REGISTRY)
websockets = Gauge("deepfake_websocket_connections", "Open WebSockets of this process", registry=REGISTRY)
