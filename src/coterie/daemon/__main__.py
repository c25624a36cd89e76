"""``python -m coterie.daemon``."""

import sys

from coterie.daemon.main import main

sys.exit(main())
