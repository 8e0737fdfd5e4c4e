"""The drawings of docs/explanation and docs/tutorials, as SVG beside this file: python docs/pictures/drawings.py."""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Polygon, Rectangle

matplotlib.rcParams["svg.hashsalt"] = "bigcp3d"  # the same file each time
HERE = Path(__file__).resolve().parent
COLOURS = ("#e8590c", "#1971c2", "#2f9e44", "#9c36b5")
CENTRES = np.array([(14.0, 14.0), (34.0, 12.0), (24.0, 30.0), (42.0, 30.0)])
RADIUS = 10.5


def save(figure: Figure, name: str) -> None:
    figure.savefig(HERE / name, metadata={"Date": None}, transparent=False, facecolor="white")


def toy():
    """Four round cells on a plane that press against each other: their ids, and the way to each cell's centre."""
    y, x = np.mgrid[0:44, 0:56].astype(float)
    away = np.stack([np.hypot(y - cy, x - cx) for cx, cy in CENTRES])
    ids = np.where(away.min(axis=0) < RADIUS, away.argmin(axis=0) + 1, 0)
    home = CENTRES[np.maximum(ids, 1) - 1]
    flow = np.stack([home[..., 1] - y, home[..., 0] - x])
    return ids, flow / np.maximum(np.hypot(*flow), 1), y, x


def steps() -> None:
    """Image, what the network predicts, paths, cells."""
    ids, flow, y, x = toy()
    noise = np.random.default_rng(0)
    light = np.where(ids > 0, 0.9 - 0.03 * np.hypot(*flow), 0.1) + noise.normal(0, 0.12, ids.shape)
    figure = Figure(figsize=(10, 2.4), layout="constrained")
    axes = figure.subplots(1, 4)
    axes[0].imshow(light, cmap="gray", vmin=0, vmax=1.1)
    axes[0].set_title("1. the image")
    axes[1].imshow(ids > 0, cmap="gray", alpha=0.25)
    pick = (slice(2, None, 4), slice(2, None, 4))
    inside = ids[pick] > 0
    axes[1].quiver(
        x[pick][inside], y[pick][inside], flow[1][pick][inside], flow[0][pick][inside],
        angles="xy", scale=18, width=0.009, color="#1971c2",
    )  # fmt: skip
    axes[1].set_title("2. foreground and flow")
    axes[2].imshow(ids > 0, cmap="gray", alpha=0.25)
    for row, column in zip(*np.nonzero(ids), strict=True):
        if row % 5 == 2 and column % 5 == 2:
            cx, cy = CENTRES[ids[row, column] - 1]
            axes[2].plot([column, cx], [row, cy], color="#868e96", linewidth=0.8)
    axes[2].scatter(*CENTRES.T, color="#e03131", s=28, zorder=3)
    axes[2].set_title("3. paths and end points")
    picture = np.ones((*ids.shape, 3))
    for number, colour in enumerate(COLOURS, 1):
        picture[ids == number] = matplotlib.colors.to_rgb(colour)
    axes[3].imshow(picture)
    axes[3].set_title("4. cells")
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
    save(figure, "steps.svg")


def halo() -> None:
    """A block, what it reads, and paths that leave it."""
    figure = Figure(figsize=(5.6, 4.2), layout="constrained")
    axis = figure.subplots()
    for row in range(3):
        for column in range(3):
            mine = row == column == 1
            axis.add_patch(
                Rectangle(
                    (column * 10, row * 10), 10, 10, facecolor="#d0ebff" if mine else "white", edgecolor="#495057"
                )
            )
    axis.add_patch(Rectangle((4, 4), 22, 22, fill=False, edgecolor="#1971c2", linestyle="--", linewidth=1.8))
    centre = np.array((21.2, 15.5))
    axis.add_patch(Circle(centre, 3.9, facecolor="#ffe8cc", edgecolor="#e8590c", alpha=0.9))
    for start in ((18.2, 14.2), (19.0, 17.6), (24.2, 17.4), (23.4, 12.8), (18.6, 15.8)):
        axis.add_patch(FancyArrowPatch(start, centre, arrowstyle="->", mutation_scale=9, color="#495057"))
    axis.scatter(*centre, color="#e03131", s=40, zorder=4)
    axis.text(11, 11.6, "this block", fontsize=10, color="#1864ab")
    axis.text(4.5, 5.4, "what it reads", fontsize=10, color="#1971c2")
    axis.annotate("end point of the cell", centre, (15.5, 28.6), fontsize=10, arrowprops={"arrowstyle": "-"})
    axis.set_xlim(-0.5, 31)
    axis.set_ylim(30.5, -0.5)
    axis.set_aspect("equal")
    axis.set_axis_off()
    save(figure, "halo.svg")


def passes() -> None:
    """The passes in their order, and which run once."""
    names = (
        ("normalise", "brightness\nof the volume", True),
        ("predict, merge", "network:\nforeground, flow", False),
        ("track", "paths to\nend points", False),
        ("cluster", "groups of\nend points", False),
        ("resolve", "groups to cells,\nfilters, numbers", True),
        ("label, pyramid", "write the\nlabels", False),
    )
    figure = Figure(figsize=(10, 1.9), layout="constrained")
    axis = figure.subplots()
    for place, (name, text, once) in enumerate(names):
        left = place * 3.3
        axis.add_patch(
            FancyBboxPatch(
                (left, 0),
                2.5,
                1.6,
                boxstyle="round,pad=0.1",
                facecolor="#ffe8cc" if once else "#d0ebff",
                edgecolor="#495057",
            )
        )
        axis.text(left + 1.25, 1.25, name, ha="center", va="center", fontsize=10.5, weight="bold")
        axis.text(left + 1.25, 0.5, text, ha="center", va="center", fontsize=9.5)
        if place:
            axis.add_patch(
                FancyArrowPatch(
                    (left - 0.68, 0.8), (left - 0.12, 0.8), arrowstyle="-|>", mutation_scale=12, color="#495057"
                )
            )
    axis.text(0, -0.55, "blue: on each block, on many workers        orange: once for the whole volume", fontsize=9.5)
    axis.set_xlim(-0.2, 19.3)
    axis.set_ylim(-0.8, 1.8)
    axis.set_axis_off()
    save(figure, "passes.svg")


def learning() -> None:
    """Three learning curves: one that helped, one that did not, one that went on for too long."""
    step = np.linspace(0, 500, 21)
    curves = {
        "it helped": 0.85 - 0.4 * np.exp(-step / 120),
        "it did not help": 0.72 - 0.12 * (1 - np.exp(-step / 150)),
        "it went on for too long": 0.55 + 0.3 * (1 - np.exp(-step / 60)) - 0.25 * (step / 500) ** 2,
    }
    noise = np.random.default_rng(2).normal(0, 0.008, (len(curves), len(step)))
    figure = Figure(figsize=(9, 2.5), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    for axis, (title, score), wobble in zip(axes, curves.items(), noise, strict=True):
        score = np.concatenate([score[:1], (score + wobble)[1:]])
        best = int(score.argmax())
        axis.plot(step, score, marker=".", color="#1971c2")
        axis.axhline(score[0], color="#868e96", linestyle="--", linewidth=1)
        axis.scatter(step[best], score[best], color="#e03131", s=45, zorder=3)
        axis.set_title(title, fontsize=10.5)
        axis.set_xlabel("step")
        axis.set_ylim(0.3, 1)
    axes[0].set_ylabel("score, held-out part")
    axes[0].text(490, 0.39, "dashed: the model at the start", ha="right", fontsize=8.5, color="#495057")
    axes[0].text(490, 0.33, "red: the model that is kept", ha="right", fontsize=8.5, color="#e03131")
    save(figure, "learning.svg")


def planes() -> None:
    """How a network of planes sees a volume: in three directions."""
    figure = Figure(figsize=(9, 2.6), layout="constrained")
    axis = figure.subplots()
    right, back, up = np.array((2.0, 0.0)), np.array((0.8, 0.7)), np.array((0.0, 1.6))
    ways = (("xy planes", right, back, up), ("xz planes", right, up, back), ("yz planes", back, up, right))
    for place, (name, one, other, along) in enumerate(ways):
        corner = np.array((place * 3.7, 0.0))
        for share in (1.0, 0.66, 0.33, 0.0) if name == "xz planes" else (0.0, 0.33, 0.66, 1.0):
            start = corner + share * along
            corners = [start, start + one, start + one + other, start + other]
            axis.add_patch(Polygon(corners, facecolor="#d0ebff", edgecolor="#1971c2", alpha=0.8))
        axis.text(corner[0] + 1.4, -0.45, name, ha="center", fontsize=10.5)
        if place:
            axis.text(corner[0] - 0.45, 1.0, "+", ha="center", va="center", fontsize=18)
    axis.add_patch(FancyArrowPatch((10.5, 1.0), (11.7, 1.0), arrowstyle="-|>", mutation_scale=14, color="#495057"))
    axis.text(11.9, 1.0, "mean: foreground\nand flow in 3D", va="center", fontsize=10.5)
    axis.set_xlim(-0.2, 14.6)
    axis.set_ylim(-0.7, 2.5)
    axis.set_aspect("equal")
    axis.set_axis_off()
    save(figure, "planes.svg")


if __name__ == "__main__":
    steps()
    halo()
    passes()
    learning()
    planes()
