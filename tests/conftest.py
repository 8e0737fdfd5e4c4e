"""What all tests share: the real volumes beside the checkout, where there are any."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real volumes, ``../shared/data``; tests that need it are skipped where it is not there."""
    if not SHARED.is_dir():
        pytest.skip(f"no real volumes at {SHARED}")
    return SHARED
