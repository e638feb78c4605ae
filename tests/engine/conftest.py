"""What the engine's tests share: OpenBLAS goes under MLX before any of them imports it."""

import menny.engine  # noqa: F401 - the order matters, the name doesn't
