"""The ASGI application: pages and API over HTTP, live progress over WebSocket."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "deepfake.settings")

from django.core.asgi import get_asgi_application

_http = get_asgi_application()  # loads the apps, which the imports below need

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402

from accounts.sessions import SignedInSockets  # noqa: E402
from deepfake import metrics  # noqa: E402
from deepfake.sockets import OwnPagesOnly  # noqa: E402
from detection import consumers  # noqa: E402


async def counted_sockets(scope, receive, send):  # type: ignore[no-untyped-def]
    with metrics.websockets.track_inprogress():
        await _sockets(scope, receive, send)


_sockets = AllowedHostsOriginValidator(
    OwnPagesOnly(AuthMiddlewareStack(SignedInSockets(URLRouter(consumers.urlpatterns))))
)
application = ProtocolTypeRouter(
    {
        "http": _http,
        "websocket": counted_sockets,
    }
)
