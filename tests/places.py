"""Where things stand in the repository."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TINY_CONFIG = ROOT / "tests" / "tiny_config.py"
