"""The one error that this client raises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class DeepfakeError(Exception):
    """A refusal by the API, a failed analysis, a network that does not answer, or a webhook that is not genuine.

    code: stable, for programs (docs/api.md lists the server's; the client's own are `network`, `timeout`,
    `answer_unreadable`, `settings_invalid`, `file_not_found`, `source_unusable` and those that begin with `webhook_`).
    status: of the HTTP answer, None when there was none or the answer was no refusal. retry_after_s: seconds that the
    server asked to wait, None when it did not ask.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        status: int | None = None,
        request_id: str = "",
        fields: Mapping[str, Sequence[str]] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status
        self.request_id = request_id
        self.fields = {name: list(sentences) for name, sentences in (fields or {}).items()}
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        told = ", ".join(part for part in (self.code, str(self.status or ""), self.request_id) if part)
        return f"{self.message} ({told})"
