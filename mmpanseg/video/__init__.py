"""Segments over the frames of a video: matching, and overlay videos."""
from mmpanseg.video.matching import SegmentTracker, Track
from mmpanseg.video.writing import VideoWriter, video_file

__all__ = ['SegmentTracker', 'Track', 'VideoWriter', 'video_file']
