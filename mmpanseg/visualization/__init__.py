from mmpanseg.visualization.attention_figures import draw_attention
from mmpanseg.visualization.color import generate_palette, instance_shade
from mmpanseg.visualization.fonts import FontError
from mmpanseg.visualization.markings import Marks
from mmpanseg.visualization.palettes import (
    PALETTE_NAMES,
    PaletteError,
    colorblind_palette,
    find_palette,
)
from mmpanseg.visualization.panoptic import (
    DrawnSegment,
    draw_panoptic,
    segment_colors,
    side_by_side,
)
from mmpanseg.visualization.panoptic_visualizer import (
    NoDisplayError,
    PanopticVisualizer,
    require_display,
)
from mmpanseg.visualization.styles import STYLES

__all__ = ['PALETTE_NAMES', 'STYLES', 'DrawnSegment', 'FontError', 'Marks', 'NoDisplayError',
           'PaletteError', 'PanopticVisualizer', 'colorblind_palette', 'draw_attention',
           'draw_panoptic', 'find_palette', 'generate_palette', 'instance_shade',
           'require_display', 'segment_colors', 'side_by_side']
