"""Client of the deepfake detection API. It needs nothing but Python's standard library."""

from deepfake_client.client import Client
from deepfake_client.client_async import AsyncClient
from deepfake_client.errors import DeepfakeError
from deepfake_client.shapes import Batch, BatchItem, Branch, Delivery, Event, Feedback, Job, Media, Result, Webhook
from deepfake_client.webhooks import verify_webhook

__all__ = [
    "AsyncClient",
    "Batch",
    "BatchItem",
    "Branch",
    "Client",
    "DeepfakeError",
    "Delivery",
    "Event",
    "Feedback",
    "Job",
    "Media",
    "Result",
    "Webhook",
    "verify_webhook",
]
__version__ = "0.1.0"
