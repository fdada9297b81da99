"""JSON without NaN and Infinity, which Python writes and most other readers refuse."""
import json
from typing import Any


def dumps(content: Any, **options: Any) -> str:
    """Write results or annotations as JSON.

    Args:
        content: numbers, texts and containers of them.
        options: of :func:`json.dumps`.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    return json.dumps(content, allow_nan=False, **options)


def dumps_with_null(content: Any, **options: Any) -> str:
    """Write a log as JSON, with null in place of NaN and infinity.

    Args:
        content: see :func:`dumps`.
        options: of :func:`json.dumps`.
    """
    try:
        return dumps(content, **options)
    except ValueError:
        finite = json.loads(json.dumps(content, **options), parse_constant=lambda constant: None)
        options.pop('default', None)
        return dumps(finite, **options)


def refuse_constant(constant: str) -> None:
    """Refuse NaN and infinity, as ``parse_constant`` of :func:`json.loads`.

    Raises:
        ValueError: always; the text contains the constant.
    """
    raise ValueError(f'it contains {constant}')
