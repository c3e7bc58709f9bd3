"""What can be wrong between this program and a fleet's batch API."""

from __future__ import annotations

from video_assets.errors import VideoAssetsError


class FleetError(VideoAssetsError):
    """A request that could not be served, though another may be."""


class UnexpectedReply(FleetError):
    """A reply of no form that the API is known to have."""


class NotReady(FleetError):
    """A bag that the service did not get ready in time."""


class BrokenDownload(FleetError):
    """A bag that did not arrive whole."""


class FleetStopped(VideoAssetsError):
    """Nothing more can be asked: the token is missing, expired or refused. What is done stays done; a rerun goes on."""
