"""What a row of `clips` says of a video, from its index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from video_assets.video.truncation import is_truncated

if TYPE_CHECKING:
    from video_assets.video.index import VideoIndex


def stream_columns(index: VideoIndex) -> dict[str, Any]:
    """What the clip's own video stream is."""
    return {
        "container": index.container,
        "video_streams": index.video_streams,
        "codec": index.codec,
        "width": index.width,
        "height": index.height,
        "rotation": index.rotation,
        "frame_count": index.frame_count,
        "average_rate": float(index.average_rate) if index.average_rate else None,
        "interlaced": index.interlaced,
    }


def source_columns(index: VideoIndex) -> dict[str, Any]:
    """Where the source's clock stands at its first presented frame."""
    order = index.presented
    return {
        "source_pts": int(index.pts[order[0]]) if len(order) else None,
        "source_time_base_num": index.time_base.numerator,
        "source_time_base_den": index.time_base.denominator,
        "source_pts_s": 0.0,
    }


def truth_columns(source: VideoIndex, *, last: bool) -> dict[str, Any]:
    """What the source declares against what it holds. Of several clips the last one tells what is missing."""
    missing = source.missing_frames
    return {
        "declared_duration_s": source.declared_duration_s,
        "truncated": last and is_truncated(source),
        "missing_frames": missing if last or missing is None else 0,
    }
