"""A topic says its camera, and nothing else passes for one."""

from __future__ import annotations

import pytest

from video_assets.path_template import TemplateError
from video_assets.topic_template import camera_pattern


@pytest.mark.parametrize(
    ("template", "topic", "camera"),
    [
        ("/{camera}/{rest}", "/front/image_raw/compressed", "front"),
        ("/{camera}/{rest}", "/image_raw", None),
        ("/sensors/{any}/{camera}.raw", "/sensors/a/left.raw", "left"),
        ("/sensors/{any}/{camera}.raw", "/sensors/a/b/left.raw", None),
        ("/cam_{camera}/image", "/cam_x/image", "x"),
        ("/{camera}/{rest}", "/../image", None),
        ("/{camera}/{rest}", "/a\nb/image", None),
    ],
)
def test_a_topic_is_read_by_the_template(template: str, topic: str, camera: str | None) -> None:
    match = camera_pattern(template).fullmatch(topic)
    assert (match and match["camera"]) == camera


@pytest.mark.parametrize("template", ["/image", "/{camera}/{camera}", "/{vehicle}/{camera}", "/{camera", ""])
def test_a_template_without_one_camera_is_refused(template: str) -> None:
    with pytest.raises(TemplateError, match=r"Write for example /.camera./.rest."):
        camera_pattern(template)
