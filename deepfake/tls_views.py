"""How other devices come to trust this server's own certificate authority."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from accounts.permissions import public
from deepfake import tls


@require_GET
@public("a device that does not trust the server yet cannot sign in")
def trust(request: HttpRequest) -> HttpResponse:
    found = tls.served_ca()
    if found is None:
        raise Http404
    return render(request, "trust.html", {"fingerprint": tls.fingerprint(found), "names": tls.served_names()})


@require_GET
@public("a certificate of an authority is made to be handed round")
def local_ca(request: HttpRequest) -> HttpResponse:
    """The authority's certificate; public by its nature. Only while this process serves with it."""
    found = tls.served_ca()
    if found is None:
        raise Http404
    answer = HttpResponse(found, content_type="application/x-x509-ca-cert")
    answer["Content-Disposition"] = 'attachment; filename="deepfake-detection-ca.crt"'
    return answer
