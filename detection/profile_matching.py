"""Which threshold profile an item gets by itself: the most exact rule that fits, an organisation's before the shipped.

A rule names what it asks for: codec or container, host of the address (with its subdomains), platform, kind. What it
leaves blank fits everything; a rule that names nothing fits nothing, its profile has to be asked for by name. The
profile `default_<kind>` stands behind all rules of its kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.db.models import Q

from accounts.models import Organization
from detection.models import Media, MediaKind, ThresholdProfile

# Hosts that stand for one platform. They serve re-encoded copies, which is what makes thresholds of their own worth it.
PLATFORMS: dict[str, tuple[str, ...]] = {
    "facebook": ("facebook.com", "fb.watch", "fbcdn.net"),
    "instagram": ("instagram.com", "cdninstagram.com"),
    "reddit": ("reddit.com", "redd.it"),
    "telegram": ("t.me", "telegram.org"),
    "tiktok": ("tiktok.com", "tiktokcdn.com"),
    "vimeo": ("vimeo.com", "vimeocdn.com"),
    "x": ("x.com", "twitter.com", "twimg.com"),
    "youtube": ("youtube.com", "youtu.be", "googlevideo.com"),
}


@dataclass(frozen=True)
class Item:
    kind: str
    host: str = ""
    codecs: frozenset[str] = frozenset()  # codecs and container


@dataclass(frozen=True)
class Rule:
    name: str
    fake_at: float
    real_below: float
    kind: str = ""
    platform: str = ""
    host: str = ""
    codec: str = ""
    is_own: bool = True

    @property
    def is_default(self) -> bool:
        return self.name in {f"default_{kind}" for kind in MediaKind.values}

    def fits(self, item: Item) -> bool:
        if self.is_default:
            return item.kind == self.name.removeprefix("default_")
        asked = (self.kind, self.platform, self.host, self.codec)
        return any(asked) and all(
            (
                not self.kind or self.kind == item.kind,
                not self.platform or any(_is_at(item.host, host) for host in PLATFORMS.get(self.platform, ())),
                not self.host or _is_at(item.host, self.host),
                not self.codec or self.codec in item.codecs,
            )
        )

    @property
    def exactness(self) -> tuple[bool, int, bool, bool, bool, bool]:
        """What decides between rules that fit, the weightiest first; a longer host is a more exact one."""
        host = len(self.host) if self.host else 0
        return (not self.is_default, host, bool(self.platform), bool(self.codec), bool(self.kind), self.is_own)


def choose(rules: Iterable[Rule], item: Item) -> Rule | None:
    """The rule that `item` falls under; of two equally exact ones the first by name."""
    fitting = [rule for rule in rules if rule.fits(item)]
    exact = max((rule.exactness for rule in fitting), default=None)
    return min((rule for rule in fitting if rule.exactness == exact), key=lambda rule: rule.name, default=None)


def _is_at(host: str, wanted: str) -> bool:
    return host == wanted or host.endswith(f".{wanted}")


# From rows ------------------------------------------------------------------------------------------------------------


def item_of(media: Media) -> Item:
    info = media.info or {}
    found = {str(info.get(name) or "").lower() for name in ("container", "video_codec", "audio_codec")}
    found.add(media.mime_type.rpartition("/")[2].removeprefix("x-"))
    return Item(media.kind, host_of(media.source_url), frozenset(found - {""}))


def host_of(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


def rule_of(profile: ThresholdProfile) -> Rule:
    return Rule(
        name=profile.name,
        fake_at=profile.fake_at,
        real_below=profile.real_below,
        kind=profile.kind,
        platform=profile.platform,
        host=profile.host,
        codec=profile.codec,
        is_own=profile.organization_id is not None,
    )


def profiles_for(organization: Organization) -> Sequence[ThresholdProfile]:
    """The profiles that hold for an organisation: its own, and the shipped ones that none of its own replaces."""
    rows = ThresholdProfile.objects.filter(Q(organization=organization) | Q(organization=None), retired_at=None)
    found: dict[str, ThresholdProfile] = {}
    for profile in rows.order_by("name"):
        if profile.name not in found or profile.organization_id is not None:
            found[profile.name] = profile
    return list(found.values())


def profile_for(media: Media) -> ThresholdProfile | None:
    """The profile that a new analysis of `media` gets when it does not ask for one by name."""
    profiles = {profile.name: profile for profile in profiles_for(media.organization)}
    chosen = choose([rule_of(profile) for profile in profiles.values()], item_of(media))
    return profiles[chosen.name] if chosen else None
