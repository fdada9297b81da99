from mmpanseg.visualization.attention_figures import draw_attention
from mmpanseg.visualization.color import generate_palette, instance_shade
from mmpanseg.visualization.markings import Marks
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

__all__ = ['DrawnSegment', 'Marks', 'NoDisplayError', 'PanopticVisualizer', 'draw_attention',
           'draw_panoptic', 'generate_palette', 'instance_shade', 'require_display',
           'segment_colors', 'side_by_side']
