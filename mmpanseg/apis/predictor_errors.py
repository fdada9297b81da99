"""Errors of the predictor, and inputs that failed."""
from dataclasses import dataclass

from mmpanseg.engine.command_line import UsageError


class PredictorError(UsageError, ValueError):
    """A mistake in a call of a predictor, or a lack of memory; its text is one line."""


@dataclass(frozen=True)
class FailedInput:
    """An input that could not be read; it takes the place of its result.

    Attributes:
        source: path, URL or description of the input.
        error: why; its text is one line that names the input.
    """
    source: str
    error: Exception
