"""What of a run's log is shown on the console, and what is only in the log file."""
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

# Beginnings of messages by mmengine that say nothing about this run's success. Environment, config
# and hooks fill several screens; the summary before the first step says what of them matters.
_FILE_ONLY = re.compile('|'.join((
    r'\s*-+\nSystem environment:',
    r'Config:\n',
    r'Hooks will be executed in the following order:',
    r'Distributed training is not used, all SyncBatchNorm',
    r'paramwise_options -- ',
    r'Checkpoints will be saved to ',
    r'Loads checkpoint by ',  # the line before or after it names the file, too
    r'Auto resumed from the latest checkpoint None',  # a warning of ours says it in full
    # deprecations inside of mmengine that no user can do anything about
    r'"FileClient" will be deprecated',
    r'"HardDiskBackend" is the alias of')))
_MISMATCH = 'The model and loaded state dict do not match exactly'


class ConsoleFilter(logging.Filter):
    """Keeps from a handler what belongs into the log file alone. Errors always pass.

    What is left of a pretrained backbone's file (its classifier) is no message for the console;
    parameters that such a file lacks are.
    """

    def __init__(self) -> None:
        super().__init__()
        self._mismatch_is_told = False

    @contextmanager
    def mismatch_told(self) -> Iterator[None]:
        """Within it, mmengine's own lists of keys that do not match are left out."""
        self._mismatch_is_told = True
        try:
            yield
        finally:
            self._mismatch_is_told = False

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is shown."""
        if record.levelno > logging.WARNING:
            return True
        text = record.getMessage()
        if text.lstrip().startswith(_MISMATCH):
            return not self._mismatch_is_told and (
                'missing keys' in text or 'size mismatch' in text)
        return _FILE_ONLY.match(text) is None


def split_messages(printed: str) -> list[str]:
    """Messages in what loading a checkpoint prints: where it lies, and keys that do not match."""
    where, mark, keys = printed.partition(_MISMATCH)
    return [text.strip() for text in (where, mark + keys) if text.strip()]
