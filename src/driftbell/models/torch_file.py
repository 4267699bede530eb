"""Exported programs of PyTorch, from the `.pt2` files of `torch.export.save`."""

from __future__ import annotations

import io
import logging
import re
import zipfile
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftbell.errors import ModelError, UntrustedModelError
from driftbell.models.class_choice import number_names
from driftbell.models.file_content import DAMAGED, content_advice
from driftbell.models.foreign_code import load_with
from driftbell.models.loaded import LoadedModel
from driftbell.models.missing_library import import_library
from driftbell.models.torch_program import ProgramInput, TorchProgram
from driftbell.models.torch_scores import Scale, outputs_of, scale_text, score_scale
from driftbell.records import Outputs, Task

EXPORT = (
    "export the model, with an example of two or more rows: torch.export.save(torch.export.export("
    'model.eval(), (example,), dynamic_shapes=({0: torch.export.Dim("batch")},)), "model.pt2")'
)
PROGRAM = re.compile(r"(?:^|/)(?:models/model\.json|serialized_exported_program\.json)$")
"""Name of the graph in an archive; the second one is that of PyTorch before 2.8."""

SAVED_VERSION = re.compile(rb'"torch_version":\s*"([^"]{1,40})"')
DTYPES = ("float32", "float64", "int64", "int32", "bool")
MAX_EXAMPLES, MAX_SINGLE_EXAMPLES = 64, 8
"""Rows of the example inputs that are predicted together, and one at a time."""

RTOL, ATOL = 1e-3, 1e-5
"""Accepted difference between two answers to the same row."""


def load_torch(
    path: Path, content: bytes, classes: Sequence[str], *, pinned: bool, digest: str
) -> LoadedModel:
    """Load an exported program.

    Its inputs are one tensor of shape (n, number of features), or one a feature. Its output has a score for
    each class, or one number a row: a regression, or with two class names, the score of the second class.

    `torch.export.load` unpickles parts of the file, without its own restriction to tensors, and loads
    compiled libraries in it. So the hash must be pinned.

    Args:
        path: the file.
        content: its bytes.
        classes: the user's class names.
        pinned: whether the configuration has its hash.
        digest: its SHA-256.

    Raises:
        UntrustedModelError: its hash is not pinned.
        MissingExtraError: PyTorch is not installed.
        ModelError: it is no exported program, or has other inputs or outputs.
    """
    version = _require_program(path, content)
    if not pinned:
        raise UntrustedModelError(
            f"{path} is a PyTorch program, which can run any code when it is loaded", digest
        )
    torch = import_library("torch", needed_by=path)
    export = import_library("torch.export", needed_by=path, extra="torch")
    logging.getLogger("torch.export").setLevel(logging.CRITICAL)  # its errors are raised
    torch.set_num_threads(1)  # more threads slow single rows down
    exported = load_with(
        lambda: export.load(io.BytesIO(content)),
        failure=f"cannot load {path}: PyTorch cannot read the program",
        advise=lambda _: _version_advice(version, torch.__version__) or f"{DAMAGED}; {EXPORT}",
    )
    inputs, size = _inputs(exported, path)
    output, width = _output(exported, path, size)
    rows = _row_limits(exported, path, size)
    program = TorchProgram(torch, exported.module(), exported.call_spec.in_spec, inputs, rows, width)
    examples = _check_examples(program, exported, path)
    return _loaded(program, output, examples, classes, path)


def _loaded(
    program: TorchProgram,
    output: Any,
    examples: NDArray[np.float64] | None,
    classes: Sequence[str],
    path: Path,
) -> LoadedModel:
    single = program.width < 2
    if single and classes and len(classes) != 2:
        raise ModelError(
            f"{path} returns one number a row, and model.classes has {len(classes)} names: name two classes "
            "for the score of the second one, or remove model.classes for a regression"
        )
    own = number_names(2 if classes else 0) if single else number_names(program.width)
    scale: Scale | None = Scale.NUMBERS
    if own:
        scale = score_scale(output, examples, single=single)
    if scale is None:
        raise ModelError(
            f"{path} ends in a sigmoid for each of {program.width} classes, which do not sum to 1: only "
            "models with one label a row are served; end it in torch.softmax"
        )
    return LoadedModel(
        Task.CLASSIFICATION if own else Task.REGRESSION,
        partial(_predict, program, scale, own),
        own,
        takes_frame=not program.takes_table,
        feature_names=() if program.takes_table else tuple(i.name for i in program.inputs),
        feature_count=program.inputs[0].width if program.takes_table else len(program.inputs),
        predicts_argmax=True,
        classes_decide=single,
        description=f"PyTorch program; output: {scale_text(scale, classes or own, single=single)}",
    )


def _predict(program: TorchProgram, scale: Scale, classes: Sequence[str], table: Any) -> Outputs:
    return outputs_of(program.scores(table), scale, classes)


def _require_program(path: Path, content: bytes) -> str:
    """Return the version of PyTorch that saved an archive; "" if it is not known. Nothing is loaded.

    Raises:
        ModelError: it is no archive with an exported program alone.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            graph = next((entry for entry in archive.infolist() if PROGRAM.search(entry.filename)), None)
            # PyTorch does not compress
            text = archive.read(graph) if graph and graph.file_size <= len(content) else b""
    except (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, ValueError, EOFError) as error:
        advice = content_advice(path, content) or EXPORT
        raise ModelError(f"{path} is not a program of torch.export.save: {advice}") from error
    if graph is None:
        advice = content_advice(path, content)
        raise ModelError(
            f"{path} is not a program of torch.export.save{f'; {advice}' if advice else ''} (TorchScript, "
            f"weights and compiled packages are not served): {EXPORT}"
        )
    match = SAVED_VERSION.search(text)
    return match[1].decode("ascii", "replace") if match else ""


def _version_advice(saved: str, installed: str) -> str:
    if saved and saved != installed:
        return (
            f"it was saved by PyTorch {saved}, and this is {installed}: install that one, or export it again"
        )
    return ""


def _inputs(exported: Any, path: Path) -> tuple[tuple[ProgramInput, ...], Any]:
    """Return the inputs of a program, and the size of their first dimension.

    Raises:
        ModelError: they are neither one table nor one input a feature.
    """
    from torch.utils._pytree import tree_flatten_with_path, tree_unflatten

    signature = exported.graph_signature
    nodes = {n.name: n for n in exported.graph.nodes if n.op == "placeholder"}
    tensors: list[Any] = [
        nodes[n].meta["val"] if isinstance(n, str) and n in nodes else None for n in signature.user_inputs
    ]
    if not tensors or not all(hasattr(t, "shape") and hasattr(t, "dtype") for t in tensors):
        raise ModelError(f"{path} takes arguments that are no tensors: {EXPORT}")
    tree = tree_unflatten(list(signature.user_inputs), exported.call_spec.in_spec)
    names = [_name(keys[-1], name) for keys, name in tree_flatten_with_path(tree)[0]]
    inputs = tuple(_input(name, t, path) for name, t in zip(names, tensors, strict=True))
    if len(inputs) > 1 and any(i.rank == 2 and i.width != 1 for i in inputs):
        shapes = ", ".join(
            f"'{i.name}' of {i.width or 'any number of'} columns" for i in inputs if i.rank == 2
        )
        raise ModelError(
            f"{path} takes several tensors, among them {shapes}: a program takes one tensor of shape (n, "
            "number of features), or one of shape (n,) for each feature under the feature's name. Wrap it in "
            "a module that does"
        )
    if len({str(t.shape[0]) for t in tensors}) > 1:
        raise ModelError(f"{path} takes tensors with different numbers of rows: {EXPORT}")
    return inputs, tensors[0].shape[0]


def _name(key: Any, placeholder: str) -> str:
    """Return the name of an input: its key in a dict or of a keyword, or the name of its argument."""
    text = getattr(key, "key", None)
    return text if isinstance(text, str) else placeholder


def _input(name: str, tensor: Any, path: Path) -> ProgramInput:
    dtype = str(tensor.dtype).removeprefix("torch.")
    rank = len(tensor.shape)
    if dtype not in DTYPES or rank not in (1, 2):
        raise ModelError(
            f"{path} takes '{name}' as {dtype} of shape {_shape(tensor)}: a program takes tensors of shape "
            f"(n, number of features) or (n,) of the types {', '.join(DTYPES)}"
        )
    if tensor.device.type != "cpu":
        raise ModelError(f"{path} was exported on {tensor.device}: export model.cpu()")
    width = tensor.shape[1] if rank == 2 else 1
    return ProgramInput(name, dtype, rank, width if isinstance(width, int) else None)


def _output(exported: Any, path: Path, size: Any) -> tuple[Any, int]:
    """Return the node of the output, and the number of its columns; 0 for the shape (n,).

    Raises:
        ModelError: it is not one tensor with the scores of each row.
    """
    names = exported.graph_signature.user_outputs
    nodes = {node.name: node for node in exported.graph.nodes}
    if len(names) != 1 or names[0] not in nodes:
        raise ModelError(f"{path} returns {len(names)} outputs: only programs with one tensor are served")
    node = nodes[names[0]]
    tensor = node.meta["val"]
    shape = tensor.shape
    fits = len(shape) in (1, 2) and str(shape[0]) == str(size) and all(isinstance(s, int) for s in shape[1:])
    if not fits or not tensor.dtype.is_floating_point or (len(shape) == 2 and not shape[1]):
        raise ModelError(
            f"{path} returns {str(tensor.dtype).removeprefix('torch.')} of shape {_shape(tensor)}: a program "
            "returns floats of shape (n, number of classes), (n, 1) or (n,), with the n of its inputs"
        )
    return node, int(shape[1]) if len(shape) == 2 else 0


def _row_limits(exported: Any, path: Path, size: Any) -> tuple[int, int | None]:
    """Return the least and the largest number of rows of a call; None for any.

    Raises:
        ModelError: it takes multiples of a number of rows only.
    """
    if isinstance(size, int):
        return size, size
    bounds = exported.range_constraints.get(size.node.expr)
    if bounds is None:
        raise ModelError(f"{path} takes {size} rows, which is not every number of rows: {EXPORT}")
    return int(bounds.lower), int(bounds.upper) if getattr(bounds.upper, "is_Integer", False) else None


def _shape(tensor: Any) -> str:
    return "(" + ", ".join(str(s) if isinstance(s, int) else "n" for s in tensor.shape) + ")"


def _check_examples(program: TorchProgram, exported: Any, path: Path) -> NDArray[np.float64] | None:
    """Return the scores of the example inputs, shape (rows, number of scores); None without inputs.

    Raises:
        ModelError: it fails on them, or the answer to a row depends on chance or on other rows.
    """
    if exported.example_inputs is None:
        return None
    leaves = program.torch.utils._pytree.tree_leaves(exported.example_inputs)
    arrays = [leaf.detach().numpy()[:MAX_EXAMPLES] for leaf in leaves]

    def answers() -> list[NDArray[np.float64]]:
        count = min(len(arrays[0]), MAX_SINGLE_EXAMPLES)
        alone = [program.run([a[i : i + 1] for a in arrays]) for i in range(count)]
        repeated = [program.run(arrays)[:count] for _ in range(4)]
        return [np.concatenate(alone), *repeated]

    advice = "the model was exported in training mode: call model.eval() before torch.export.export"
    first, *others = load_with(
        answers,
        failure=f"{path} cannot predict the rows that it was exported with",
        advise=lambda error: advice if "training" in str(error) else "",
    )
    if not all(np.allclose(first, other, RTOL, ATOL, equal_nan=True) for other in others):
        raise ModelError(
            f"{path} answers the same row differently, alone or among other rows: {advice}, or an operator "
            "of it is random or mixes rows"
        )
    return program.run(arrays).reshape(len(arrays[0]), -1)
