"""Whether pictures can be shown in a window."""
import matplotlib


class NoDisplayError(RuntimeError):
    """A window was asked for where there can be none."""


def require_display() -> None:
    """Refuse to show pictures where matplotlib can open no window: it would wait for ever.

    Raises:
        NoDisplayError: there is no display, or no toolkit for windows.
    """
    from matplotlib import pyplot
    backend = pyplot.get_backend()
    name = backend.lower().removeprefix('module://')
    # notebooks show pictures in the page
    if 'inline' in name or 'ipympl' in name or 'notebook' in name or 'nbagg' in name:
        return
    if name in {known.lower() for known in _interactive()}:
        return
    raise NoDisplayError(
        f'show: matplotlib has no window to show pictures in (backend {backend}); write them to '
        'files instead (--out, --show-dir, out_dir), or log in with a display (ssh -X) and a '
        'toolkit (e.g. pip install PyQt5)')


def _interactive() -> list[str]:
    try:
        from matplotlib.backends.registry import BackendFilter, backend_registry
        return backend_registry.list_builtin(BackendFilter.INTERACTIVE)
    except ImportError:  # matplotlib < 3.9
        return matplotlib.rcsetup.interactive_bk
