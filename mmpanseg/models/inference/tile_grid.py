"""Geometry of overlapping tiles: the window of each, and the core of it that it decides."""
import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """A tile along one axis, in pixels of the image.

    Args:
        start: first pixel of the window that the network gets.
        stop: last pixel of the window + 1.
        core_start: first pixel whose result this tile decides.
        core_stop: last such pixel + 1.
    """

    start: int
    stop: int
    core_start: int
    core_stop: int

    @property
    def window(self) -> slice:
        """The window, in the image."""
        return slice(self.start, self.stop)

    @property
    def core(self) -> slice:
        """The core, in the image."""
        return slice(self.core_start, self.core_stop)

    @property
    def core_in_window(self) -> slice:
        """The core, relative to the start of the window."""
        return slice(self.core_start - self.start, self.core_stop - self.start)

    def overlap(self, other: 'Span') -> tuple[slice, slice]:
        """Overlap of two windows, relative to the start of each; empty slices without any."""
        start = max(self.start, other.start)
        stop = max(start, min(self.stop, other.stop))
        return (slice(start - self.start, stop - self.start),
                slice(start - other.start, stop - other.start))


# rows and columns of a rectangle, usable as an index
Area = tuple[slice, slice]


@dataclass(frozen=True)
class Tile:
    """A tile of an image.

    Args:
        rows: the tile along the vertical axis.
        columns: the tile along the horizontal axis.
    """

    rows: Span
    columns: Span

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the window."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    @property
    def window(self) -> Area:
        """The window that the network gets, in the image."""
        return self.rows.window, self.columns.window

    @property
    def core(self) -> Area:
        """The pixels whose result this tile decides, in the image."""
        return self.rows.core, self.columns.core

    @property
    def core_in_window(self) -> Area:
        """The same pixels, relative to the window's corner."""
        return self.rows.core_in_window, self.columns.core_in_window

    def overlap(self, other: 'Tile') -> tuple[Area, Area] | None:
        """Overlap of two windows, relative to the corner of each; None without any."""
        (rows, other_rows), (columns, other_columns) = (
            self.rows.overlap(other.rows), self.columns.overlap(other.columns))
        if rows.start == rows.stop or columns.start == columns.stop:
            return None
        return (rows, columns), (other_rows, other_columns)


def tile_grid(size: tuple[int, int], tile: tuple[int, int], overlap: int) -> list[Tile]:
    """Cover an image with as few tiles as possible.

    All tiles have the same size (smaller only along an axis where the image is smaller) and are
    spread evenly: the last one ends at the border of the image, and neighbors share ``overlap``
    pixels or more. Each pixel belongs to the core of the tile with the nearest center, along each
    axis separately.

    Args:
        size: (H, W) of the image in pixels.
        tile: (height, width) of a tile in pixels.
        overlap: least number of pixels that neighbors share, less than both sides of ``tile``.

    Returns:
        the tiles row by row.
    """
    rows, columns = (spans(*lengths, overlap) for lengths in zip(size, tile))
    return [Tile(row, column) for row in rows for column in columns]


def spans(length: int, tile: int, overlap: int) -> list[Span]:
    """Tiles along one axis of ``length`` pixels; see :func:`tile_grid`."""
    if length <= tile:
        return [Span(0, length, 0, length)]
    gaps = math.ceil((length - tile) / (tile - overlap))
    starts = [k * (length - tile) // gaps for k in range(gaps + 1)]
    # halfway between the centers of neighbors
    borders = [0, *((a + b + tile) // 2 for a, b in zip(starts, starts[1:])), length]
    return [Span(start, start + tile, *core)
            for start, core in zip(starts, zip(borders, borders[1:]))]
