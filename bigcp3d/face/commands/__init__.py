"""The commands, one per module; `demo`, `simulate`, `info` and `models` are in `bigcp3d.face.cli`."""
