"""Voxels are written into arrays of any byte order."""

import numpy as np
import pytest
import zarr

from bigcp3d.edge.stores.zarr_write import write_whole
from bigcp3d.pure.boxes import Box


def test_an_array_of_the_other_byte_order_takes_the_same_numbers(tmp_path):
    array = zarr.create_array(tmp_path / "a", shape=(2, 3, 4), dtype=">u4", chunks=(2, 3, 4), zarr_format=2)
    values = np.arange(24, dtype=np.uint32).reshape(2, 3, 4)
    for each in (values, values.astype(">u4")):
        write_whole(tmp_path / "a", 2, "zyx", Box.of_shape((2, 3, 4)), each)
        assert np.array_equal(array[...], values)
    with pytest.raises(ValueError, match="int64"):
        write_whole(tmp_path / "a", 2, "zyx", Box.of_shape((2, 3, 4)), values.astype(np.int64))
