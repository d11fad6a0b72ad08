"""What the API reads of a body."""

from __future__ import annotations

import json
from typing import Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser


def can_be_kept(text: str) -> bool:
    """Whether a database takes it: no NUL, and no half of a character, which JSON can write and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in text


class ShallowJSONParser(JSONParser):
    """JSON that is nested too deeply, or holds what is no text, is the caller's mistake, not ours."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        try:
            data = super().parse(stream, media_type, parser_context)
            # Names and values alike: they are digested, echoed and kept.
            json.dumps(data, ensure_ascii=False).encode()
            return data
        except UnicodeEncodeError:
            raise ParseError("JSON parse error - half of a character (a lone surrogate) is no text.") from None
        except RecursionError:
            raise ParseError("JSON parse error - nested too deeply.") from None
