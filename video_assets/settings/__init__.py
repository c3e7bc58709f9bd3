"""The environment as one typed, documented `Settings` object, in groups; nothing else reads `os.environ`.

Variables come from the environment, then from a file `.env` in the working directory.
"""

from video_assets.environment import SettingsError
from video_assets.settings.load import load_settings, resolved_environment
from video_assets.settings.places import is_missing_folder
from video_assets.settings.settings import Settings, variable

__all__ = [
    "Settings",
    "SettingsError",
    "is_missing_folder",
    "load_settings",
    "resolved_environment",
    "variable",
]
