"""Measures of drawn faces: known sizes are found again, and photos are told apart."""

from dataclasses import replace

import numpy as np
import pytest

from eval.drawn import attention_on_face, eye_area
from zoo.data._toonfaces.face import Face
from zoo.data._toonfaces.photo import render_photo
from zoo.data._toonfaces.toon import render_toon

FACES = [Face.draw(5, index) for index in range(6)]


@pytest.mark.parametrize("scale", [0.6, 0.8, 1.0, 1.2])
def test_the_scale_that_was_drawn_is_found(scale):
    for face in FACES:
        drawn = render_toon(replace(face, eye_size=face.eye_size * scale), 64)
        assert eye_area(drawn, face) == pytest.approx(scale**2, rel=0.13)


def test_photos_have_smaller_eyes_than_the_truth():
    areas = [eye_area(render_photo(face, 64), face) for face in FACES]
    assert np.median(areas) < 0.5


def test_attention_on_the_face_is_above_one_and_elsewhere_below():
    face = FACES[0]
    rows, columns = np.mgrid[0:64, 0:64] / 64
    near = np.exp(-((rows - face.pose.y) ** 2 + (columns - face.pose.x) ** 2) / 0.02)
    assert attention_on_face(near, face, 64) > 2
    assert attention_on_face(1 - near, face, 64) < 0.9
    assert attention_on_face(near + 5, face, 64) == pytest.approx(attention_on_face(near, face, 64))
