"""The ASGI application: pages and API over HTTP, live progress over WebSocket."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "deepfake.settings")

from django.core.asgi import get_asgi_application

_http = get_asgi_application()  # loads the apps, which the imports below need

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402

from detection import consumers  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": _http,
        "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(consumers.urlpatterns))),
    }
)
