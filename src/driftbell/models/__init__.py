"""Models: the default Iris model, scikit-learn compatible classifiers, and their ONNX graphs.

Nothing is imported here: a server with a cached graph needs few of these modules.
"""
