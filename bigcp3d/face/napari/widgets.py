"""The panels of the plugin: buttons and sliders over `preview`, `review_queue` and `corrections` of this folder.

What reads or predicts for long runs beside the window, in a thread.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from magicgui.widgets import (
    CheckBox,
    ComboBox,
    Container,
    FloatSlider,
    FloatSpinBox,
    Label,
    PushButton,
    Slider,
    SpinBox,
)

from bigcp3d.edge.models.model_files import shipped_models
from bigcp3d.errors import BigCP3DError, InputError
from bigcp3d.face.commands.edit import describe_change
from bigcp3d.face.napari.corrections import Corrections
from bigcp3d.face.napari.layers import box_in_view, image_layer, labels_layer, time_in_view
from bigcp3d.face.napari.preview import FIELDS, Preview, Settings, paths_of
from bigcp3d.face.napari.review_queue import KEYS, UNDO, ReviewQueue, read_queue, training_command
from bigcp3d.face.view.napari_view import MARK
from bigcp3d.pure.boxes import Box, vec3
from bigcp3d.schedule.edits.review import Doubt

SIDES = (32, 128, 128)
"""Of a region at the start, in voxels (z, y, x)."""
MODELS = tuple(shipped_models())


class _Panel(Container[Any]):
    """A column of buttons with a line of words below them. Errors of bigcp3d are shown in that line."""

    def __init__(self, viewer: Any) -> None:
        super().__init__(labels=True)
        self.viewer = viewer
        self.said = Label(value="")
        self.said.native.setWordWrap(True)
        self.busy: Any = None  # the newest worker, until it ends

    def button(self, text: str, action: Callable[[], Any]) -> PushButton:
        button = PushButton(text=text)
        button.changed.connect(lambda _: self.guarded(action))
        return button

    def guarded(self, action: Callable[[], Any]) -> None:
        """Do something; tell the user why it cannot be done."""
        try:
            action()
        except BigCP3DError as error:
            self.said.value = str(error)

    def aside(self, work: Callable[[], Any], done: Callable[[Any], None], words: str) -> None:
        """Work in a thread, then show the result, unless newer work was begun meanwhile."""
        from napari.qt.threading import create_worker

        def finish(result: Any) -> None:
            if self.busy is worker:
                self.busy = None
                self.guarded(lambda: done(result))

        def fail(error: Exception) -> None:
            if self.busy is worker:
                self.busy = None
                self.said.value = str(error) if isinstance(error, BigCP3DError) else f"{type(error).__name__}: {error}"

        self.said.value = words
        self.busy = worker = create_worker(work, _connect={"returned": finish, "errored": fail}, _start_thread=False)
        worker.start()

    def sides(self) -> list[SpinBox]:
        """Boxes for the sides of a region."""
        return [
            SpinBox(value=side, min=1, max=2048, label=f"region {axis} (voxels)")
            for axis, side in zip("zyx", SIDES, strict=True)
        ]


class CorrectPanel(_Panel):
    """Opens the region in the middle of the view for napari's brush, and writes what was painted into the store."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.region_sides = self.sides()
        self.open: Corrections | None = None
        buttons = {
            "Open the region in view": self.open_region,
            "Write corrections": self.write,
            "Undo the last write": self.undo,
            "Close the region": self.close_region,
        }
        self.extend([*self.region_sides, *(self.button(text, act) for text, act in buttons.items()), self.said])

    def open_region(self) -> None:
        """Open the region; what was painted in another one and not written stops it."""
        if self.open is not None and self.open.unwritten:
            raise InputError("the open region has corrections that are not written; write them, or close the region")
        self.close_region()
        layer = labels_layer(self.viewer)
        box = box_in_view(self.viewer, layer, vec3(side.value for side in self.region_sides))
        self.open = Corrections(self.viewer, layer, box)
        self.said.value = f"paint, fill, pick and erase in the layer '{self.open.layer.name}', then write"

    def write(self) -> None:
        """Write what was painted."""
        changes, painted = self._opened().write()
        words = "; ".join(describe_change(change) for change in changes)
        cut = ", ".join(map(str, painted.cut))
        self.said.value = f"written: {words}" + (
            f". Cells that reach beyond the region were changed inside it only: {cut}" if cut else ""
        )

    def undo(self) -> None:
        """Take back the last write."""
        taken = self._opened().undo()
        self.said.value = "taken back: " + "; ".join(describe_change(change) for change in taken)

    def close_region(self) -> None:
        """Close the region; what was not written is gone."""
        if self.open is not None:
            self.open.close()
        self.open, self.said.value = None, ""

    def _opened(self) -> Corrections:
        if self.open is None:
            raise InputError("no region is open; open one first")
        return self.open


class ReviewPanel(_Panel):
    """Shows one doubtful cell after the other, and writes a decision about each."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.queue: ReviewQueue | None = None
        self.most = SpinBox(value=100, min=1, max=100_000, label="cells")
        self.sample = CheckBox(value=False, text="a random sample, for the error rate")
        decisions = [self.button(f"{word} ({key})", partial(self.decide, word)) for key, word in KEYS.items()]
        undo = self.button(f"undo ({UNDO})", self.undo)
        train = self.button("Copy the command that trains on this", self.copy_training)
        start = self.button("Start the review", self.start)
        self.extend([self.most, self.sample, start, *decisions, undo, train, self.said])

    def start(self) -> None:
        """Read the queue, and show its first entry."""
        layer = labels_layer(self.viewer)
        time = time_in_view(self.viewer, layer)
        read = partial(read_queue, layer.metadata[MARK], sample=self.sample.value, most=self.most.value, time=time)

        def show(queue: list[Doubt]) -> None:
            if self.queue is not None:
                self.queue.close()
            self.queue = ReviewQueue(self.viewer, layer, queue, time=time, tell=self._tell)

        self.aside(read, show, "reading all labels to find the doubtful cells")

    def decide(self, decision: str) -> None:
        """Write a decision, and go on."""
        self._started().decide(decision)

    def undo(self) -> None:
        """Take back the last decision."""
        self._started().undo()

    def copy_training(self) -> None:
        """Show the command for a terminal, as training takes hours, and put it on the clipboard."""
        from qtpy.QtWidgets import QApplication

        command = training_command(str(labels_layer(self.viewer).metadata[MARK]))
        QApplication.clipboard().setText(command)
        self.said.value = f"copied, for a terminal: {command}"

    def _started(self) -> ReviewQueue:
        if self.queue is None:
            raise InputError("start the review first")
        return self.queue

    def _tell(self, words: str) -> None:
        self.said.value = words


class PreviewPanel(_Panel):
    """Sliders for the settings of a segmentation, tried on the region in the middle of the view."""

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.preview: Preview | None = None
        self.box: Box | None = None
        self.region_sides = self.sides()
        self.diameter = FloatSpinBox(value=10.0, min=0.1, max=1000.0, step=0.5, label="diameter (µm)")
        self.foreground = FloatSlider(value=0.5, min=0.0, max=1.0, step=0.01, tracking=False, label="threshold")
        self.closing = Slider(value=4, min=0, max=21, tracking=False, label="closing (voxels)")
        self.model = ComboBox(choices=MODELS, label="model")
        controls = (self.diameter, self.foreground, self.closing, self.model)
        self.sliders: dict[str, Any] = dict(zip(FIELDS, controls, strict=True))
        self.moved = set[str]()
        for name, slider in self.sliders.items():
            slider.tooltip = "until you move it, the preview uses the setting of the labels that are shown"
            slider.changed.connect(lambda _, name=name: self._move(name))
        begin = self.button("Preview the region in view", self.begin)
        self.extend([*self.region_sides, begin, *controls, self.said])

    def begin(self) -> None:
        """Choose the region, and take the settings of the labels that are shown, if bigcp3d made them."""
        image, labels = image_layer(self.viewer), None
        with suppress(InputError):
            labels = labels_layer(self.viewer, image)
        if self.preview is None or self.preview.paths != paths_of(image, labels):
            self.preview = Preview(image, labels)
            self._show_settings(self.preview.start)
        self.box = box_in_view(self.viewer, image, vec3(side.value for side in self.region_sides))
        self.find()

    def settings(self) -> Settings:
        """What the sliders say; those that were not moved, what the labels were made with."""
        start = vars(self.preview.start if self.preview is not None else Settings())
        return Settings(**{name: self.sliders[name].value if name in self.moved else start[name] for name in FIELDS})

    def find(self) -> None:
        """Find the cells of the region in a thread, and show them; nothing before a region was chosen."""
        if self.preview is None or self.box is None:
            return
        preview, box, time = self.preview, self.box, self.preview.time(self.viewer)

        def show(labels: Any) -> None:
            preview.show(self.viewer, box, labels)
            self.said.value = f"{len(set(labels.ravel().tolist()) - {0})} cells in {box.start} to {box.stop}"

        self.aside(partial(preview.find, box, self.settings(), time=time), show, "looking for cells")

    def _move(self, name: str) -> None:
        self.moved.add(name)
        self.guarded(self.find)

    def _show_settings(self, start: Settings) -> None:
        if isinstance(start.model, str):
            self.model.choices = tuple(dict.fromkeys([start.model, *MODELS]))
        for name, value in vars(start).items():
            if name not in self.moved and value is not None and not (name == "diameter_um" and isinstance(value, str)):
                with self.sliders[name].changed.blocked():
                    self.sliders[name].value = value
