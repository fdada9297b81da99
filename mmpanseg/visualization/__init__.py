from .attention import draw_attention
from .color import generate_palette, instance_shade
from .panoptic import Segment, draw_panoptic, segment_colors, side_by_side
from .panoptic_visualizer import PanopticVisualizer

__all__ = ['PanopticVisualizer', 'Segment', 'draw_attention', 'draw_panoptic', 'generate_palette',
           'instance_shade', 'segment_colors', 'side_by_side']
