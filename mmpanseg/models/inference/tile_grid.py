"""Overlapping tiles of an image, and which pixels each of them decides."""
import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """A tile along one axis: it sees start .. stop and decides core_start .. core_stop."""

    start: int
    stop: int
    core_start: int
    core_stop: int

    @property
    def seen(self) -> slice:
        """What the tile sees, in the image."""
        return slice(self.start, self.stop)

    @property
    def core(self) -> slice:
        """What the tile decides, in the image."""
        return slice(self.core_start, self.core_stop)

    @property
    def own_core(self) -> slice:
        """What the tile decides, counted from its own start."""
        return slice(self.core_start - self.start, self.core_stop - self.start)

    def shared(self, other: 'Span') -> tuple[slice, slice]:
        """What both see, counted from each one's own start; empty slices if nothing."""
        start = max(self.start, other.start)
        stop = max(start, min(self.stop, other.stop))
        return (slice(start - self.start, stop - self.start),
                slice(start - other.start, stop - other.start))


@dataclass(frozen=True)
class Tile:
    """A tile of an image: its rows and its columns."""

    rows: Span
    columns: Span

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    @property
    def seen(self) -> tuple[slice, slice]:
        """Rows and columns that the tile sees, in the image."""
        return self.rows.seen, self.columns.seen

    @property
    def core(self) -> tuple[slice, slice]:
        """Rows and columns that the tile decides, in the image."""
        return self.rows.core, self.columns.core

    @property
    def own_core(self) -> tuple[slice, slice]:
        """The same, counted from the tile's corner."""
        return self.rows.own_core, self.columns.own_core

    def shared(self, other: 'Tile') -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
        """Where two tiles overlap, counted from each one's corner; None if nowhere."""
        (rows, other_rows), (columns, other_columns) = (
            self.rows.shared(other.rows), self.columns.shared(other.columns))
        if rows.start == rows.stop or columns.start == columns.stop:
            return None
        return (rows, columns), (other_rows, other_columns)


def tile_grid(size: tuple[int, int], tile: tuple[int, int], overlap: int) -> list[Tile]:
    """Tiles that cover an image, row by row.

    All have the same size (less only where the image is smaller) and lie evenly, so that the last
    ones end at the image's border and neighbors share ``overlap`` pixels or more. Each pixel is
    decided by the tile whose center is nearest, along each axis on its own.

    Args:
        size: (H, W) of the image.
        tile: (h, w) of a tile.
        overlap: pixels that neighbors share at least, less than ``tile``.
    """
    rows, columns = (spans(*lengths, overlap) for lengths in zip(size, tile))
    return [Tile(row, column) for row in rows for column in columns]


def spans(length: int, tile: int, overlap: int) -> list[Span]:
    """Tiles along one axis of ``length`` pixels."""
    if length <= tile:
        return [Span(0, length, 0, length)]
    gaps = math.ceil((length - tile) / (tile - overlap))
    starts = [k * (length - tile) // gaps for k in range(gaps + 1)]
    # halfway between the centers of neighbors
    borders = [0, *((a + b + tile) // 2 for a, b in zip(starts, starts[1:])), length]
    return [Span(start, start + tile, *core)
            for start, core in zip(starts, zip(borders, borders[1:]))]
