"""the prompts that adapters are trained with ──► one hash, which an adapter carries.

An adapter knows only the prompts that it was trained with, so it is refused in front of others.
"""

from __future__ import annotations

import hashlib

from v2l.prompts.sets import ENDS, EXAMPLES
from v2l.prompts.soft import ANSWER, CAPTION

TRAINED_PROMPTS = hashlib.sha256(
    repr((CAPTION, ANSWER, sorted(EXAMPLES.items()), sorted(ENDS.items()))).encode()
).hexdigest()[:16]
OLDER_PROMPTS = "without examples in words"  # of adapters that carry no hash
