"""``python -m napari_i2ipr.cli`` is the command ``i2ipr``."""

from napari_i2ipr.cli import main

if __name__ == "__main__":
    main()
