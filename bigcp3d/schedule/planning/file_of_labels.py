"""Where a file about labels goes if the user does not say: a report, or a table."""

from __future__ import annotations

from pathlib import Path

from bigcp3d.edge.stores.beside_store import beside_store
from bigcp3d.edge.stores.places import is_address, place
from bigcp3d.work.run.work_dir import home_of_runs


def file_of_labels(where: str, ending: str) -> Path:
    """The file about a labels group: `beside_store`, or for an address or an archive a file in the current folder.

    The name of such a file is made of the whole address, as that of the work directory is, so that two stores of the
    same name do not share a file.
    """
    if not is_address(where):
        return beside_store(where, ending)
    spot = place(where)
    home = home_of_runs(spot.parent.parent)
    return home.with_name(f"{home.name.removesuffix('.bigcp3d')}.{spot.name}{ending}")
