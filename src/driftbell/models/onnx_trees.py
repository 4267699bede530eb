"""Trees in ONNX with thresholds and sums in double precision, bit for bit as in scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbell.models.onnx_model import GraphSignature

FORESTS = {"RandomForestClassifier", "ExtraTreesClassifier"}
TREES = {"DecisionTreeClassifier", "ExtraTreeClassifier"}
REGRESSORS = {"RandomForestRegressor", "ExtraTreesRegressor", "DecisionTreeRegressor", "ExtraTreeRegressor"}
UNLINKED = ("squared_error", "absolute_error", "quantile")
"""Losses of histogram boosting with sums that are the predictions."""
OPSETS = {"": 15, "ai.onnx.ml": 3}
"""The first opset that supports trees in double precision, and one of the same age."""


def is_forest(estimator: Any) -> bool:
    """Return whether `forest_graph` supports it: scikit-learn's own trees, and averages of them."""
    kind = type(estimator)
    return kind.__module__.startswith("sklearn.") and kind.__name__ in FORESTS | TREES


def forest_graph(estimator: Any) -> tuple[Any, GraphSignature]:
    """Build a graph that predicts exactly as a tree or forest does.

    The converters of skl2onnx round thresholds and class shares to single precision and divide each share by
    the number of trees; classes are often tied in fully grown forests, and then another one wins.
    Here scores are sums of shares, in double precision until the last step, and divided at the end.

    Args:
        estimator: an estimator that `is_forest` accepts.
    """
    from onnx import helper

    members = getattr(estimator, "estimators_", None)
    trees = [e.tree_ for e in members] if members is not None else [estimator.tree_]
    node = helper.make_node(
        "TreeEnsembleClassifier",
        ["features"],
        ["label", "scores"],
        domain="ai.onnx.ml",
        post_transform="NONE",
        classlabels_int64s=list(range(len(estimator.classes_))),
        **_nodes(trees),
        **_leaves(trees),
    )
    model = _model(node, int(estimator.n_features_in_), len(estimator.classes_))
    return model, GraphSignature((("features", "float64"),), single=True, scores="scores", divisor=len(trees))


def is_regression_forest(estimator: Any) -> bool:
    """Return whether `regression_graph` supports it: trees of scikit-learn, averages and sums of them."""
    kind = type(estimator)
    if not kind.__module__.startswith("sklearn."):
        return False
    if kind.__name__ == "GradientBoostingRegressor":
        return hasattr(estimator.init_, "constant_")
    return kind.__name__ in REGRESSORS and estimator.n_outputs_ == 1


def regression_graph(estimator: Any) -> tuple[Any, GraphSignature]:
    """Build a graph that predicts a number as trees do, with thresholds and sums in double precision.

    The operator's output is in single precision, so numbers differ by up to 6e-8 of their size.

    Args:
        estimator: an estimator that `is_regression_forest` accepts.
    """
    from onnx import helper, numpy_helper

    boosted = type(estimator).__name__ == "GradientBoostingRegressor"
    members = list(getattr(estimator, "estimators_", [estimator]))
    trees = [(member[0] if boosted else member).tree_ for member in members]
    factor = estimator.learning_rate if boosted else 1 / len(trees)
    base = float(np.ravel(estimator.init_.constant_)[0]) if boosted else 0.0
    ends = [np.flatnonzero(tree.children_left < 0) for tree in trees]
    values = np.concatenate([t.value[end, 0, 0] for end, t in zip(ends, trees, strict=True)])
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["features"],
        ["scores"],
        domain="ai.onnx.ml",
        n_targets=1,
        base_values_as_tensor=numpy_helper.from_array(np.array([base])),
        **_nodes(trees),
        target_treeids=np.repeat(np.arange(len(trees)), [len(end) for end in ends]).tolist(),
        target_nodeids=np.concatenate(ends).tolist(),
        target_ids=[0] * len(values),
        target_weights_as_tensor=numpy_helper.from_array(factor * values),
    )
    model = _model(node, int(estimator.n_features_in_), 0)
    return model, GraphSignature((("features", "float64"),), single=True, scores="scores")


def _nodes(trees: Sequence[Any]) -> dict[str, Any]:
    from onnx import numpy_helper

    leaf = [tree.children_left < 0 for tree in trees]

    def inner(name: str) -> NDArray[Any]:
        return np.concatenate(
            [np.where(end, 0, getattr(t, name)) for end, t in zip(leaf, trees, strict=True)]
        )

    counts = [tree.node_count for tree in trees]
    return {
        "nodes_treeids": np.repeat(np.arange(len(trees)), counts).tolist(),
        "nodes_nodeids": np.concatenate([np.arange(n) for n in counts]).tolist(),
        "nodes_featureids": inner("feature").tolist(),
        "nodes_values_as_tensor": numpy_helper.from_array(inner("threshold").astype(np.float64)),
        "nodes_modes": np.where(np.concatenate(leaf), "LEAF", "BRANCH_LEQ").tolist(),
        "nodes_truenodeids": inner("children_left").tolist(),
        "nodes_falsenodeids": inner("children_right").tolist(),
        "nodes_missing_value_tracks_true": inner("missing_go_to_left").astype(np.int64).tolist(),
    }


def _leaves(trees: Sequence[Any]) -> dict[str, Any]:
    from onnx import numpy_helper

    ends = [np.flatnonzero(tree.children_left < 0) for tree in trees]
    shares = np.concatenate([t.value[end, 0, :] for end, t in zip(ends, trees, strict=True)])
    rows, width = shares.shape
    return {
        "class_treeids": np.repeat(np.arange(len(trees)), [len(e) * width for e in ends]).tolist(),
        "class_nodeids": np.repeat(np.concatenate(ends), width).tolist(),
        "class_ids": np.tile(np.arange(width), rows).tolist(),
        "class_weights_as_tensor": numpy_helper.from_array(shares.astype(np.float64).ravel()),
    }


def is_histogram(estimator: Any) -> bool:
    """Return whether `histogram_graph` supports it: scikit-learn's histogram boosting, without categories."""
    kind = type(estimator)
    if not kind.__module__.startswith("sklearn.") or getattr(estimator, "is_categorical_", "") is not None:
        return False
    is_regression = kind.__name__ == "HistGradientBoostingRegressor" and estimator.loss in UNLINKED
    return is_regression or kind.__name__ == "HistGradientBoostingClassifier"


def histogram_graph(estimator: Any) -> tuple[Any, GraphSignature]:
    """Build a graph of histogram-boosted trees in double precision, which skl2onnx cannot.

    Args:
        estimator: an estimator that `is_histogram` accepts.
    """
    from onnx import helper, numpy_helper

    rounds = estimator._predictors
    trees = [predictor.nodes for predictors in rounds for predictor in predictors]
    targets = [target for predictors in rounds for target in range(len(predictors))]
    counts = [len(nodes) for nodes in trees]
    nodes = np.concatenate(trees)
    tree = np.repeat(np.arange(len(trees)), counts)
    position = np.concatenate([np.arange(n) for n in counts])
    leaf = nodes["is_leaf"].astype(bool)
    base = np.asarray(estimator._baseline_prediction, dtype=np.float64).ravel()
    classes = len(getattr(estimator, "classes_", ()))
    leaves = "class" if classes else "target"
    ends = {
        f"{leaves}_treeids": tree[leaf].tolist(),
        f"{leaves}_nodeids": position[leaf].tolist(),
        f"{leaves}_ids": np.repeat(targets, counts)[leaf].tolist(),
        f"{leaves}_weights_as_tensor": numpy_helper.from_array(nodes["value"][leaf].astype(np.float64)),
    }
    of_classes = {
        "post_transform": "SOFTMAX" if len(base) > 1 else "LOGISTIC",
        "classlabels_int64s": list(range(classes)),
    }
    node = helper.make_node(
        "TreeEnsembleClassifier" if classes else "TreeEnsembleRegressor",
        ["features"],
        ["label", "scores"] if classes else ["scores"],
        domain="ai.onnx.ml",
        base_values_as_tensor=numpy_helper.from_array(base),
        **(of_classes if classes else {"n_targets": 1}),
        nodes_treeids=tree.tolist(),
        nodes_nodeids=position.tolist(),
        nodes_featureids=np.where(leaf, 0, nodes["feature_idx"]).tolist(),
        nodes_values_as_tensor=numpy_helper.from_array(np.where(leaf, 0.0, nodes["num_threshold"])),
        nodes_modes=np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        nodes_truenodeids=np.where(leaf, 0, nodes["left"]).tolist(),
        nodes_falsenodeids=np.where(leaf, 0, nodes["right"]).tolist(),
        nodes_missing_value_tracks_true=np.where(leaf, 0, nodes["missing_go_to_left"]).tolist(),
        **ends,
    )
    model = _model(node, int(estimator.n_features_in_), classes)
    return model, GraphSignature((("features", "float64"),), scores="scores")


def _model(node: Any, features: int, classes: int) -> Any:
    """Return a graph of one node with so many classes; none for a regression."""
    from onnx import TensorProto, helper

    outputs = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, classes or 1])]
    if classes:
        outputs.insert(0, helper.make_tensor_value_info("label", TensorProto.INT64, [None]))
    graph = helper.make_graph(
        [node],
        "trees",
        [helper.make_tensor_value_info("features", TensorProto.DOUBLE, [None, features])],
        outputs,
    )
    opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def set_double_thresholds(model: Any, booster: Any) -> bool:
    """Write the double-precision thresholds of a LightGBM booster into its converted graph.

    The converter writes single precision, so a value close to a threshold would take the wrong branch.

    Args:
        model: the graph, changed in place.
        booster: the booster that it was converted from.

    Returns:
        False if the graph does not match the booster; the graph is unchanged then.
    """
    from onnx import TensorProto, helper, numpy_helper

    node = next((n for n in model.graph.node if n.op_type == "TreeEnsembleClassifier"), None)
    if node is None:
        return False
    values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    exact = _exact_thresholds(values, [tree["tree_structure"] for tree in booster.dump_model()["tree_info"]])
    if exact is None:
        return False
    doubles = {
        "nodes_values_as_tensor": exact,
        "class_weights_as_tensor": np.array(values["class_weights"], dtype=np.float64),
    }
    single = {"nodes_values", "class_weights", "nodes_hitrates"}
    other_attributes = [a for a in node.attribute if a.name not in single]
    del node.attribute[:]
    node.attribute.extend(other_attributes)
    node.attribute.extend(
        helper.make_attribute(name, numpy_helper.from_array(array)) for name, array in doubles.items()
    )
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    for opset in model.opset_import:
        opset.version = max(opset.version, OPSETS[opset.domain])
    return True


def _exact_thresholds(
    values: Mapping[str, Any], booster_trees: Sequence[Mapping[str, Any]]
) -> NDArray[np.float64] | None:
    """Return the booster's thresholds in the graph's order of nodes; None if the trees do not match."""
    names = ("nodes_treeids", "nodes_nodeids")
    position = {node: i for i, node in enumerate(zip(*(values[name] for name in names), strict=True))}
    exact = np.array(values["nodes_values"], dtype=np.float64)
    for tree, root in enumerate(booster_trees):
        pending = [(root, 0)]
        while pending:
            split, node = pending.pop()
            if "split_feature" not in split:
                continue
            i = position.get((tree, node))
            if i is None or split["decision_type"] != "<=" or "base_values" in values:
                return None
            threshold = float(split["threshold"])
            if values["nodes_featureids"][i] != split["split_feature"] or exact[i] != np.float32(threshold):
                return None
            exact[i] = threshold
            pending += [
                (split["left_child"], values["nodes_truenodeids"][i]),
                (split["right_child"], values["nodes_falsenodeids"][i]),
            ]
    return exact


def tree_thresholds(model: Any) -> dict[int, NDArray[np.float64]]:
    """Return the split thresholds of a graph's trees by feature; trees behind other steps are left out."""
    from onnx import helper, numpy_helper

    table = model.graph.input[0].name
    thresholds: dict[int, list[float]] = {}
    for node in model.graph.node:
        if not node.op_type.startswith("TreeEnsemble") or node.input[0] != table:
            continue
        values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if "nodes_values_as_tensor" in values:
            values_by_node = numpy_helper.to_array(values["nodes_values_as_tensor"]).tolist()
        else:
            values_by_node = list(values.get("nodes_values", ()))
        features, modes = values.get("nodes_featureids", ()), values.get("nodes_modes", ())
        for feature, mode, threshold in zip(features, modes, values_by_node, strict=True):
            if mode != b"LEAF":
                thresholds.setdefault(feature, []).append(threshold)
    return {feature: np.unique(np.array(cuts, dtype=np.float64)) for feature, cuts in thresholds.items()}
