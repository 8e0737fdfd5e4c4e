"""Exp3: the 3D U-Net with heat flows, trained here and applied to volumes that it never saw.

python examples/paper/exp3.py --data ../shared/data --split membrane --out results
"""

from experiment import main as run
from unet3d import make_experiment


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    run(make_experiment("exp3", "heat"), __doc__ or "", argv)


if __name__ == "__main__":
    main()
