"""The tables of docs/performance.md: ``netc bench`` of this checkout, with the same arguments.

python benchmarks/peers.py --threads 1,2 --peer-python peers/bin/python --json run.json
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from netc.cli import main

sys.exit(main(["bench", *sys.argv[1:]]))
