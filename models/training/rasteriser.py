# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders of a head with exact motion vectors, by OpenGL without a window (EGL; Mesa does it on any CPU)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeAlias

import moderngl
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from .heads import HeadModel

Floats: TypeAlias = NDArray[np.floating]

VERTEX_SHADER = """
#version 330
uniform mat4 camera;
in vec3 position; in vec3 moved; in vec3 normal; in vec2 uv;
out vec3 world; out vec3 facing; out vec2 texel; out vec2 motion;
void main() {
    gl_Position = camera * vec4(position, 1);
    vec4 there = camera * vec4(moved, 1);
    motion = there.xy / there.w - gl_Position.xy / gl_Position.w;
    world = position; facing = normal; texel = uv;
}
"""

# Wrapped diffuse light (red reaches further round the terminator, as it does under skin) and a Blinn highlight.
FRAGMENT_SHADER = """
#version 330
uniform sampler2D albedo;
uniform vec3 eye; uniform vec3 key; uniform vec3 fill; uniform vec3 ambient; uniform float gloss;
in vec3 world; in vec3 facing; in vec2 texel; in vec2 motion;
layout(location = 0) out vec4 colour;
layout(location = 1) out vec4 vectors;
void main() {
    vec3 n = normalize(facing), v = normalize(eye - world);
    if (dot(n, v) < 0.0) n = -n;
    vec3 base = pow(texture(albedo, texel).rgb, vec3(2.2));
    vec3 wrap = vec3(0.45, 0.25, 0.2);
    vec3 lit = ambient;
    lit += 0.8 * clamp((dot(n, normalize(key)) + wrap) / (1.0 + wrap), 0.0, 1.0);
    lit += 0.35 * clamp((dot(n, normalize(fill)) + wrap) / (1.0 + wrap), 0.0, 1.0);
    float shine = gloss * pow(max(dot(n, normalize(normalize(key) + v)), 0.0), 24.0);
    colour = vec4(pow(clamp(base * lit + shine, 0.0, 1.0), vec3(1.0 / 2.2)), 1);
    vectors = vec4(motion, 1, gl_PrimitiveID + 1);
}
"""


@dataclass(frozen=True)
class Shot:
    """Camera and light. Angles in radians, light directions point to the lamp; background is sRGB in [0, 1]."""

    distance: float = 0.9
    field_of_view: float = 0.25
    key: tuple[float, float, float] = (-0.5, 0.6, 0.8)
    fill: tuple[float, float, float] = (0.8, 0.1, 0.6)
    ambient: float = 0.22
    gloss: float = 0.06
    background: tuple[float, float, float] = (0.35, 0.36, 0.38)

    def framed(self, height: float) -> Shot:
        """Return the same shot, its lens chosen so that the picture is `height` metres high at the face."""
        return replace(self, field_of_view=2 * math.atan(0.5 * height / self.distance))

    def camera(self) -> NDArray[np.float32]:
        """Return the matrix from head coordinates (metres) to clip space, [4, 4]."""
        scale, near, far = 1 / np.tan(self.field_of_view / 2), 0.1, 10.0
        projection = np.array(
            [
                [scale, 0, 0, 0],
                [0, scale, 0, 0],
                [0, 0, -(far + near) / (far - near), -2 * far * near / (far - near)],
                [0, 0, -1, 0],
            ]
        )
        view = np.eye(4)
        view[1, 3], view[2, 3] = 0.03, -self.distance  # the middle of the face is below the eyes
        return (projection @ view).astype(np.float32)


@dataclass(frozen=True)
class Render:
    """A picture and its motion.

    image: [S, S, 3] float32 sRGB in [0, 1]; flow: [S, S, 2] float32 px to the moved vertices; face: [S, S] bool,
    pixels that the head covers entirely.
    """

    image: NDArray[np.float32]
    flow: NDArray[np.float32]
    face: NDArray[np.bool_]


@dataclass(frozen=True)
class Surface:
    """Places of a picture that show the mesh.

    size: rows and columns of places in the picture. rows, columns: [P], where the mesh is seen. shares: [P, V], how
    much of each vertex there is in the point seen there (three of them, adding up to 1).
    """

    size: tuple[int, int]
    rows: NDArray[np.signedinteger]
    columns: NDArray[np.signedinteger]
    shares: csr_array

    def picture(self, values: Floats) -> NDArray[np.float32]:
        """Lay out values that places have, [P, C], as a picture, [C, rows, columns]; 0 where no mesh is seen."""
        picture = np.zeros((values.shape[1], *self.size), np.float32)
        picture[:, self.rows, self.columns] = values.T
        return picture


class Rasteriser:
    """Draws one head model at `size` x `size` px, `oversampling`^2 samples a pixel."""

    def __init__(self, model: HeadModel, size: int = 256, oversampling: int = 2) -> None:
        self.size, self.oversampling = size, oversampling
        self._gl = moderngl.create_standalone_context(backend="egl")
        self._program = self._gl.program(vertex_shader=VERTEX_SHADER, fragment_shader=FRAGMENT_SHADER)
        side = size * oversampling
        self._colour = self._gl.texture((side, side), 4)
        self._vectors = self._gl.texture((side, side), 4, dtype="f4")
        self._target = self._gl.framebuffer([self._colour, self._vectors], self._gl.depth_renderbuffer((side, side)))
        self._gl.enable(moderngl.DEPTH_TEST)
        triangles, corners = (
            np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]) for quads in (model.faces, model.uv_faces)
        )
        self._triangles = triangles
        self._count = len(model.base)
        # A vertex at a texture seam has several texture coordinates: draw one vertex for each pair.
        pairs, index = np.unique(np.stack([triangles.ravel(), corners.ravel()], 1), axis=0, return_inverse=True)
        self._vertex = pairs[:, 0]
        uv = np.ascontiguousarray(model.uv[pairs[:, 1]], np.float32)
        self._buffers = [self._gl.buffer(reserve=len(pairs) * 12) for _ in range(3)]
        self._mesh = self._gl.vertex_array(
            self._program,
            [
                *(
                    (buffer, "3f", name)
                    for buffer, name in zip(self._buffers, ("position", "moved", "normal"), strict=True)
                ),
                (self._gl.buffer(uv.tobytes()), "2f", "uv"),
            ],
            self._gl.buffer(index.astype(np.int32).tobytes()),
        )
        self._albedo: moderngl.Texture | None = None

    def dress(self, albedo: NDArray[np.uint8]) -> None:
        """Use a texture, [S, S, 3] sRGB, row 0 at the top."""
        if self._albedo is not None:
            self._albedo.release()
        rows = np.ascontiguousarray(albedo[::-1])
        self._albedo = self._gl.texture((rows.shape[1], rows.shape[0]), 3, rows.tobytes(), alignment=1)
        self._albedo.build_mipmaps()
        self._albedo.anisotropy = 8.0
        self._albedo.use(0)

    def render(self, vertices: Floats, moved: Floats, shot: Shot) -> Render:
        """Draw `vertices` [V, 3], with the motion that takes each visible point to its place in `moved`."""
        self._draw(vertices, moved, shot)
        vectors = self._pooled(np.frombuffer(self._vectors.read(), np.float32))
        # Clip space spans 2 over the picture and has y up.
        flow = vectors[..., :2] * np.array([0.5 * self.size, -0.5 * self.size], np.float32)
        return Render(self._picture(), flow, vectors[..., 2] > 0.999)

    def picture(self, vertices: Floats, shot: Shot) -> NDArray[np.float32]:
        """Draw `vertices` [V, 3] where their motion is of no interest: [S, S, 3] float32 sRGB in [0, 1]."""
        self._draw(vertices, vertices, shot)
        return self._picture()

    def surface(self, vertices: Floats, shot: Shot, points: int) -> Surface:
        """Return what of the mesh is seen at `points` x `points` places all over the picture."""
        self._draw(vertices, vertices, shot)
        side = self.size * self.oversampling
        step = side // points
        seen = np.frombuffer(self._vectors.read(), np.float32).reshape(side, side, 4)[::-1, :, 3]
        rows, columns = np.nonzero(seen[step // 2 :: step, step // 2 :: step])
        triangles = seen[step // 2 + step * rows, step // 2 + step * columns].astype(int) - 1
        corners = self._triangles[triangles]
        clip = np.concatenate([vertices, np.ones((len(vertices), 1))], 1) @ shot.camera().T
        flat = (clip[:, :2] / clip[:, 3:])[corners]
        place = np.stack([columns, -rows], 1) * (2 * step / side) + np.array([-1, 1]) * (1 - (step // 2 * 2 + 1) / side)
        edges = flat[:, :2] - flat[:, 2:]
        shares = np.linalg.solve(edges.mT, (place - flat[:, 2])[..., None])[..., 0]
        weights = np.concatenate([shares, 1 - shares.sum(1, keepdims=True)], 1) / clip[corners, 3]
        weights /= weights.sum(1, keepdims=True)
        starts = np.arange(0, 3 * len(corners) + 1, 3)
        shares = csr_array((weights.ravel(), corners.ravel(), starts), (len(corners), len(vertices)))
        return Surface((points, points), rows, columns, shares)

    def _draw(self, vertices: Floats, moved: Floats, shot: Shot) -> None:
        program = self._program
        for buffer, values in zip(self._buffers, (vertices, moved, self._normals(vertices)), strict=True):
            buffer.write(np.ascontiguousarray(values[self._vertex], np.float32).tobytes())
        program["camera"].write(np.ascontiguousarray(shot.camera().T).tobytes())
        program["eye"].value = (0.0, -0.03, shot.distance)
        program["key"].value, program["fill"].value = shot.key, shot.fill
        program["ambient"].value = (shot.ambient,) * 3
        program["gloss"].value = shot.gloss
        self._target.use()
        self._target.clear(*shot.background, 1.0)
        self._vectors.write(np.zeros((self._vectors.height, self._vectors.width, 4), np.float32).tobytes())
        self._mesh.render()

    def _picture(self) -> NDArray[np.float32]:
        return self._pooled(np.frombuffer(self._colour.read(), np.uint8))[..., :3] / np.float32(255)

    def _pooled(self, values: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
        """Average the samples of each pixel; OpenGL's rows run upwards."""
        step, side = self.oversampling, self.size * self.oversampling
        samples = values.reshape(side, side, 4)
        total = np.zeros((self.size, self.size, 4), np.float32)
        for row in range(step):
            for column in range(step):
                total += samples[row::step, column::step]
        return total[::-1] / np.float32(step * step)

    def _normals(self, vertices: Floats) -> Floats:
        corners = vertices[self._triangles]
        faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals = np.zeros((self._count, 3))
        for corner in range(3):
            for axis in range(3):
                normals[:, axis] += np.bincount(self._triangles[:, corner], faces[:, axis], self._count)
        return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
