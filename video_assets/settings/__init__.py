"""The environment as one typed, documented `Settings` object, in groups; nothing else reads `os.environ`.

Variables come from the environment, then from a file `.env` in the working directory.
"""

from video_assets.settings.environment import environment, load_settings, resolved_environment
from video_assets.settings.faults import SettingsError
from video_assets.settings.places import is_missing_folder
from video_assets.settings.settings import Settings, variable

__all__ = [
    "Settings",
    "SettingsError",
    "environment",
    "is_missing_folder",
    "load_settings",
    "resolved_environment",
    "variable",
]
