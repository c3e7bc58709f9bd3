"""`python -m video_assets.cli`."""

from video_assets.cli import app

if __name__ == "__main__":
    app()
