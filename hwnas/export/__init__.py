"""Deployable models: ONNX files, proof that they compute what was trained, and the packages that carry them."""
