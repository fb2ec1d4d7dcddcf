"""The napari face: reader, samples and widgets; the manifest names what napari calls."""
