"""The design page shows what the product is drawn with, to any member."""

from __future__ import annotations

import re

from django.conf import settings
from django.urls import reverse

from reports.design_views import TOKENS

URL = "/design/"


def test_any_member_sees_every_component_twice(client, vera):
    client.force_login(vera)
    page = client.get(URL).content.decode()
    for part in ("Buttons", "Fields", "Verdict marks", "Scales", "Charts", "Toasts", "Dialogs", "Nothing there"):
        assert page.count(f"<h3>{part}</h3>") == 2
    identities = re.findall(r'\sid="([^"]+)"', page)
    assert len(identities) == len(set(identities))


def test_anonymous_and_wrong_method(client, vera):
    assert client.get(URL).headers["Location"].startswith(reverse("account_login"))
    client.force_login(vera)
    assert client.post(URL).status_code == 405


def test_the_colours_it_shows_are_those_there_are():
    tokens = (settings.BASE_DIR / "static/css/tokens.css").read_text()
    colours = set(re.findall(r"--([a-z0-9-]+): light-dark\(#", tokens))
    shown = {name for names in TOKENS.values() for name in names}
    assert shown <= colours
    assert colours - shown == {"line", "on-accent", "stage"}
