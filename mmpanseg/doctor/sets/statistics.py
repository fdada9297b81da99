"""What the images of a source have in common, gathered while they are inspected."""
from collections import Counter
from typing import Any, NamedTuple

from mmpanseg.doctor.lists.listing import Listing
from mmpanseg.doctor.pixels.inspect_image import ImageStatistics

# names of files that are kept of each rare property
_NAMED = 5


class SeenImage(NamedTuple):
    """What is kept of an image."""

    image_id: int | str
    file_name: str
    digest: str
    perceptual_hash: int | None


class SourceStatistics:
    """Sums over the images of a source.

    Args:
        listing: lists of the source.

    Attributes:
        images: the readable images.
        channels: number of channels -> number of images.
        depths: bits of a sample -> number of images.
        examples: ('channels' or 'depths', value) -> names of the first files.
        sizes: (H, W) -> number of images.
        pixels: name of a class -> number of pixels.
        segments: name of a class -> number of segments, without crowds.
        images_with: name of a class -> number of images with a segment of it.
        crowded: images with more segments than queries, with their number; semantic data only,
            whose segments no list contains.
        void: sum of shares of void, and number of images with a map.
    """

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self.images: list[SeenImage] = []
        self.channels: Counter[int] = Counter()
        self.depths: Counter[int] = Counter()
        self.examples: dict[tuple[str, int], list[str]] = {}
        self.sizes: Counter[tuple[int, int]] = Counter()
        self.pixels: Counter[str] = Counter()
        self.segments: Counter[str] = Counter(listing.segments)
        self.images_with: Counter[str] = Counter(listing.images_with)
        self.crowded: list[tuple[SeenImage, int]] = []
        self.void: tuple[float, int] = (0., 0)

    def add(self, image: ImageStatistics) -> None:
        """Add an image."""
        source, names = self.listing.source, self.listing.names
        seen = SeenImage(image.image_id, image.file_name, image.digest, image.perceptual_hash)
        if image.digest:
            self.images.append(seen)
        if image.size is not None:
            self.sizes[image.size] += 1
            for key, counter, value in (('channels', self.channels, image.channels),
                                        ('depths', self.depths, image.depth)):
                counter[value] += 1
                examples = self.examples.setdefault((key, value), [])
                if len(examples) < _NAMED:
                    examples.append(image.file_name)
        for label, count in image.pixels.items():
            if label in names:
                self.pixels[names[label]] += count
        if image.void_share is not None:
            self.void = self.void[0] + image.void_share, self.void[1] + 1
        if source.kind != 'semantic':
            return
        present = {names[label]: count for label, count in image.segments.items()
                   if label in names and count}
        self.segments.update(present)
        self.images_with.update(list(present))
        queries = source.num_queries
        if queries is not None and image.num_segments > queries and not source.test_mode:
            self.crowded.append((seen, image.num_segments))

    def as_dict(self) -> dict[str, Any]:
        """Return a summary for reports."""
        sizes = sorted(self.sizes, key=lambda size: size[0] * size[1])
        source = self.listing.source
        return dict(
            split=source.split, kind=source.kind, ann_file=source.ann_file or None,
            img_prefix=source.img_prefix, seg_prefix=source.seg_prefix or None,
            images=self.listing.num_images, segments=sum(self.segments.values()),
            classes=len(self.listing.classes),
            smallest_size=list(sizes[0]) if sizes else None,
            largest_size=list(sizes[-1]) if sizes else None,
            channels={str(key): count for key, count in sorted(self.channels.items())},
            bits={str(key): count for key, count in sorted(self.depths.items())},
            void_share=round(self.void[0] / self.void[1], 4) if self.void[1] else None)
