"""The cells of a report: a run's table and its labels tell the same, and so does a count of all voxels."""

import numpy as np
import pytest
from skimage.measure import regionprops_table

import bigcp3d
from bigcp3d.edge.image.image import open_labels
from bigcp3d.pure.boxes import Box
from bigcp3d.pure.cells.cell_summary import CellRows
from bigcp3d.schedule.running.events import LabelsReady
from bigcp3d.work.analyse.measure import plan_measurement
from bigcp3d.work.analyse.report_cells import cells_of_labels, cells_of_run
from bigcp3d.work.plan import id_ranges
from tests.schedule.conftest import random_model, read_labels, tissue_store, write_image  # noqa: F401


@pytest.mark.parametrize("more", [{}, {"diameter_um": 4.0}, {"roi": "3:30,8:51,5:44"}], ids=str)
def test_table_and_labels_and_all_voxels_agree(tissue_store, random_model, tmp_path, monkeypatch, more):  # noqa: F811
    monkeypatch.setattr(id_ranges, "CELLS", 100 if "diameter_um" in more else 20)  # several tables
    kept = {}

    def keep(event):
        if isinstance(event, LabelsReady):
            rows = CellRows.concatenate(list(cells_of_run(event.plan)))
            kept["rows"] = rows.take(np.argsort(rows.ids))
            kept["wanted"], kept["ranges"] = event.plan.scope.wanted, event.plan.id_ranges.number

    settings = {
        "model": random_model,
        "output": tmp_path / "o.zarr",
        "block": (17, 30, 26),
        "executor": "serial",
        "diameter_um": "as-is",
    }
    bigcp3d.segment(tissue_store, on_event=keep, min_volume=4, **{**settings, **more})
    rows, wanted = kept["rows"], kept["wanted"]
    assert kept["ranges"] > 1
    labels = open_labels(tmp_path / "o.zarr", "cells")
    (again,) = cells_of_labels(labels)
    whole = Box.of_shape(labels.levels[0].shape)
    dense = read_labels(tmp_path / "o.zarr", "cells")
    table = regionprops_table(dense, properties=("label", "area", "bbox"))
    assert len(rows) == len(table["label"]) > 10
    for found in (rows, again):
        assert np.array_equal(found.ids, table["label"])
        assert np.array_equal(found.volume, table["area"])
    compared = [(again, whole), *([] if "diameter_um" in more or "roi" in more else [(rows, wanted)])]
    for found, box in compared:
        for axis in range(3):
            assert np.array_equal(found.low[:, axis], table[f"bbox-{axis}"])
            assert np.array_equal(found.high[:, axis], table[f"bbox-{axis + 3}"])
        assert found.border.tolist() == [
            any(table[f"bbox-{a}"][i] == box.start[a] or table[f"bbox-{a + 3}"][i] == box.stop[a] for a in range(3))
            for i in range(len(found))
        ]
    if not more:
        assert np.allclose(rows.elongation, again.elongation)
        assert np.allclose(rows.fill, again.fill)


def test_cells_of_labels_do_not_need_the_image(tmp_path, write_labels, caplog):
    write_image(tmp_path / "image.zarr", np.zeros((8, 8, 8), np.uint16))
    path = write_labels(tmp_path / "image.zarr" / "labels" / "cells", np.ones((4, 4, 4), np.uint16))
    (rows,) = cells_of_labels(open_labels(path, ""))
    assert rows.volume.tolist() == [64]
    assert not caplog.messages
    plan_measurement(path, "")  # control: there, the other shape of the image is warned of
    assert "no intensities are measured" in caplog.text
