"""`python -m alula`: the same as the `alula` command."""

import sys

from alula.cli.main import main

sys.exit(main())
