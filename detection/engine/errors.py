"""What can go wrong in the engine; every error carries a code and a sentence for the person who sent the file."""


class EngineError(Exception):
    """An analysis that cannot go on. `retryable` says whether a second try may help."""

    code = "engine_error"
    retryable = False

    def __init__(self, message: str, *, code: str | None = None, retryable: bool | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
        if retryable is not None:
            self.retryable = retryable


class MediaUnreadable(EngineError):
    """The file is broken, empty, of an unsupported type or past a limit."""

    code = "media_unreadable"


class DecoderCrashed(EngineError):
    """The decoding child process died or was killed at one of its limits."""

    code = "decoder_crashed"


class DeadlineExceeded(EngineError):
    """The analysis ran past its deadline."""

    code = "deadline_exceeded"


class Cancelled(EngineError):
    """The caller asked to stop; raised from `on_step`."""

    code = "cancelled"


class WeightsInvalid(EngineError):
    """A weight file is missing, altered or does not fit its layout; the message names the file."""

    code = "weights_invalid"


class OutOfMemory(EngineError):
    """The analysis needs more memory than it may use."""

    code = "out_of_memory"
    retryable = True
