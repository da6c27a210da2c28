"""``python -m hwnas.devices.runner``."""

import sys

from .serve import main

sys.exit(main())
