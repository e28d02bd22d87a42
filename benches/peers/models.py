"""Models that LightGBM and XGBoost save, read by the `trees` example: do they predict what their library predicts?

`models.py save FOLDER [DATA]` trains models with the libraries of this Python and saves each with a table to predict and
the library's own raw scores. `models.py compare FOLDER TREES [JSON]` has the `trees` example predict the same tables. DATA
is a folder of LightGBM's examples.
"""

import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy
import xgboost

warnings.simplefilter("ignore")
ALLOWED = 1e-6
ROUNDS, RATE = 20, 0.1
REFUSED = "refused"


def made(rows, seed):
    """Three numbers, two categories, a tenth missing; a score that depends on all."""
    random = numpy.random.default_rng(seed)
    columns = [random.normal(size=rows), random.integers(0, 9, rows), random.normal(3, 2, rows)]
    columns += [random.random(rows) ** 3 * 40 // 1, random.integers(0, 3, rows)]
    values = numpy.array(columns, dtype=numpy.float32).T
    known = values.copy()
    values[random.random(values.shape) < 0.1] = numpy.nan
    score = known[:, 0] + (known[:, 1] % 3 == 0) + 0.2 * known[:, 2] - (known[:, 3] % 4 == 1)
    return values, score + random.normal(0, 0.2, rows)


CATEGORIES = [1, 3]
TRAIN, SCORE = made(3_000, 1)
TEST, _ = made(2_000, 2)
SORTED = numpy.sort(SCORE)
LABELS = {
    "number": SCORE,
    "count": numpy.abs(SCORE),
    "yes": (SCORE > SORTED[1_500]).astype(float),
    "class": numpy.digitize(SCORE, SORTED[[1_000, 2_000]]),
    "relevance": numpy.digitize(SCORE, SORTED[[1_500, 2_300, 2_800]]),
    "two": numpy.stack([SCORE, SCORE**2], 1),
}
GROUPS = [20] * 150
NAMES = ["alto=1", "電池", "año", "d", "e.f-g"]


def dense(values, names=None, order=None):
    """A table without labels; with names, in another order and beside a column that no model reads."""
    order = list(range(values.shape[1])) if order is None else order
    cell = lambda value: "" if numpy.isnan(value) else f"{value:.9g}"
    rows = [",".join(cell(row[column]) for column in order) for row in values]
    if names is None:
        return "\n".join(rows) + "\n"
    header = ",".join(names[column] for column in order)
    return "\n".join([header + ",unread"] + [f"{row},7" for row in rows]) + "\n"


def sparse(values):
    """LibSVM rows that leave out what is missing."""
    line = lambda row: " ".join(f"{c}:{v:.9g}" for c, v in enumerate(row) if not numpy.isnan(v))
    return "\n".join(f"0 {line(row)}" for row in values) + "\n"


class Saver:
    """A folder with a file of every model, its table, and `cases.json`."""

    def __init__(self, folder):
        self.folder = folder
        self.cases = json.loads((folder / "cases.json").read_text()) if (folder / "cases.json").exists() else []

    def case(self, file, scores, table="numbers.csv", options=(), says=""):
        """Scores, or `REFUSED`; what the program says besides."""
        expected = scores if isinstance(scores, str) else numpy.asarray(scores, dtype=float).reshape(len(scores), -1).tolist()
        self.cases.append({"file": file, "expected": expected, "table": table, "options": list(options), "says": says})

    def write(self, name, text):
        if not (self.folder / name).exists():
            (self.folder / name).write_text(text, encoding="utf-8")
        return name


def save_lightgbm(saver, data_folder):
    import lightgbm

    version = f"lightgbm-{lightgbm.__version__}"

    def train(label, settings, values=TRAIN, **data):
        settings = {"learning_rate": RATE, "verbose": -1, "num_threads": 1} | settings
        groups = GROUPS if label == "relevance" else None
        table = lightgbm.Dataset(values, LABELS[label], group=groups, params=settings, **data)
        return lightgbm.train(settings, table, ROUNDS)

    kinds = {
        "regression": ("number", {}),
        "binary": ("yes", {"objective": "binary"}),
        "multiclass": ("class", {"objective": "multiclass", "num_class": 3}),
        "lambdarank": ("relevance", {"objective": "lambdarank"}),
        "xendcg": ("relevance", {"objective": "rank_xendcg"}),
        "ova": ("class", {"objective": "multiclassova", "num_class": 3}),
        "poisson": ("count", {"objective": "poisson"}),
        "l1": ("number", {"objective": "l1"}),
        "quantile": ("number", {"objective": "quantile", "alpha": 0.9}),
        "steep": ("yes", {"objective": "binary", "sigmoid": 2}),
        "dart": ("number", {"boosting": "dart", "drop_rate": 0.5}),
        "goss": ("number", {"data_sample_strategy": "goss"}),
        "extra": ("number", {"extra_trees": True, "path_smooth": 1}),
    }
    for name, (label, settings) in kinds.items():
        model = train(label, settings, categorical_feature=CATEGORIES)
        file = f"{version}-{name}.txt"
        model.save_model(saver.folder / file)
        saver.case(file, model.predict(TEST, raw_score=True))

    regression = (saver.folder / f"{version}-regression.txt").read_bytes()
    scores = saver.cases[-len(kinds)]["expected"]
    (saver.folder / f"{version}-crlf.txt").write_bytes(regression.replace(b"\n", b"\r\n"))
    (saver.folder / f"{version}-bom.txt").write_bytes(b"\xef\xbb\xbf" + regression)
    for name in ["crlf", "bom"]:
        saver.case(f"{version}-{name}.txt", scores)

    model = train("number", {}, feature_name=NAMES, categorical_feature=CATEGORIES)
    model.save_model(saver.folder / f"{version}-names.txt")
    table = saver.write("names.csv", dense(TEST, NAMES, [3, 1, 0, 4, 2]))
    saver.case(f"{version}-names.txt", model.predict(TEST, raw_score=True), table, says="left out: unread")

    # Infinite values make thresholds of -1.8e308, labels of 1e38 infinite gains.
    infinite, asked = TRAIN.astype(float), TEST.astype(float)
    infinite[infinite[:, 0] < -1, 0] = -numpy.inf
    infinite[infinite[:, 2] > 6, 2] = numpy.inf
    asked[asked[:, 0] < -1, 0] = -numpy.inf
    asked[asked[:, 2] > 6, 2] = numpy.inf
    model = train("number", {}, infinite)
    assert "-1.797" in model.model_to_string()
    model.save_model(saver.folder / f"{version}-infinite.txt")
    table = saver.write("infinite.csv", dense(asked))
    saver.case(f"{version}-infinite.txt", model.predict(asked, raw_score=True), table)
    LABELS["huge"] = LABELS["yes"] * 1e38
    model = train("huge", {})
    assert "split_gain=inf" in model.model_to_string()
    model.save_model(saver.folder / f"{version}-gains.txt")
    saver.case(f"{version}-gains.txt", model.predict(TEST, raw_score=True))

    # Early stopping: `save_model` writes the rounds up to the best alone.
    settings = {"learning_rate": 0.5, "verbose": -1, "num_threads": 1}
    first, second = (lightgbm.Dataset(TRAIN[part], SCORE[part]) for part in (slice(2_000), slice(2_000, None)))
    stop = [lightgbm.early_stopping(3, verbose=False)]
    model = lightgbm.train(settings, first, 200, valid_sets=[second], callbacks=stop)
    assert 0 < model.best_iteration < 200
    model.save_model(saver.folder / f"{version}-early.txt")
    saver.case(f"{version}-early.txt", model.predict(TEST, raw_score=True))

    for name, settings, says in [
        ("linear", {"linear_tree": True}, "linear_tree=false"),
        ("forest", {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}, "boosting=gbdt"),
        ("zero", {"zero_as_missing": True}, "zero_as_missing=false"),
    ]:
        train("number", settings).save_model(saver.folder / f"{version}-{name}.txt")
        saver.case(f"{version}-{name}.txt", REFUSED, says=says)
    positive = numpy.where(TRAIN > 0, TRAIN, 0)
    model = train("number", {"zero_as_missing": True, "feature_fraction": 0.2, "num_leaves": 2, "seed": 3}, positive[:, :1])
    model.save_model(saver.folder / f"{version}-zeros.txt")
    saver.write("zeros.csv", dense(numpy.where(TEST[:, :1] > 0, TEST[:, :1], 0)))
    scores = model.predict(numpy.where(TEST[:, :1] > 0, TEST[:, :1], 0), raw_score=True)
    saver.case(f"{version}-zeros.txt", scores, "zeros.csv", says="either")
    dump = train("number", {}).dump_model()
    (saver.folder / f"{version}-dump.json").write_text(json.dumps(dump))
    saver.case(f"{version}-dump.json", REFUSED, says="by `save_model`")

    if data_folder is None:
        return
    for name, settings in {
        "lambdarank": {"objective": "lambdarank"},
        "multiclass": {"objective": "multiclass", "num_class": 5},
    }.items():
        file = next((data_folder / name).glob("*.train"))
        settings |= {"learning_rate": RATE, "verbose": -1, "num_threads": 1}
        model = lightgbm.train(settings, lightgbm.Dataset(str(file), params=settings), ROUNDS)
        model.save_model(saver.folder / f"{version}-example-{name}.txt")
        test = str(file.with_suffix(".test"))
        saver.case(f"{version}-example-{name}.txt", model.predict(test, raw_score=True), test)


def save_xgboost(saver, data_folder):
    version = f"xgboost-{xgboost.__version__}"
    plain = {"feature_types": None}
    typed = {"feature_types": ["c" if column in CATEGORIES else "float" for column in range(5)]}

    def matrix(values, label=None, types=plain, **about):
        return xgboost.DMatrix(values, label, enable_categorical=types is typed, **types, **about)

    def train(label, settings, types=plain, rounds=ROUNDS, **about):
        data = matrix(TRAIN, LABELS[label], types, **about)
        if label == "relevance":
            data.set_group(GROUPS)
        settings = {"eta": RATE, "max_depth": 4, "nthread": 1, "seed": 1, "verbosity": 0} | settings
        return xgboost.train(settings, data, rounds)

    def scores(model, types=plain, values=TEST, **about):
        return model.predict(matrix(values, types=types, **about), output_margin=True)

    kinds = {
        "regression": ("number", {}, typed),
        "binary": ("yes", {"objective": "binary:logistic"}, typed),
        "raw": ("yes", {"objective": "binary:logitraw"}, plain),
        "multiclass": ("class", {"objective": "multi:softprob", "num_class": 3}, typed),
        "softmax": ("class", {"objective": "multi:softmax", "num_class": 3}, plain),
        "ndcg": ("relevance", {"objective": "rank:ndcg"}, plain),
        "pairwise": ("relevance", {"objective": "rank:pairwise"}, plain),
        "dart": ("yes", {"objective": "binary:logistic", "booster": "dart", "rate_drop": 0.5, "one_drop": 1}, typed),
        "forest": ("number", {"num_parallel_tree": 4, "subsample": 0.6}, plain),
        "targets": ("two", {}, plain),
        "poisson": ("count", {"objective": "count:poisson"}, plain),
        "gamma": ("count", {"objective": "reg:gamma"}, plain),
        "tweedie": ("count", {"objective": "reg:tweedie"}, plain),
        "l1": ("number", {"objective": "reg:absoluteerror"}, plain),
        "huber": ("number", {"objective": "reg:pseudohubererror"}, plain),
        "hinge": ("yes", {"objective": "binary:hinge"}, plain),
        "leafwise": ("number", {"grow_policy": "lossguide", "max_leaves": 20, "tree_method": "hist"}, plain),
    }
    if version > "xgboost-2":
        kinds["quantile"] = ("number", {"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.9]}, plain)
    for name, (label, settings, types) in kinds.items():
        settings |= {"tree_method": "hist"} if types is typed else {}
        model = train(label, settings, types)
        for ending in ["json", "ubj"]:
            file = f"{version}-{name}.{ending}"
            model.save_model(saver.folder / file)
            saver.case(file, scores(model, types))

    model = train("number", {}, feature_names=NAMES)
    model.save_model(saver.folder / f"{version}-names.json")
    table = saver.write("names.csv", dense(TEST, NAMES, [3, 1, 0, 4, 2]))
    saver.case(f"{version}-names.json", scores(model, feature_names=NAMES), table, says="left out: unread")
    # What a LibSVM row leaves out is missing there.
    model = train("number", {})
    model.save_model(saver.folder / f"{version}-sparse.ubj")
    saver.case(f"{version}-sparse.ubj", scores(model), saver.write("rows.libsvm", sparse(TEST)))

    settings = {"eta": 0.5, "max_depth": 6, "nthread": 1}
    first, second = (matrix(TRAIN[part], SCORE[part]) for part in (slice(2_000), slice(2_000, None)))
    model = xgboost.train(
        settings, first, 200, evals=[(second, "second")], early_stopping_rounds=5, verbose_eval=False
    )
    model.save_model(saver.folder / f"{version}-early.json")
    saver.case(f"{version}-early.json", scores(model), says="although `best_iteration` is")
    # As scikit-learn's interface saves and predicts, without that package.
    model.set_attr(scikit_learn="{}")
    model.save_model(saver.folder / f"{version}-early-scikit.ubj")
    best = model.predict(matrix(TEST), output_margin=True, iteration_range=(0, model.best_iteration + 1))
    saver.case(f"{version}-early-scikit.ubj", best, says="up to `best_iteration`")

    model = train("number", {"booster": "gblinear", "max_depth": 0})
    refused = [("linear", model, "booster=gbtree")]
    if version > "xgboost-2":
        vector = {"multi_strategy": "multi_output_tree", "tree_method": "hist"}
        refused.append(("vector", train("two", vector), "multi_strategy=one_output_per_tree"))
    for name, model, says in refused:
        for ending in ["json", "ubj"]:
            file = f"{version}-{name}.{ending}"
            model.save_model(saver.folder / file)
            saver.case(file, REFUSED, says=says)
    model = train("number", {}, rounds=2)
    model.dump_model(saver.folder / f"{version}-dump.json", dump_format="json")
    model.dump_model(saver.folder / f"{version}-dump.txt")
    (saver.folder / f"{version}-dumps.json").write_text(json.dumps(model.get_dump(dump_format="json")))
    for file in ["dump.json", "dump.txt", "dumps.json"]:
        saver.case(f"{version}-{file}", REFUSED, says="by `save_model`")

    if data_folder is None:
        return
    folder = data_folder / "multiclass"
    train_rows, test_rows = (numpy.loadtxt(folder / f"multiclass.{part}", dtype=numpy.float32) for part in ("train", "test"))
    data = xgboost.DMatrix(train_rows[:, 1:], train_rows[:, 0])
    model = xgboost.train({"objective": "multi:softprob", "num_class": 5, "eta": RATE, "nthread": 1}, data, ROUNDS)
    model.save_model(saver.folder / f"{version}-example-multiclass.ubj")
    saver.case(f"{version}-example-multiclass.ubj", scores(model, values=test_rows[:, 1:]), str(folder / "multiclass.test"))


def run(trees, *arguments):
    done = subprocess.run([trees, *map(str, arguments)], capture_output=True, text=True, encoding="utf-8")
    return done.returncode, done.stderr


def compare(folder, trees):
    """A row for each model: the largest difference, over scores of 1 relative to the score."""
    rows = []
    for case in json.loads((folder / "cases.json").read_text()):
        out = folder / "predictions.txt"
        arguments = ["--start", folder / case["file"], "--predict", folder / case["table"], "--out", out, "--raw-scores"]
        code, said = run(trees, *arguments, *case["options"])
        row = {"file": case["file"], "difference": None, "ok": False, "said": said.strip()}
        is_refused = code != 0 and "panicked" not in said
        if case["expected"] == REFUSED or (case["says"] == "either" and is_refused):
            row["ok"] = is_refused and (case["says"] == "either" or case["says"] in said)
        elif code == 0:
            ours = numpy.loadtxt(out, ndmin=2)
            theirs = numpy.array(case["expected"])
            if ours.shape == theirs.shape:
                off = numpy.abs(ours - theirs) / numpy.maximum(1, numpy.abs(theirs))
                row["difference"] = float(off.max())
                row["ok"] = bool(off.max() <= ALLOWED) and (case["says"] in ["either"] or case["says"] in said)
        rows.append(row)
    return rows + ours_there(folder, trees)


def ours_there(folder, trees):
    """Our models in the libraries, with names that a header may have."""
    import lightgbm

    names = ["alto=1", "電池", "año", "d", "e.f-g", "y"]
    table = numpy.column_stack([TRAIN, SCORE])
    (folder / "ours.csv").write_text(dense(table, names), encoding="utf-8")
    (folder / "asked.csv").write_text(dense(TEST, names), encoding="utf-8")
    text, document, out = folder / "ours.txt", folder / "ours.json", folder / "ours.predictions"
    code, said = run(
        trees, "--train", folder / "ours.csv", "--label", "y", "--ignore", "name:unread", "--trees", ROUNDS,
        "--lightgbm", text, "--xgboost", document, "--predict", folder / "asked.csv", "--out", out, "--raw-scores",
    )
    if code != 0:
        return [{"file": "ours", "difference": None, "ok": False, "said": said}]
    ours = numpy.loadtxt(out)
    there = lightgbm.Booster(model_file=text)
    booster = xgboost.Booster(model_file=document)
    rows = []
    for file, scores, found in [
        ("ours in LightGBM", there.predict(TEST, raw_score=True), there.feature_name()),
        ("ours in XGBoost", booster.predict(xgboost.DMatrix(TEST, feature_names=names[:5])), booster.feature_names),
    ]:
        off = numpy.abs(ours - scores) / numpy.maximum(1, numpy.abs(scores))
        rows.append({"file": file, "difference": float(off.max()), "ok": bool(off.max() <= ALLOWED) and found == names[:5], "said": ""})
    return rows


def main(what, folder, *rest):
    folder = Path(folder)
    if what == "save":
        data = Path(rest[0]) if rest and Path(rest[0]).is_dir() else None
        saver = Saver(folder)
        saver.write("numbers.csv", dense(TEST))
        # One Python has LightGBM beside its XGBoost, the others an older XGBoost alone.
        try:
            save_lightgbm(saver, data)
        except ImportError:
            pass
        save_xgboost(saver, data)
        (folder / "cases.json").write_text(json.dumps(saver.cases))
        return 0
    rows = compare(folder, rest[0])
    for row in rows:
        figure = "refused" if row["difference"] is None else f"{row['difference']:.1e}"
        print(f"{'ok' if row['ok'] else 'BAD':4} {figure:>8}  {row['file']}" + ("" if row["ok"] else f"  {row['said']}"))
    bad = [row["file"] for row in rows if not row["ok"]]
    read = [row["difference"] for row in rows if row["difference"] is not None]
    print(f"{len(rows)} models: {len(read)} read, largest difference {max(read):.1e}; {len(bad)} not as they should be")
    if len(rest) > 1:
        Path(rest[1]).write_text(json.dumps(rows, indent=1))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
