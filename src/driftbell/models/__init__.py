"""Models: the default one, classifiers of scikit-learn and its like, and their form in ONNX.

Nothing is imported here: a server that serves a kept graph needs few of these modules.
"""
