"""Structure of PNG files: damage is found without decoding them."""
import struct
import zlib
from typing import NamedTuple

SIGNATURE = b'\x89PNG\r\n\x1a\n'
GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6


class PngFacts(NamedTuple):
    """Facts of a PNG file.

    Attributes:
        bits: bits of a sample; 0 if they are unknown.
        color: color type; -1 if it is unknown.
        transparent: it has an alpha channel or transparent colors.
        damage: what is wrong with the file; '' if nothing is.
    """

    bits: int = 0
    color: int = -1
    transparent: bool = False
    damage: str = ''


def read_png(data: bytes) -> PngFacts:
    """Read the chunks of a PNG file and compare their checksums.

    Args:
        data: content of the file, which begins with ``SIGNATURE``.
    """
    facts, place = PngFacts(), len(SIGNATURE)
    while True:
        if place + 12 > len(data):
            return facts._replace(damage=f'it ends after {len(data)} bytes, in the middle')
        length, = struct.unpack_from('>I', data, place)
        kind, end = data[place + 4:place + 8], place + 12 + length
        if end > len(data):
            return facts._replace(damage=f'it ends after {len(data)} bytes, in the middle')
        checksum, = struct.unpack_from('>I', data, end - 4)
        if zlib.crc32(memoryview(data)[place + 4:end - 4]) != checksum:
            return facts._replace(damage=f'the checksum of its part at byte {place} is wrong')
        if facts.color < 0:
            if kind != b'IHDR' or length != 13:
                return facts._replace(damage='it has no header')
            bits, color = data[place + 16], data[place + 17]
            facts = PngFacts(bits, color, color in (GRAY_ALPHA, RGBA))
        elif kind == b'tRNS':
            facts = facts._replace(transparent=True)
        elif kind == b'IEND':
            return facts
        place = end
