from .attention import draw_attention
from .color import generate_palette, instance_shade
from .display import NoDisplayError, require_display
from .panoptic import Segment, draw_panoptic, segment_colors, side_by_side
from .panoptic_visualizer import PanopticVisualizer

__all__ = ['NoDisplayError', 'PanopticVisualizer', 'Segment', 'draw_attention', 'draw_panoptic',
           'generate_palette', 'instance_shade', 'require_display', 'segment_colors',
           'side_by_side']
