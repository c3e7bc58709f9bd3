"""The fleet's batch API of the demo, which can do more than the demo asks of it."""

from video_assets.demo.fleet_api import SECRET_QUERY, TOKEN, Asked, FleetApi, serve_fleet_api

__all__ = ["SECRET_QUERY", "TOKEN", "Asked", "FleetApi", "serve_fleet_api"]
